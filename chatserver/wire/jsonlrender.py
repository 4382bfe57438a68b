"""What programs are told: answers and events to lines of JSON."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType, structs

from chatserver import events
from chatserver.commands import COMMANDS, Tag
from chatserver.errors import RETRYABLE
from chatserver.events import Answer, Entry, News, Refusal, RoomFacts
from chatserver.wire.jsonlentries import lines_of, stamp


class _Said(Struct, gc=False):
    ok: bool
    tag: Tag | UnsetType
    room: str
    seq: int
    at: str
    dup: bool | UnsetType = UNSET


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
        case events.Welcome(name, rooms, invitations=invitations):
            return _some(name=name, rooms=[_known(status) for status in rooms], invitations=invitations or None)
        case events.RoomList(rooms, more):
            return _some(rooms=[_known(line) for line in rooms], more=more or None)
        case events.Joined(room, seq, members):
            return {"room": room, "seq": seq, "members": members}
        case events.Log(facts, logged, more):
            return {"room": facts.label(viewer_id), "entries": lines_of(facts, logged, viewer_id), "more": more}
        case events.Found(found, more, before):
            return _some(entries=_of_rooms(found, viewer_id), more=more, before=before)
        case events.Exported(account, exported, next):
            return _some(account=account, entries=_of_rooms(exported, viewer_id), next=next)
        case events.MemberList(_, members):
            return {"members": members}
        case events.UserList(users):
            return {"users": [_user(line) for line in users]}
        case events.UnreadList(rooms):
            return {"rooms": [_known(status) | {"unread": status.seq - status.read} for status in rooms]}
        case events.TokenList(tokens):
            return {"tokens": [_token(line) for line in tokens]}
        case events.BanList(bans):
            return {"bans": [_ban(line) for line in bans]}
        case events.Changed(room, number):
            return _some(room=room, seq=number)
        case (
            events.Created() | events.Left() | events.Marked() | events.TopicSet()
            | events.TokenMade()
        ):  # fmt: skip
            return structs.asdict(answer)
        case events.HelpText():
            return {"commands": sorted(str(kind.__struct_config__.tag) for kind in COMMANDS)}
        case _:
            return {}


def _some(**fields: Any) -> dict[str, Any]:
    """Those of the fields that there are."""
    return {name: value for name, value in fields.items() if value is not None}


def _known(line: Struct) -> dict[str, Any]:
    return _some(**structs.asdict(line))


def _of_rooms(logged: Sequence[tuple[RoomFacts, Entry]], viewer_id: int) -> list[Struct]:
    return [line for facts, entry in logged for line in lines_of(facts, [entry], viewer_id)]


def _user(line: events.UserLine) -> dict[str, Any]:
    seen = None if line.last_seen is None else stamp(line.last_seen)
    return _some(name=line.name, online=line.online, away=line.away or None, last_seen=seen)


def _token(line: events.TokenLine) -> dict[str, Any]:
    used = None if line.last_used is None else stamp(line.last_used)
    return _some(label=line.label, created=stamp(line.created), last_used=used)


def _ban(line: events.BanLine) -> dict[str, Any]:
    until = None if line.until is None else stamp(line.until)
    return _some(name=line.name, address=line.address, until=until, by=line.by, reason=line.reason or None)


def entries(facts: RoomFacts, entries: Sequence[Entry], viewer_id: int) -> bytes:
    """A line for each. The viewer's id decides on a direct room's name and whose `id`s are shown; 0 is nobody's."""
    # What is encoded has no newline of its own, and this is one call for them all.
    return _encoder.encode_lines(lines_of(facts, entries, viewer_id)).replace(b"\n", b"\r\n")


def news(item: News) -> bytes:
    match item:
        case events.Presence(name, online, away):
            body = _some(event="presence", name=name, online=online, away=away or None)
        case events.Invited(room, by):
            body = {"event": "invited", "room": room, "by": by}
        case events.ReadMark(room, seq):
            body = {"event": "read", "room": room, "seq": seq}
        case events.Live(room, seq):
            body = {"event": "live", "room": room, "seq": seq}
        case events.Pinged():
            body = {"event": "ping"}
        case events.Closing(reason, text, retry):
            body = _some(event="closing", reason=reason, text=text, retry=retry)
    return _encode(body) + b"\r\n"
