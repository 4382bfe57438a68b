"""What programs are told: answers and events to lines of JSON."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType, field, structs

from chatserver import events
from chatserver.commands import COMMANDS, Tag
from chatserver.errors import RETRYABLE
from chatserver.events import Answer, Entry, News, Refusal, RoomFacts


class _Said(Struct, gc=False):
    ok: bool
    tag: Tag | UnsetType
    room: str
    seq: int
    at: str
    dup: bool | UnsetType = UNSET


class _Message(Struct, gc=False, tag_field="event", tag=events.MESSAGE):
    room: str
    seq: int
    from_: str | UnsetType = field(name="from")
    at: str
    text: str
    id: str | UnsetType = UNSET


class _Named(Struct, gc=False, tag_field="event", tag=events.JOINED):
    room: str
    seq: int
    name: str | UnsetType
    at: str


class _Left(_Named, gc=False, tag=events.LEFT):
    pass


class _Topic(Struct, tag_field="event", tag=events.TOPIC):
    room: str
    seq: int
    by: str | UnsetType
    at: str
    text: str


class _Created(Struct, tag_field="event", tag=events.CREATED):
    room: str
    seq: int
    by: str | UnsetType
    at: str
    text: str | UnsetType


_encoder: Final = msgspec.json.Encoder()
_encode: Final = _encoder.encode


def reply(tag: Tag | None, answer: Answer, viewer_id: int, me: str) -> bytes:
    """One line. `me` is for the other dialect's sake: both are called alike."""
    tagged = UNSET if tag is None else tag
    match answer:
        case events.Said(room, seq, at, dup):  # the answer to nearly everything
            return _encode(_Said(True, tagged, room, seq, stamp(at), dup or UNSET)) + b"\r\n"
        case Refusal(error, text):
            body: dict[str, Any] = {"ok": False, "tag": tagged, "error": error, "text": text}
            if error in RETRYABLE:
                body["retry"] = True
        case _:
            body = {"ok": True, "tag": tagged, **_fields(answer, viewer_id)}
    if tag is None:
        del body["tag"]
    return _encode(body) + b"\r\n"


def _fields(answer: Answer, viewer_id: int) -> dict[str, Any]:
    match answer:
        case events.Welcome(name, rooms):
            return {"name": name, "rooms": [_without_none(status) for status in rooms]}
        case events.RoomList(rooms, more):
            return {"rooms": [_without_none(line) for line in rooms], **({"more": True} if more else {})}
        case events.Joined(room, seq, members):
            return {"room": room, "seq": seq, "members": members}
        case events.Log(facts, logged, more):
            return {"room": facts.label(viewer_id), "entries": _events(facts, logged, viewer_id), "more": more}
        case events.MemberList(_, members):
            return {"members": members}
        case events.UserList(users):
            return {"users": [_user(line) for line in users]}
        case events.UnreadList(rooms):
            return {"rooms": [_without_none(status) | {"unread": status.seq - status.read} for status in rooms]}
        case events.Created() | events.Left() | events.Marked() | events.TopicSet() | events.Looked():
            return structs.asdict(answer)
        case events.HelpText():
            return {"commands": sorted(str(kind.__struct_config__.tag) for kind in COMMANDS)}
        case _:
            return {}


def _without_none(line: Struct) -> dict[str, Any]:
    return {name: value for name, value in structs.asdict(line).items() if value is not None}


def _user(line: events.UserLine) -> dict[str, Any]:
    seen = {} if line.last_seen is None else {"last_seen": stamp(line.last_seen)}
    return {"name": line.name, "online": line.online, **seen}


def entries(facts: RoomFacts, entries: Sequence[Entry], viewer_id: int) -> bytes:
    """A line for each. The viewer's id decides on a direct room's name and whose `id`s are shown; 0 is nobody's."""
    # What is encoded has no newline of its own, and this is one call for them all.
    return _encoder.encode_lines(_events(facts, entries, viewer_id)).replace(b"\n", b"\r\n")


def _events(facts: RoomFacts, entries: Sequence[Entry], viewer_id: int) -> list[Struct]:
    label = facts.label(viewer_id)
    return [_event(label, entry, viewer_id) for entry in entries]


def _event(label: str, entry: Entry, viewer_id: int) -> Struct:
    at = stamp(entry.at)
    author = entry.author if entry.author_id else UNSET
    kind = entry.kind
    if kind == events.MESSAGE:
        own_id = entry.client_id if entry.author_id == viewer_id and entry.client_id is not None else UNSET
        return _Message(label, entry.seq, author, at, entry.text, own_id)
    if kind == events.JOINED:
        return _Named(label, entry.seq, author, at)
    if kind == events.LEFT:
        return _Left(label, entry.seq, author, at)
    if kind == events.TOPIC:
        return _Topic(label, entry.seq, author, at, entry.text)
    if kind == events.CREATED:
        return _Created(label, entry.seq, author, at, entry.text or UNSET)
    raise ValueError(f"an entry of unknown kind {kind!r}")


def news(item: News) -> bytes:
    match item:
        case events.Presence(name, online):
            body = {"event": "presence", "name": name, "online": online}
        case events.ReadMark(room, seq):
            body = {"event": "read", "room": room, "seq": seq}
        case events.Live(room, seq):
            body = {"event": "live", "room": room, "seq": seq}
        case events.Pinged():
            body = {"event": "ping"}
        case events.Closing(reason, text, retry):
            body = {"event": "closing", "reason": reason, "text": text}
            if retry is not None:
                body["retry"] = retry
    return _encode(body) + b"\r\n"


@lru_cache(maxsize=1024)  # the entries of one transaction have one time
def stamp(at: datetime) -> str:
    """RFC 3339, UTC, with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
