"""Entries of a room's log as programs are told of them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType, field

from chatserver import events
from chatserver.events import Entry, RoomFacts
from chatserver.wire.recorded import moment, settings


class _Message(Struct, gc=False, tag_field="event", tag=events.MESSAGE):
    room: str
    seq: int
    from_: str | UnsetType = field(name="from")
    at: str
    text: str | UnsetType
    edited: bool | UnsetType = UNSET
    erased: bool | UnsetType = UNSET
    id: str | UnsetType = UNSET


class _Act(Struct, gc=False, kw_only=True):
    """Whatever else happens in a room. The order of the fields is that on the line."""

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
    text: str | UnsetType = UNSET


def lines_of(facts: RoomFacts, entries: Sequence[Entry], viewer_id: int) -> list[Struct]:
    """What is to be encoded. The viewer's id decides on a direct room's name and whose `id`s are shown."""
    label = facts.label(viewer_id)
    return [_line(label, entry, viewer_id) for entry in entries]


def _line(label: str, entry: Entry, viewer_id: int) -> Struct:
    at = stamp(entry.at)
    kind = entry.kind
    if kind == events.MESSAGE:
        own_id = entry.client_id if entry.author_id == viewer_id and entry.client_id is not None else UNSET
        if not entry.state:
            return _Message(label, entry.seq, _author(entry), at, entry.text, id=own_id)
        erased = entry.state == events.ERASED
        text, edited = (UNSET, UNSET) if erased else (entry.text, True)
        return _Message(label, entry.seq, _author(entry), at, text, edited, erased or UNSET, own_id)
    if kind not in FIELDS:
        raise ValueError(f"an entry of unknown kind {kind!r}")
    return _Act(event=kind, room=label, seq=entry.seq, at=at, **FIELDS[kind](entry))


def _author(entry: Entry) -> str | UnsetType:
    """Nobody, where the server did it."""
    return entry.author if entry.author_id else UNSET


def _came_or_went(entry: Entry) -> dict[str, Any]:
    return {"name": _author(entry)}


def _by(entry: Entry) -> dict[str, Any]:
    return {"by": _author(entry)}


def _done_to(entry: Entry) -> dict[str, Any]:
    return {"name": entry.target, "by": _author(entry)}


def _with_reason(entry: Entry) -> dict[str, Any]:
    return {**_done_to(entry), "reason": entry.text or UNSET}


def _muted(entry: Entry) -> dict[str, Any]:
    until = moment(entry.text)
    return {**_done_to(entry), "until": UNSET if until is None else stamp(until)}


FIELDS: Final[dict[str, Callable[[Entry], dict[str, Any]]]] = {
    events.JOINED: _came_or_went,
    events.LEFT: _came_or_went,
    events.TOPIC: lambda entry: {**_by(entry), "text": entry.text},
    events.CREATED: lambda entry: {**_by(entry), "text": entry.text or UNSET},
    events.DELETED: _by,
    events.SET: lambda entry: {**_by(entry), **settings(entry.text)},
    events.KICKED: _with_reason,
    events.BANNED: _with_reason,
    events.UNBANNED: _done_to,
    events.MUTED: _muted,
    events.UNMUTED: _done_to,
    events.ROLE: lambda entry: {**_done_to(entry), "role": entry.text},
    events.EDITED: lambda entry: {**_by(entry), "of": entry.of, "text": entry.text or UNSET},
    events.ERASED: lambda entry: {**_by(entry), "of": entry.of},
}
"""What is told of each kind of entry, beside its room, number and time."""


@lru_cache(maxsize=1024)  # the entries of one transaction have one time
def stamp(at: datetime) -> str:
    """RFC 3339, UTC, with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
