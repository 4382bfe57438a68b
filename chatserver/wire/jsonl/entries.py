"""Entries of a room's log as JSON objects."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType, field

from chatserver import events
from chatserver.events import Entry, EntryKind, RoomFacts
from chatserver.roomsettings import parse_pace, parse_recorded
from chatserver.times import parse_rfc3339, rfc3339


class _Message(Struct, gc=False, tag_field="event", tag=events.MESSAGE):
    room: str
    seq: int
    from_: str | UnsetType = field(name="from")
    at: str
    text: str | UnsetType
    edited: bool | UnsetType = UNSET
    erased: bool | UnsetType = UNSET
    id: str | UnsetType = UNSET


class _Event(Struct, gc=False, kw_only=True):
    """Every entry that is not a message. Fields are written in this order."""

    event: str
    room: str
    seq: int
    of: int | UnsetType = UNSET
    name: str | UnsetType = UNSET
    role: str | UnsetType = UNSET
    by: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    until: str | UnsetType = UNSET
    at: str
    past: str | UnsetType = UNSET
    invites: str | UnsetType = UNSET
    pace: int | UnsetType = UNSET
    text: str | UnsetType = UNSET


class _Gap(Struct, gc=False, tag_field="event", tag=events.GAP):
    room: str
    from_: int = field(name="from")
    first: int


def lines_of(facts: RoomFacts, entries: Sequence[Entry], viewer_id: int) -> list[Struct]:
    """The objects to encode. `viewer_id` decides what a direct room is called and whose `id`s are shown."""
    label = facts.label(viewer_id)
    return [_line(label, entry, viewer_id) for entry in entries]


def _line(label: str, entry: Entry, viewer_id: int) -> Struct:
    kind = entry.kind
    if kind == events.GAP:
        return _Gap(label, entry.begin, entry.seq + 1)
    at = rfc3339(entry.at)
    if kind == events.MESSAGE:
        own_id = entry.client_id if entry.author_id == viewer_id and entry.client_id is not None else UNSET
        if not entry.state:
            return _Message(label, entry.seq, _author(entry), at, entry.text, id=own_id)
        erased = entry.state == events.ERASED
        text, edited = (UNSET, UNSET) if erased else (entry.text, True)
        return _Message(label, entry.seq, _author(entry), at, text, edited, erased or UNSET, own_id)
    if kind not in FIELDS:
        raise ValueError(f"an entry of unknown kind {kind!r}")
    return _Event(event=kind, room=label, seq=entry.seq, at=at, **FIELDS[kind](entry))


def _author(entry: Entry) -> str | UnsetType:
    """Unset for an entry that the server itself made."""
    return entry.author if entry.author_id else UNSET


def _author_as_name(entry: Entry) -> dict[str, Any]:
    return {"name": _author(entry)}


def _author_as_by(entry: Entry) -> dict[str, Any]:
    return {"by": _author(entry)}


def _target_and_author(entry: Entry) -> dict[str, Any]:
    return {"name": entry.target, "by": _author(entry)}


def _with_reason(entry: Entry) -> dict[str, Any]:
    return {**_target_and_author(entry), "reason": entry.text or UNSET}


def _muted(entry: Entry) -> dict[str, Any]:
    until = parse_rfc3339(entry.text)
    return {**_target_and_author(entry), "until": UNSET if until is None else rfc3339(until)}


def _pace(entry: Entry) -> int | UnsetType:
    pace = parse_pace(entry.text)
    return UNSET if pace is None else pace


FIELDS: Final[dict[EntryKind, Callable[[Entry], dict[str, Any]]]] = {
    events.JOINED: _author_as_name,
    events.LEFT: _author_as_name,
    events.TOPIC: lambda entry: {**_author_as_by(entry), "text": entry.text},
    events.CREATED: lambda entry: {**_author_as_by(entry), "text": entry.text or UNSET},
    events.DELETED: _author_as_by,
    events.SET: lambda entry: {**_author_as_by(entry), **parse_recorded(entry.text), "pace": _pace(entry)},
    events.KICKED: _with_reason,
    events.BANNED: _with_reason,
    events.UNBANNED: _target_and_author,
    events.MUTED: _muted,
    events.UNMUTED: _target_and_author,
    events.ROLE: lambda entry: {**_target_and_author(entry), "role": entry.text},
    events.EDITED: lambda entry: {**_author_as_by(entry), "of": entry.of, "text": entry.text or UNSET},
    events.ERASED: lambda entry: {**_author_as_by(entry), "of": entry.of},
}
"""For each kind of entry but messages, its fields besides the room, the number and the time."""
