"""Entries of a room's log as JSON objects."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from chatserver.util.times import parse_rfc3339, rfc3339
from chatserver.values import events
from chatserver.values.events import Entry, EntryKind, RoomFacts
from chatserver.values.recorded import parse_pace, parse_recorded, parse_renaming
from chatserver.wire.dialect import Form, Rendered

_encoder: Final = msgspec.json.Encoder()
_encode: Final = _encoder.encode


class _Quote(Struct, gc=False):
    seq: int
    from_: str | UnsetType = field(name="from")
    display: str | UnsetType
    text: str | UnsetType
    erased: bool | UnsetType


class _Message(Struct, gc=False, tag_field="event", tag=events.MESSAGE):
    room: str
    room_id: int | UnsetType
    seq: int
    from_: str | UnsetType = field(name="from")
    at: str
    text: str | UnsetType
    re: int | UnsetType = UNSET
    quote: _Quote | UnsetType = UNSET
    edited: bool | UnsetType = UNSET
    erased: bool | UnsetType = UNSET
    reactions: dict[str, int] | UnsetType = UNSET
    mine: tuple[str, ...] | UnsetType = UNSET
    replies: int | UnsetType = UNSET
    display: str | UnsetType = UNSET
    bot: bool | UnsetType = UNSET
    id: str | UnsetType = UNSET


class _Event(Struct, gc=False, kw_only=True):
    """Every entry that is not a message. Fields are written in this order."""

    event: str
    room: str
    room_id: int | UnsetType
    seq: int
    of: int | UnsetType = UNSET
    reaction: str | UnsetType = UNSET
    count: int | UnsetType = UNSET
    name: str | UnsetType = UNSET
    to: str | UnsetType = UNSET
    role: str | UnsetType = UNSET
    by: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    until: str | UnsetType = UNSET
    at: str
    past: str | UnsetType = UNSET
    invites: str | UnsetType = UNSET
    pace: int | UnsetType = UNSET
    text: str | UnsetType = UNSET
    display: str | UnsetType = UNSET
    bot: bool | UnsetType = UNSET


class _Gap(Struct, gc=False, tag_field="event", tag=events.GAP):
    room: str
    room_id: int | UnsetType
    from_: int = field(name="from")
    first: int


def lines_of(facts: RoomFacts, entries: Sequence[Entry], viewer_id: int, *, quotes: bool = True) -> list[Struct]:
    """The objects to encode. `viewer_id` decides a direct room's label and whose `id`s are shown. Without `quotes`,
    those that entries have are left out."""
    label, room_id = facts.label(viewer_id), facts.id or UNSET
    return [_line(label, room_id, entry, viewer_id, quotes) for entry in entries]


def _line(label: str, room_id: int | UnsetType, entry: Entry, viewer_id: int, quotes: bool) -> Struct:
    kind = entry.kind
    if kind == events.GAP:
        return _Gap(label, room_id, entry.begin, entry.seq + 1)
    at = rfc3339(entry.at)
    if kind == events.MESSAGE:
        own_id = entry.given_id or UNSET if entry.author_id == viewer_id else UNSET
        text: str | UnsetType
        edited: bool | UnsetType
        erased: bool | UnsetType
        if not entry.state:
            text, edited, erased = entry.text, UNSET, UNSET
        elif entry.state == events.ERASED:
            text, edited, erased = UNSET, UNSET, True
        else:
            text, edited, erased = entry.text, True, UNSET
        return _Message(
            label, room_id, entry.seq, _author(entry), at, text, entry.of or UNSET,
            _quote(entry) if quotes else UNSET, edited, erased, dict(entry.reactions) if entry.reactions else UNSET,
            entry.mine or UNSET, entry.replies or UNSET,
            entry.display or UNSET, entry.bot or UNSET, own_id,
        )  # fmt: skip
    if kind not in FIELDS:
        raise ValueError(f"an entry of unknown kind {kind!r}")
    fields = _who(entry) | FIELDS[kind](entry) if entry.display or entry.bot else FIELDS[kind](entry)
    return _Event(event=kind, room=label, room_id=room_id, seq=entry.seq, at=at, **fields)


def _quote(entry: Entry) -> _Quote | UnsetType:
    """What the entry quotes, as far as everybody who is sent it may know."""
    quote = entry.quote
    if quote is None or quote.hidden:
        return UNSET
    author = quote.author if quote.author_id else UNSET
    return _Quote(entry.of, author, quote.display or UNSET, quote.text or UNSET, UNSET if quote.text else True)


def _author(entry: Entry) -> str | UnsetType:
    """Unset for an entry that the server itself made."""
    return entry.author if entry.author_id else UNSET


def _who(entry: Entry) -> dict[str, Any]:
    """Further fields about the author."""
    return {"display": entry.display or UNSET, "bot": entry.bot or UNSET}


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


def _about(entry: Entry) -> dict[str, Any]:
    return {**_author_as_by(entry), "of": entry.of}


def _reaction(entry: Entry) -> dict[str, Any]:
    count = entry.reactions[0][1] if entry.reactions else UNSET
    return {**_about(entry), "reaction": entry.text or UNSET, "count": count}


def _renamed(entry: Entry) -> dict[str, Any]:
    renaming = parse_renaming(entry.text)
    return {"name": renaming.former or entry.author, "to": renaming.name or entry.author}


FIELDS: Final[dict[EntryKind, Callable[[Entry], dict[str, Any]]]] = {
    events.JOINED: _author_as_name,
    events.LEFT: _author_as_name,
    events.TOPIC: lambda entry: {**_author_as_by(entry), "text": UNSET if entry.state == events.ERASED else entry.text},
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
    events.ERASED: _about,
    events.REACTED: _reaction,
    events.UNREACTED: _reaction,
    events.PINNED: _about,
    events.UNPINNED: _about,
    events.RENAMED: _renamed,
}
"""For each kind of entry but messages, its fields besides the room, the number and the time."""


def entries(facts: RoomFacts, entries: Sequence[Entry], form: Form) -> Rendered:
    """One line per entry."""
    lines = lines_of(facts, entries, form.viewer, quotes=form.quotes)
    if len(lines) == 1:  # most batches
        data = _encode(lines[0]) + b"\r\n"
        return Rendered(data, (len(data),))
    # One call encodes all. JSON escapes line ends in texts, so every line end in `data` is the end of an entry.
    data = _encoder.encode_lines(lines).replace(b"\n", b"\r\n")
    return Rendered(data, tuple(accumulate(map(len, data.splitlines(keepends=True)))))
