"""`chatctl room`: rooms, also private and deleted ones."""

from collections.abc import Sequence
from datetime import datetime

import click

from chatserver.admin.access import HOST, Access, Problem, access, find_place, no_such_room, now
from chatserver.admin.leaving import confirmed, print_entries
from chatserver.admin.output import PAGE, json_option, pages, plain, print_json, say, say_all, say_list
from chatserver.events import MemberLine
from chatserver.store import Connection, changes, directory, messages, rooms
from chatserver.store.directory import RoomInfo
from chatserver.wire.hygiene import room_name


@click.group()
def room() -> None:
    """Rooms: public, private, and those that are no more."""


@room.command("list")
@click.option("--deleted", is_flag=True, help="Those that are no more, with the ids that `--id` takes.")
@json_option
@access
def listing(reach: Access, deleted: bool, as_json: bool) -> None:
    """All rooms but direct ones, oldest first: id, name, kind, people (or since when it is no more), entries, topic."""

    def read(last: int) -> Sequence[RoomInfo]:
        return reach.read(directory.rooms, last, PAGE, deleted=deleted)

    def row(line: RoomInfo) -> tuple[object, ...]:
        now = f"{line.members} in it" if line.members else "empty"
        return line.id, line.name, line.kind, line.deleted or now, f"{line.entries} entries", line.topic

    say_list(pages(read, lambda line: line.id), row, (6, 24, 7, 24 if deleted else 10, 14, 0), plain, as_json)


one_room = click.argument("name", metavar="ROOM", required=False)
by_id = click.option("--id", type=click.IntRange(1, 2**63 - 1), help="Instead of a name: for rooms that are deleted.")


def _find(reach: Access, name: str | None, id: int | None) -> RoomInfo:
    if (name is None) == (id is None):
        raise click.UsageError("Give a room's name, or its --id.")
    if id is not None:
        found = reach.read(directory.room_by_id, id)
        name = f"with the id {id}"
    else:
        assert name is not None
        if name.startswith("@"):
            raise Problem("A direct conversation has another name for each of the two. Give its --id.")
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
    """One room, and who is in it."""
    found = _find(reach, name, id)
    members = reach.read(rooms.members, found.facts, frozenset())
    value = plain(found) | {"members": [{"name": line.name, "role": line.role} for line in members]}
    say_all(
        [
            ("Id", found.id),
            ("Name", found.name),
            ("Kind", found.kind),
            ("Topic", found.topic),
            ("Entries", found.entries),
            ("Created", found.created),
            ("Empty since", None if found.deleted else found.deactivated),
            ("Deleted", found.deleted),
            ("Members", ", ".join(_member(line) for line in members)),
        ],
        value,
        as_json,
    )


def _member(line: MemberLine) -> str:
    return line.name if line.role == "member" else f"{line.name} ({line.role})"


@room.command()
@click.argument("name", metavar="ROOM")
@click.option("--yes", is_flag=True, help="It is meant.")
@json_option
@access
def delete(reach: Access, name: str, yes: bool, as_json: bool) -> None:
    """End a room for good: everybody is out of it, its name is free. Its log stays, for `export --id`."""
    confirmed("Deleting a room", yes)
    id, called = reach.write(_delete, name, now())
    note = f"{called} is no more. Its log can be had: chatctl room export --id {id}"
    say(note, {"room": called, "id": id, "deleted": True}, as_json)


def _delete(db: Connection, name: str, at: datetime) -> tuple[int, str]:
    place = find_place(db, name, at)
    rooms.delete(db, HOST, place, at)
    changes.grown(db, [place.facts.id], at)
    return place.facts.id, place.facts.name


@room.command()
@one_room
@by_id
@json_option
@access
def export(reach: Access, name: str | None, id: int | None, as_json: bool) -> None:
    """Print a room's whole log as JSON Lines: the room first, then every entry."""
    found = _find(reach, name, id)
    print_json({"room": plain(found)})
    seq, more = 0, True
    while more:
        entries, more = reach.read(messages.after, found.id, seq, PAGE)
        print_entries([(found.facts, entry) for entry in entries], 0)
        seq = entries[-1].seq if entries else seq
