"""`chatctl token`: what programs log in with."""

from collections.abc import Sequence
from datetime import datetime

import click
from msgspec import structs

from chatserver.chatctl.access import Access, Problem, access, find_person, no_such_room
from chatserver.chatctl.ban import span_option
from chatserver.chatctl.output import PAGE, json_option, pages, plain, say, say_list
from chatserver.store import Connection, tokens
from chatserver.store.tokens import Grant, IssuedToken, new_token, token_hash
from chatserver.store.visibility import find_room
from chatserver.util.times import rfc3339
from chatserver.values.errors import Refused
from chatserver.values.events import Person
from chatserver.wire.hygiene.text import label_text, room_name


@click.group()
def token() -> None:
    """Create, list and revoke tokens, which programs log in with."""


@token.command()
@click.argument("name")
@click.argument("label")
@click.option("--expires", callback=span_option, metavar="SPAN", help="After 90s, 10m, 2h, 7d, 4w. Default: never.")
@click.option("--read-only", is_flag=True, help="It can change nothing.")
@click.option("--room", metavar="ROOM", help="It is for this room only, which the user must be in. Default: for all.")
@json_option
@access
def add(
    reach: Access, name: str, label: str, expires: int | None, read_only: bool, room: str | None, as_json: bool
) -> None:
    """Create a token and print it. It cannot be shown again."""
    label, made = label_text(label), new_token()
    found, until = reach.write(_add, name, label, token_hash(made), Grant(expires, read_only), room, reach.now())
    value = {"name": found, "label": label, "token": made}
    say(made, value | ({"expires": rfc3339(until)} if until else {}), as_json)


def _add(
    db: Connection, name: str, label: str, sha256: str, grant: Grant, room: str | None, at: datetime
) -> tuple[str, datetime | None]:
    found = find_person(db, name)
    if label in {line.label for line in tokens.listing(db, found.id)}:
        raise Problem(f"{found.name} already has a token {label}. Revoke it first, or choose another label.")
    if room is not None:
        grant = structs.replace(grant, room_id=_room_id(db, found.person, room))
    return found.name, tokens.create(db, found.id, label, sha256, at, grant)


def _room_id(db: Connection, who: Person, name: str) -> int:
    """Raises Problem."""
    try:
        access = find_room(db, who, room_name(name))
    except Refused:
        raise no_such_room(name) from None
    if access.role is None or not access.facts.id:
        raise Problem(f"{who.name} is not in {name}. A token is for a room that its user is in.")
    return access.facts.id


@token.command("list")
@click.argument("name", required=False)
@json_option
@access
def listing(reach: Access, name: str | None, as_json: bool) -> None:
    """List the valid tokens of all accounts or of one, oldest first.

    For each: account, label, when it was created and last used, when it expires, whether it is read-only, and the only
    room that it is for.
    """
    account_id = None if name is None else reach.read(find_person, name).id

    def read(last: int) -> Sequence[IssuedToken]:
        return reach.read(tokens.page, last, PAGE, account_id)

    def row(line: IssuedToken) -> tuple[object, ...]:
        rights = "read-only" if line.read_only else "all"
        return (
            line.name,
            line.label,
            line.created,
            line.last_used or "never",
            line.expires or "never",
            rights,
            line.room,
        )

    headings = ("Account", "Label", "Created", "Last used", "Expires", "Rights", "Room")
    say_list(pages(read, lambda line: line.id), row, (32, 16, 24, 24, 24, 9, 0), plain, as_json, headings)


@token.command()
@click.argument("name")
@click.argument("label")
@json_option
@access
def revoke(reach: Access, name: str, label: str, as_json: bool) -> None:
    """Revoke a token and end the connections that logged in with it."""
    found = reach.write(_revoke, name, label, reach.now())
    say(f"The token {label} of {found} is revoked.", {"name": found, "label": label, "revoked": True}, as_json)


def _revoke(db: Connection, name: str, label: str, at: datetime) -> str:
    found = find_person(db, name)
    if tokens.revoke(db, found.id, label, at) is None:
        raise Problem(f"{found.name} has no token {label}. See: chatctl token list {found.name}")
    return found.name
