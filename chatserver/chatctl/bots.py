"""`chatctl user add --bot` and `chatctl user owner`: the accounts of programs."""

from datetime import datetime
from typing import Final

import click

from chatserver.chatctl.access import Access, Problem, access, find_person
from chatserver.chatctl.output import json_option, say
from chatserver.store import Connection, bots, change_rows, rooms, tokens
from chatserver.store.tokens import new_token, token_hash
from chatserver.values.events import BOT, Person

FIRST_LABEL: Final = "first"


def add(reach: Access, name: str, owner: str, label: str, as_json: bool, *, any_name: bool) -> None:
    """Creates a bot and prints its first token: alone on the standard output, so that a script can take it."""
    made = new_token()
    default_rooms = reach.settings.server.default_rooms
    id, owned_by, joined = reach.write(_add, name, owner, label, token_hash(made), default_rooms, reach.now(), any_name)
    value = {"id": id, "name": name, "owner": owned_by, "rooms": joined, "label": label, "token": made}
    say(made, value, as_json)


def _add(
    db: Connection, name: str, owner: str, label: str, sha256: str, default_rooms: list[str], at: datetime,
    any_name: bool,
) -> tuple[int, str, list[str]]:  # fmt: skip
    belongs_to = find_person(db, owner)
    bot = bots.create(db, name, belongs_to.id, at, alike=any_name)
    tokens.create(db, bot.id, label, sha256, at)
    return bot.id, belongs_to.name, enter(db, bot, default_rooms, at)


def enter(db: Connection, person: Person, default_rooms: list[str], at: datetime) -> list[str]:
    """Lets a new account join the default rooms, and notifies running servers. Returns their names."""
    rooms.ensure(db, default_rooms, at)  # if no server has run yet
    joined = rooms.enter_default(db, person, default_rooms, at)
    change_rows.grown(db, [facts.id for facts, _ in joined], at)
    return [facts.name for facts, _ in joined]


@click.command()
@click.argument("bot", metavar="BOT")
@click.argument("person", metavar="PERSON")
@json_option
@access
def owner(reach: Access, bot: str, person: str, as_json: bool) -> None:
    """Make a bot belong to another person."""
    name, new = reach.write(_give, bot, person)
    say(f"{name} belongs to {new} now.", {"name": name, "owner": new}, as_json)


def _give(db: Connection, bot: str, person: str) -> tuple[str, str]:
    found, new = find_person(db, bot), find_person(db, person)
    if found.kind != BOT:
        raise Problem(f"{found.name} is no bot. Only bots belong to somebody.")
    bots.give(db, found.id, new.id)
    return found.name, new.name
