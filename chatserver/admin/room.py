"""`chatctl room`: rooms, including private and deleted ones."""

from collections.abc import Sequence
from datetime import datetime

import click

from chatserver.admin.access import HOST, Access, Problem, access, find_room_access, no_such_room
from chatserver.admin.leaving import confirmed, print_entries
from chatserver.admin.output import (
    PAGE,
    json_option,
    output_option,
    pages,
    plain,
    print_json,
    printing_to,
    say,
    say_all,
    say_list,
)
from chatserver.answers import MemberLine
from chatserver.events import MEMBER
from chatserver.store import Connection, changes, directory, entries, members, rooms
from chatserver.store.directory import RoomInfo
from chatserver.times import now
from chatserver.wire.hygiene import room_name


@click.group()
def room() -> None:
    """List, show, delete and export rooms: public, private and deleted ones."""


@room.command("list")
@click.option("--deleted", is_flag=True, help="Deleted rooms instead, with their ids for --id.")
@json_option
@access
def listing(reach: Access, deleted: bool, as_json: bool) -> None:
    """List all rooms except direct ones, oldest first.

    For each: id, name, kind, members (or when it was deleted), entries, topic.
    """

    def read(last: int) -> Sequence[RoomInfo]:
        return reach.read(directory.rooms, last, PAGE, deleted=deleted)

    def row(line: RoomInfo) -> tuple[object, ...]:
        people = f"{line.members} members" if line.members else "empty"
        return line.id, line.name, line.kind, line.deleted or people, f"{line.entries} entries", line.topic

    say_list(pages(read, lambda line: line.id), row, (6, 24, 7, 24 if deleted else 10, 14, 0), plain, as_json)


one_room = click.argument("name", metavar="ROOM", required=False)
by_id = click.option(
    "--id", type=click.IntRange(1, 2**63 - 1), help="The id of the room instead of its name; for deleted rooms."
)


def _find(reach: Access, name: str | None, id: int | None) -> RoomInfo:
    if (name is None) == (id is None):
        raise click.UsageError("Give the name of a room, or its --id.")
    if id is not None:
        found = reach.read(directory.room_by_id, id)
        name = f"with the id {id}"
    else:
        assert name is not None
        if name.startswith("@"):
            raise Problem("The label of a direct room depends on who looks at it. Give its --id.")
        found = reach.read(directory.room, room_name(name))
    if found is None:
        raise no_such_room(name)
    return found


@room.command()
@one_room
@by_id
@json_option
@access
def show(reach: Access, name: str | None, id: int | None, as_json: bool) -> None:
    """Show a room and its members."""
    found = _find(reach, name, id)
    inside = reach.read(members.listing, found.facts, frozenset())
    pace = reach.read(rooms.pace, found.id)
    value = plain(found) | {"pace": pace, "members": [{"name": line.name, "role": line.role} for line in inside]}
    say_all(
        [
            ("Id", found.id),
            ("Name", found.name),
            ("Kind", found.kind),
            ("Topic", found.topic),
            ("Pace", f"{pace} s" if pace else None),
            ("Entries", found.entries),
            ("Created", found.created),
            ("Empty since", None if found.deleted else found.deactivated),
            ("Deleted", found.deleted),
            ("Members", ", ".join(_member(line) for line in inside)),
        ],
        value,
        as_json,
    )


def _member(line: MemberLine) -> str:
    return line.name if line.role == MEMBER else f"{line.name} ({line.role})"


@room.command()
@click.argument("name", metavar="ROOM")
@click.option("--yes", is_flag=True, help="Confirm it.")
@json_option
@access
def delete(reach: Access, name: str, yes: bool, as_json: bool) -> None:
    """Delete a room: its members leave and its name is free. Its log stays, for export --id."""
    confirmed("Deleting a room", yes)
    id, called = reach.write(_delete, name, now())
    note = f"{called} is deleted. To export its log: chatctl room export --id {id}"
    say(note, {"room": called, "id": id, "deleted": True}, as_json)


def _delete(db: Connection, name: str, at: datetime) -> tuple[int, str]:
    room_access = find_room_access(db, name)
    rooms.delete(db, HOST, room_access, at)
    changes.grown(db, [room_access.facts.id], at)
    return room_access.facts.id, room_access.facts.name


@room.command()
@one_room
@by_id
@output_option
@json_option
@access
def export(reach: Access, name: str | None, id: int | None, output: str | None, as_json: bool) -> None:
    """Print the log of a room as JSON Lines: the room, then every entry."""
    found = _find(reach, name, id)
    with printing_to(output):
        print_json({"room": plain(found)})
        seq, more = 0, True
        while more:
            page, more = reach.read(entries.after, found.id, seq, PAGE)
            print_entries([(found.facts, entry) for entry in page], 0)
            seq = page[-1].seq if page else seq
