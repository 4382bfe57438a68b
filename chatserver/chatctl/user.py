"""`chatctl user`: accounts."""

import sys
from datetime import datetime
from typing import Any

import click
from msgspec import Struct

from chatserver.chatctl import bots, leaving, limits, renaming
from chatserver.chatctl.access import Access, Problem, access, find_account, find_person, unknown
from chatserver.chatctl.output import PAGE, json_option, pages, plain, say, say_all, say_list
from chatserver.settings.tables import Passwords
from chatserver.store import Connection, accounts, certificates, change_rows, directory, kept_sessions, names, tokens
from chatserver.store import bots as owned
from chatserver.store.certificates import CertificateLine
from chatserver.store.directory import AccountLine
from chatserver.store.visibility import memberships
from chatserver.values.answers import SessionLine, TokenLine
from chatserver.values.errors import Refused
from chatserver.values.events import BOT, GUEST, MEMBER, OPERATOR, PERSON, AccountKind, Membership, Person
from chatserver.wire.hygiene.lookalikes import check_new
from chatserver.wire.hygiene.text import label_text, user_name
from chatserver.wire.hygiene.text import password as clean_password
from chatserver.wire.sentences import english


@click.group()
def user() -> None:
    """Manage accounts: who may log in, and what they may do."""


user.add_command(bots.owner)
user.add_command(leaving.erase)
user.add_command(leaving.export_account)
user.add_command(limits.limits)
user.add_command(renaming.rename)

from_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of standard input."
)


def _ask_password(name: str, passwords: Passwords, from_stdin: bool) -> str:
    """Reads a new password and hashes it. It is never an argument, which everybody on the machine could read."""
    if from_stdin:
        try:
            typed = sys.stdin.buffer.readline().rstrip(b"\r\n").decode()
        except UnicodeDecodeError:
            raise Problem("The password is not valid UTF-8. Encode it as UTF-8.") from None
    else:
        typed = click.prompt(f"Password for {name}", hide_input=True, confirmation_prompt="Once more", err=True)
    password = clean_password(typed)
    if len(password) < passwords.min_length:
        raise Problem(f"A password needs at least {passwords.min_length} characters. Choose a longer one.")
    from chatserver.login.hashing import hash_with  # brings parts of Twisted, which other commands do without

    return hash_with(passwords, password)


