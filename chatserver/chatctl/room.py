"""`chatctl room`: rooms, including private and deleted ones."""

from collections.abc import Sequence
from datetime import datetime

import click

from chatserver.chatctl.access import HOST, Access, Problem, access, find_room_access, no_such_room
from chatserver.chatctl.leaving import confirmed
from chatserver.chatctl.output import PAGE, counted, json_option, pages, plain, say, say_all, say_list
from chatserver.store import Connection, change_rows, directory, members, retention, rooms
from chatserver.store.directory import RoomInfo
from chatserver.store.retention import Standing
from chatserver.util.times import rfc3339
from chatserver.values.answers import MemberLine
from chatserver.values.events import MEMBER
from chatserver.wire.hygiene.text import room_name


@click.group()
def room() -> None:
    """Manage rooms: public, private and deleted ones."""


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
        people = counted(line.members, "member") if line.members else "empty"
        entries = counted(line.entries, "entry", "entries")
        return line.id, line.name, line.kind, line.deleted or people, entries, line.topic

    headings = ("Id", "Name", "Kind", "Deleted" if deleted else "Members", "Entries", "Topic")
    widths = (6, 24, 7, 24 if deleted else 10, 14, 0)
    say_list(pages(read, lambda line: line.id), row, widths, plain, as_json, headings)


one_room = click.argument("name", metavar="ROOM", required=False)
by_id = click.option(
    "--id", type=click.IntRange(1, 2**63 - 1), help="The id of the room instead of its name; for deleted rooms."
)


def find_room_info(reach: Access, name: str | None, id: int | None) -> RoomInfo:
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
    found = find_room_info(reach, name, id)
    inside = reach.read(members.listing, found.facts, frozenset())
    pace = reach.read(rooms.pace, found.id)
    standing = reach.read(retention.standing, found.id, reach.settings.retention, None)
    value = plain(found) | {
        "pace": pace,
        "retention": _kept(standing),
        "members": [{"name": line.name, "role": line.role} for line in inside],
    }
    say_all(
        [
            ("Id", found.id),
            ("Name", found.name),
            ("Kind", found.kind),
            ("Topic", found.topic),
            ("Pace", f"{pace} s" if pace else None),
            ("Entries", found.entries),
            *_told(standing),
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


@room.command("retention")
@one_room
@by_id
@click.option("--days", type=click.FloatRange(0, 10**6), help="Remove entries that are older. 0: keep all.")
@click.option("--entries", type=click.IntRange(0, 2**53), help="Remove all but the newest so many. 0: keep all.")
@click.option("--keep-all", is_flag=True, help="Keep everything: --days 0 --entries 0.")
@click.option("--default", "as_set", is_flag=True, help="Do as the settings of the server say.")
@click.option("--yes", is_flag=True, help="Confirm that entries are removed.")
@json_option
@access
def limit(
    reach: Access,
    name: str | None,
    id: int | None,
    days: float | None,
    entries: int | None,
    keep_all: bool,
    as_set: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Show, or change, what is removed of a room's log.

    Without options it shows what holds, and what there is. A room's own limits replace those of the settings, one by
    one. A server removes what is too much within a minute or two; it cannot be undone.
    """
    chosen = days is not None or entries is not None
    if chosen + keep_all + as_set > 1:
        raise click.UsageError("Give --days and --entries, or --keep-all, or --default.")
    found, settings = find_room_info(reach, name, id), reach.settings.retention
    standing = reach.read(retention.standing, found.id, settings, None)
    if chosen or keep_all or as_set:
        old_days, old_entries = standing.rule.own
        own = (
            (0.0, 0) if keep_all else (None, None) if as_set
            else (old_days if days is None else days, old_entries if entries is None else entries)
        )  # fmt: skip
        new = reach.read(retention.standing, found.id, settings, own)
        if new.excess > standing.excess and not yes:
            confirmed(f"This removes {new.excess} of the {new.entries} entries of {found.name}. It", yes)
        reach.write(retention.keep, found.id, *own)
        standing = new
    value = {"room": found.name, "id": found.id, "first": found.first, "entries": found.entries} | _kept(standing)
    lines = [("Room", found.name), ("Entries", found.entries), *_told(standing), ("To be removed", standing.excess)]
    say_all(lines, value, as_json)


def _kept(standing: Standing) -> dict[str, object]:
    """The retention of a room, as a JSON object."""
    own_days, own_entries = standing.rule.own
    return {
        "keep_days": standing.rule.days,
        "keep_entries": standing.rule.entries,
        "own_days": own_days,
        "own_entries": own_entries,
        "oldest": None if standing.oldest is None else rfc3339(standing.oldest),
        "excess": standing.excess,
    }


def _told(standing: Standing) -> list[tuple[str, object]]:
    own_days, own_entries = standing.rule.own
    return [
        ("First entry", f"#{standing.first}"),
        ("Oldest from", standing.oldest),
        ("Kept days", f"{standing.rule.days:g}{_whose(own_days)}" if standing.rule.days else f"all{_whose(own_days)}"),
        ("Kept entries", f"{standing.rule.entries or 'all'}{_whose(own_entries)}"),
    ]


def _whose(own: object) -> str:
    return " (as set for the server)" if own is None else " (as set for this room)"


@room.command()
@click.argument("name", metavar="ROOM")
@click.option("--yes", is_flag=True, help="Confirm it.")
@json_option
@access
def delete(reach: Access, name: str, yes: bool, as_json: bool) -> None:
    """Delete a room: its members leave and its name is free. Its log stays, for export --id."""
    confirmed("Deleting a room", yes)
    id, called = reach.write(_delete, name, reach.now())
    note = f"{called} is deleted. To export its log: chatctl room export --id {id}"
    say(note, {"room": called, "id": id, "deleted": True}, as_json)


def _delete(db: Connection, name: str, at: datetime) -> tuple[int, str]:
    room_access = find_room_access(db, name)
    rooms.delete(db, HOST, room_access, at)
    change_rows.grown(db, [room_access.facts.id], at)
    return room_access.facts.id, room_access.facts.name
