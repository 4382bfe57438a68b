"""`chatctl user erase` and `export`: what users may ask for when they leave."""

from datetime import datetime
from time import monotonic, sleep
from typing import Final

import click

from chatserver.chatctl.access import Access, access, find_account, find_person
from chatserver.chatctl.output import json_option, output_option, print_json, printing_to, say
from chatserver.store import Connection, change_rows, directory, erasure, export
from chatserver.values.events import Entry, RoomFacts
from chatserver.wire.jsonl.entries import lines_of

PAGE = 500
"""Number of entries that are read at a time."""
NODES_SECONDS: Final = 10.0
"""How long nodes may take to store commands of the account before it is erased: longer than a lease."""
ASK_SECONDS: Final = 0.1


def confirmed(what: str, yes: bool) -> None:
    """Raises UsageError unless `--yes` was given."""
    if not yes:
        raise click.UsageError(f"{what} cannot be undone. Add --yes to do it.")


@click.command()
@click.argument("name")
@click.option(
    "--messages", type=click.Choice(["keep", "erase"]), default="keep", show_default=True,
    help="What happens to their messages. Kept ones are shown as from an erased user.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Confirm it.")
@json_option
@access
def erase(reach: Access, name: str, messages: str, yes: bool, as_json: bool) -> None:
    """Remove an account from all rooms and from the database. Its name stays reserved."""
    confirmed("Erasing an account", yes)
    change = reach.write(_begin, name, messages == "erase", reach.now()) if reach.read(change_rows.together) else 0
    begun = monotonic()
    while change and reach.read(change_rows.behind, change) and monotonic() - begun < NODES_SECONDS:
        sleep(ASK_SECONDS)
    account_id, found = reach.write(_erase, name, messages == "erase", reach.now())
    while (places := reach.read(erasure.places, account_id)) is not None:
        for step in erasure.steps(places):
            reach.write(erasure.step, account_id, step, reach.now())
            sleep(erasure.PAUSE_SECONDS)
    say(f"{found} is erased.", {"name": found, "erased": True, "messages": messages}, as_json)


def _begin(db: Connection, name: str, messages: bool, at: datetime) -> int:
    """Disables the account, so that all nodes end its connections and store what these had sent before. Returns the id
    of the change to wait for; 0: it is erased already."""
    known = directory.account(db, name)
    if known is not None and known.erased:
        return 0
    return erasure.begin(db, find_account(db, name).person, at, messages=messages)


def _erase(db: Connection, name: str, messages: bool, at: datetime) -> tuple[int, str]:
    """Begins the erasure, or continues an interrupted one."""
    known = directory.account(db, name)
    if known is not None and known.erased and erasure.places(db, known.id, 1) is not None:
        return known.id, name
    found = find_account(db, name)
    erasure.erase(db, found.person, at, messages=messages)
    return found.id, found.name


@click.command("export")
@click.argument("name")
@output_option
@json_option
@access
def export_account(reach: Access, name: str, output: str | None, as_json: bool) -> None:
    """Print the data of an account as JSON Lines.

    First the account, then every entry that it wrote.
    """
    person = reach.read(find_person, name).person
    account = reach.read(export.account, person)
    with printing_to(output):
        print_json({"account": account})
        after: str | None = ""
        while after is not None:
            entries, after = reach.read(export.page, person, after, PAGE)
            print_entries(entries, person.id)


def print_entries(entries: list[tuple[RoomFacts, Entry]], viewer_id: int) -> None:
    """Prints entries as the protocol has them.

    The viewer's id decides how a direct room is named, and which message ids are included.
    """
    print_json(*[line for facts, entry in entries for line in lines_of(facts, [entry], viewer_id)])