@user.command()
@click.argument("name")
@from_stdin
@click.option("--any-name", is_flag=True, help="Also a reserved name, or one that looks like another account's.")
@click.option("--bot", is_flag=True, help="The account of a program: it has no password. Prints a token for it.")
@click.option("--owner", metavar="PERSON", help="Whom the bot belongs to.")
@click.option("--label", help="What the bot's token is called in lists. Default: first.")
@json_option
@access
def add(
    reach: Access, name: str, password_stdin: bool, any_name: bool, bot: bool, owner: str | None, label: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Create an account and add it to the default rooms."""
    if bot != (owner is not None) or (label is not None and not bot):
        raise click.UsageError("--bot and --owner belong together; --label is for bots only.")
    name = user_name(name)
    if reach.read(directory.account, name) is not None:
        raise _taken(name)
    if not any_name:
        _check_name(reach, name)
    if owner is not None:
        bots.add(reach, name, owner, label_text(label or bots.FIRST_LABEL), as_json, any_name=any_name)
        return
    reach.changing()
    hash = _ask_password(name, reach.settings.passwords, password_stdin)
    id, joined = reach.write(_add, name, hash, reach.settings.server.default_rooms, reach.now(), any_name)
    where = f" and has joined {', '.join(joined)}" if joined else ""
    say(f"{name} is registered{where}.", {"id": id, "name": name, "rooms": joined}, as_json)


def _check_name(reach: Access, name: str) -> None:
    """Raises Problem for a name that misleads."""
    try:
        check_new(name, reach.settings.server.reserved_names)
        reach.read(accounts.claimed, name, reach.now(), reach.settings.limits.former_name_days)
    except Refused as refused:
        raise Problem(f"{english(refused.sentence)} Or add --any-name.") from None


def _taken(name: str) -> Problem:
    return Problem(f"The name {name} is taken; names are never reused. Choose another.")


def _add(
    db: Connection, name: str, hash: str, default_rooms: list[str], at: datetime, any_name: bool
) -> tuple[int, list[str]]:
    if directory.account(db, name) is not None:
        raise _taken(name)
    person = Person(accounts.create(db, name, hash, at, alike=any_name), name)
    return person.id, bots.enter(db, person, default_rooms, at)


@user.command("list")
@click.option(
    "--kind", type=click.Choice([PERSON, OPERATOR, BOT, GUEST]), help="Only this kind. Default: all except guests."
)
@click.option("--all", "gone", is_flag=True, help="Also erased accounts.")
@json_option
@access
def listing(reach: Access, kind: AccountKind | None, gone: bool, as_json: bool) -> None:
    """List all accounts, oldest first."""
    found = pages(lambda last: reach.read(directory.accounts, last, PAGE, kind, gone=gone), lambda line: line.id)

    def row(line: AccountLine) -> tuple[object, ...]:
        return line.name, line.kind, _state(line), line.last_seen

    say_list(found, row, (32, 8, 8, 0), plain, as_json, ("Name", "Kind", "State", "Last seen"))


def _state(line: AccountLine) -> str:
    return "erased" if line.erased else "disabled" if line.disabled else ""


class _Shown(Struct, frozen=True):
    account: AccountLine
    connections: int
    ban: str | None
    rooms: list[Membership]
    tokens: list[TokenLine]
    certificates: list[CertificateLine]
    bots: list[str]
    display: str
    former: list[str]


@user.command()
@click.argument("name")
@json_option
@access
def show(reach: Access, name: str, as_json: bool) -> None:
    """Show an account, and what it has.

    That is its rooms, tokens, certificates and connections, and whether it is banned.
    """
    shown = reach.read(_look_up, name)
    account, id = shown.account, shown.account.id
    where = [(membership.facts.label(id), membership.role) for membership in shown.rooms]
    value: dict[str, Any] = plain(account) | {
        "connections": shown.connections,
        "rooms": [{"room": room, "role": role} for room, role in where],
        "tokens": [plain(token) for token in shown.tokens],
        "certificates": [plain(one) for one in shown.certificates],
    }
    if shown.display:
        value["display"] = shown.display
    if shown.former:
        value["former_names"] = shown.former
    if shown.bots:
        value["bots"] = shown.bots
    if shown.ban is not None:
        value["ban"] = shown.ban
    say_all(
        [
            ("Name", account.name),
            ("Display name", shown.display),
            ("Former names", ", ".join(shown.former)),
            ("Kind", account.kind),
            ("Owner", account.owner),
            ("Registered", account.created),
            ("Last seen", account.last_seen),
            ("Disabled", account.disabled),
            ("Erased", account.erased),
            ("Banned", None if shown.ban is None else shown.ban or "without a reason"),
            ("Connections", shown.connections),
            ("Rooms", ", ".join(room if role == MEMBER else f"{room} ({role})" for room, role in where)),
            ("Tokens", ", ".join(token.label for token in shown.tokens)),
            ("Certificates", ", ".join(one.label for one in shown.certificates)),
            ("Bots", ", ".join(shown.bots)),
        ],
        value,
        as_json,
    )


def _look_up(db: Connection, name: str) -> _Shown:
    found = directory.account(db, name)
    if found is None:
        raise unknown(db, name)
    return _Shown(
        found,
        directory.connections(db, found.id),
        change_rows.accounts(db, [(found.id, 0)])[0].ban,
        memberships(db, found.person),
        tokens.listing(db, found.id),
        certificates.listing(db, 0, PAGE, found.id),
        owned.names(db, found.id),
        names.display(db, found.id),
        names.history(db, found.id)[0],
    )


@user.command()
@click.argument("name")
@from_stdin
@json_option
@access
def password(reach: Access, name: str, password_stdin: bool, as_json: bool) -> None:
    """Change the password of an account. Its kept sessions end.

    Its tokens, certificates and other connections remain.
    """
    found = reach.read(find_person, name)
    if found.kind == BOT:
        raise Problem(
            f"{found.name} is a bot and has no password. Create a token for it: chatctl token add {found.name}"
        )
    reach.changing()
    hash = _ask_password(found.name, reach.settings.passwords, password_stdin)
    reach.write(_set_password, name, hash, reach.now())
    say(f"{found.name} has a new password.", {"name": found.name, "password": "changed"}, as_json)


def _set_password(db: Connection, name: str, hash: str, at: datetime) -> None:
    id = find_person(db, name).id  # again: it may be erased by now
    accounts.set_password(db, id, hash)
    kept_sessions.end_all(db, id, at)


@user.command()
@click.argument("name")
@click.option("--end", type=click.IntRange(1, 2**53), metavar="ID", help="End this one.")
@click.option("--all", "all_", is_flag=True, help="End all of them.")
@json_option
@access
def sessions(reach: Access, name: str, end: int | None, all_: bool, as_json: bool) -> None:
    """List or end the kept sessions of an account.

    For each: the id, when it began and was last used, from which address, and the name of the device.
    """
    if end is not None and all_:
        raise click.UsageError("Give --end or --all, not both.")
    found = reach.read(find_person, name)
    if end is None and not all_:
        lines = reach.read(kept_sessions.listing, found.id)

        def row(line: SessionLine) -> tuple[object, ...]:
            return line.id, line.created, line.last_used, line.address, line.name

        headings = ("ID", "Created", "Last used", "Address", "Device")
        say_list(lines, row, (8, 24, 24, 24, 0), _plain_session, as_json, headings)
        return
    ended = reach.write(_end_sessions, name, end, reach.now())
    many = f"{len(ended)} sessions of {found.name} have" if end is None else f"The session {end} of {found.name} has"
    say(f"{many} ended.", {"name": found.name, "ended": ended}, as_json)


def _plain_session(line: SessionLine) -> dict[str, Any]:
    known: dict[str, Any] = plain(line)
    known.pop("current")
    return known


def _end_sessions(db: Connection, name: str, id: int | None, at: datetime) -> list[int]:
    found = find_person(db, name)
    if id is None:
        return kept_sessions.end_all(db, found.id, at)
    if not kept_sessions.end(db, found.id, at, id):
        raise Problem(f"{found.name} has no session {id}. See: chatctl user sessions {found.name}")
    return [id]


@user.command()
@click.argument("name")
@click.option("--off", is_flag=True, help="Make them a normal user again.")
@json_option
@access
def operator(reach: Access, name: str, off: bool, as_json: bool) -> None:
    """Make a user an operator of the server.

    Operators can moderate every room and the whole server.
    """
    kind: AccountKind = PERSON if off else OPERATOR
    found = reach.write(_set_kind, name, kind, reach.now())
    note = f"{found} is {'no longer an operator' if off else 'now an operator'} of the server."
    say(note, {"name": found, "kind": kind}, as_json)


def _set_kind(db: Connection, name: str, kind: AccountKind, at: datetime) -> str:
    found = find_person(db, name)
    if found.kind == BOT:
        raise Problem(f"{found.name} is a bot, which cannot be an operator. Make it a moderator of rooms instead.")
    accounts.set_kind(db, found.id, kind, at)
    return found.name


@user.command()
@click.argument("name")
@click.option("--off", is_flag=True, help="Enable the account again.")
@json_option
@access
def disable(reach: Access, name: str, off: bool, as_json: bool) -> None:
    """Disable an account and its bots.

    Their connections end, and they cannot log in. Rooms, messages and tokens remain.
    """
    found = reach.write(_set_disabled, name, not off, reach.now())
    note = f"{found} can log in again." if off else f"{found} is disabled."
    say(note, {"name": found, "disabled": not off}, as_json)


def _set_disabled(db: Connection, name: str, disabled: bool, at: datetime) -> str:
    found = find_account(db, name) if disabled else find_person(db, name)
    if found.kind == BOT and not disabled and owned.is_kept_out(db, found.id):
        raise Problem(
            f"The owner of {found.name} cannot log in. Enable the owner, or name another one: chatctl user owner "
            f"{found.name} PERSON"
        )
    accounts.set_disabled(db, found.id, at, disabled=disabled)
    return found.name
