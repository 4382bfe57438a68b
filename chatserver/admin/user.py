"""`chatctl user`: accounts."""

import sys
from datetime import datetime
from typing import Any

import click
from msgspec import Struct

from chatserver.admin import leaving
from chatserver.admin.access import Access, Problem, access, find_account, find_person, now
from chatserver.admin.output import PAGE, json_option, pages, plain, say, say_all, say_list
from chatserver.config import Passwords
from chatserver.events import Standing, TokenLine
from chatserver.passwords import hash_now
from chatserver.store import Connection, accounts, changes, directory, rooms
from chatserver.store.directory import AccountLine
from chatserver.store.places import OPERATOR, standings
from chatserver.wire.hygiene import password as clean_password
from chatserver.wire.hygiene import user_name


@click.group()
def user() -> None:
    """Accounts: who may log in, and what they may do."""


user.add_command(leaving.erase)
user.add_command(leaving.export_account)

from_stdin = click.option("--password-stdin", is_flag=True, help="Read the password from the first line of the input.")


def _ask_password(name: str, passwords: Passwords, from_stdin: bool) -> str:
    """The hash of a new password. It is never an argument, which everybody on the machine could read."""
    if from_stdin:
        try:
            typed = sys.stdin.buffer.readline().rstrip(b"\r\n").decode()
        except UnicodeDecodeError:
            raise Problem("The password is not UTF-8. Give it as such.") from None
    else:
        typed = click.prompt(f"Password for {name}", hide_input=True, confirmation_prompt="Once more", err=True)
    password = clean_password(typed)
    if len(password) < passwords.min_length:
        raise Problem(f"A password has {passwords.min_length} characters or more. Choose one.")
    return hash_now(
        password,
        memory_kib=passwords.memory_kib,
        time_cost=passwords.time_cost,
        parallelism=passwords.parallelism,
    )


@user.command()
@click.argument("name")
@from_stdin
@json_option
@access
def add(reach: Access, name: str, password_stdin: bool, as_json: bool) -> None:
    """Make an account, in the rooms that whoever registers is in."""
    name = user_name(name)
    if reach.read(directory.account, name) is not None:
        raise _taken(name)
    hash = _ask_password(name, reach.settings.passwords, password_stdin)
    id, joined = reach.write(_add, name, hash, reach.settings.server.default_rooms, now())
    where = f", and in {', '.join(joined)}" if joined else ""
    say(f"{name} is registered{where}.", {"id": id, "name": name, "rooms": joined}, as_json)


def _taken(name: str) -> Problem:
    return Problem(f"The name {name} is taken, and never given out again. Choose another.")


def _add(db: Connection, name: str, hash: str, default_rooms: list[str], at: datetime) -> tuple[int, list[str]]:
    if directory.account(db, name) is not None:
        raise _taken(name)
    rooms.ensure(db, default_rooms, at)  # where no server has been started yet
    person, joined = rooms.register(db, name, hash, default_rooms, at)
    changes.grown(db, [facts.id for facts, _ in joined], at)
    return person.id, [facts.name for facts, _ in joined]


@user.command("list")
@click.option("--kind", type=click.Choice(["person", "operator", "guest"]), help="Only these; else all but guests.")
@click.option("--all", "gone", is_flag=True, help="Also accounts that are erased.")
@json_option
@access
def listing(reach: Access, kind: str | None, gone: bool, as_json: bool) -> None:
    """All accounts, oldest first."""
    found = pages(lambda last: reach.read(directory.accounts, last, PAGE, kind, gone=gone), lambda line: line.id)
    say_list(found, lambda line: (line.name, line.kind, _state(line), line.last_seen), (32, 8, 8, 0), plain, as_json)


def _state(line: AccountLine) -> str:
    return "erased" if line.erased else "disabled" if line.disabled else ""


class _Shown(Struct, frozen=True):
    account: AccountLine
    connections: int
    ban: str | None
    rooms: list[Standing]
    tokens: list[TokenLine]


@user.command()
@click.argument("name")
@json_option
@access
def show(reach: Access, name: str, as_json: bool) -> None:
    """One account: its rooms, tokens, connections, and whether it is banned."""
    shown = reach.read(_look_up, name, now())
    account, id = shown.account, shown.account.id
    where = [(standing.facts.label(id), standing.role) for standing in shown.rooms]
    value: dict[str, Any] = plain(account) | {
        "connections": shown.connections,
        "rooms": [{"room": room, "role": role} for room, role in where],
        "tokens": [plain(token) for token in shown.tokens],
    }
    if shown.ban is not None:
        value["ban"] = shown.ban
    say_all(
        [
            ("Name", account.name),
            ("Kind", account.kind),
            ("Registered", account.created),
            ("Last seen", account.last_seen),
            ("Disabled", account.disabled),
            ("Erased", account.erased),
            ("Banned", None if shown.ban is None else shown.ban or "without a reason"),
            ("Connections", shown.connections),
            ("Rooms", ", ".join(room if role == "member" else f"{room} ({role})" for room, role in where)),
            ("Tokens", ", ".join(token.label for token in shown.tokens)),
        ],
        value,
        as_json,
    )


def _look_up(db: Connection, name: str, at: datetime) -> _Shown:
    found = directory.account(db, name)
    if found is None:
        raise Problem(f"Nobody is called {name}. See: chatctl user list")
    return _Shown(
        found,
        directory.connections(db, found.id),
        changes.accounts(db, [(found.id, 0)], at)[0].ban,
        standings(db, found.person),
        accounts.tokens(db, found.id),
    )


@user.command()
@click.argument("name")
@from_stdin
@json_option
@access
def password(reach: Access, name: str, password_stdin: bool, as_json: bool) -> None:
    """Give an account another password. Its connections and tokens stay as they are."""
    found = reach.read(find_person, name)
    hash = _ask_password(found.name, reach.settings.passwords, password_stdin)
    reach.write(_set_password, name, hash)
    say(f"{found.name} has a new password.", {"name": found.name, "password": "changed"}, as_json)


def _set_password(db: Connection, name: str, hash: str) -> None:
    accounts.set_password(db, find_person(db, name).id, hash)  # who may be erased by now


@user.command()
@click.argument("name")
@click.option("--off", is_flag=True, help="Take it back.")
@json_option
@access
def operator(reach: Access, name: str, off: bool, as_json: bool) -> None:
    """Make somebody an operator, who keeps order in every room and on the whole server."""
    kind = "person" if off else OPERATOR
    found = reach.write(_set_kind, name, kind, now())
    note = f"{found} is {'an operator no more' if off else 'an operator of the server'}."
    say(note, {"name": found, "kind": kind}, as_json)


def _set_kind(db: Connection, name: str, kind: str, at: datetime) -> str:
    found = find_person(db, name)
    accounts.set_kind(db, found.id, kind, at)
    return found.name


@user.command()
@click.argument("name")
@click.option("--off", is_flag=True, help="Let them in again.")
@json_option
@access
def disable(reach: Access, name: str, off: bool, as_json: bool) -> None:
    """Keep somebody from logging in; their connections end. Rooms, messages and tokens stay."""
    found = reach.write(_set_disabled, name, not off, now())
    note = f"{found} may log in again." if off else f"{found} is disabled."
    say(note, {"name": found, "disabled": not off}, as_json)


def _set_disabled(db: Connection, name: str, disabled: bool, at: datetime) -> str:
    found = find_account(db, name) if disabled else find_person(db, name)
    accounts.set_disabled(db, found.id, at, disabled=disabled)
    return found.name
