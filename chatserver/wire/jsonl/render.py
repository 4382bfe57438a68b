"""Answers, news and entries to JSON Lines."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType, structs

from chatserver.util.times import rfc3339
from chatserver.values import answers, events
from chatserver.values.answers import Answer, Refusal
from chatserver.values.commands import COMMANDS, Tag
from chatserver.values.errors import RETRYABLE
from chatserver.values.events import Entry, News, RoomFacts
from chatserver.wire.dialect import Asked
from chatserver.wire.jsonl.entries import lines_of
from chatserver.wire.screen import SCREEN, Screen
from chatserver.wire.sentences import english


class _Said(Struct, gc=False):
    ok: bool
    tag: Tag | UnsetType
    room: str
    seq: int
    at: str
    dup: bool | UnsetType = UNSET


_encoder: Final = msgspec.json.Encoder()
_encode: Final = _encoder.encode


def answer(asked: Asked, answer: Answer) -> bytes:
    tag = asked.tag
    tagged = UNSET if tag is None else tag
    match answer:
        case answers.Said(room, seq, at, dup):  # by far the most frequent answer
            return _encode(_Said(True, tagged, room, seq, rfc3339(at), dup or UNSET)) + b"\r\n"
        case Refusal(why, sentence, retry):
            body: dict[str, Any] = {"ok": False, "tag": tagged, "error": why.word, "text": english(sentence)}
            if why.word in RETRYABLE:
                body["retry"] = retry or True
        case _:
            body = {"ok": True, "tag": tagged, **_fields(answer, asked.viewer)}
    if tag is None:
        del body["tag"]
    return _encode(body) + b"\r\n"


def _fields(answer: Answer, viewer_id: int) -> dict[str, Any]:
    match answer:
        case answers.Welcome(name, rooms, invitations=invitations, more=left_out, epoch=epoch, common=common):
            known = [_known(status) for status in rooms]
            return _some(
                name=name, rooms=known, more=left_out > 0 or None, invitations=invitations or None,
                epoch=epoch or None, common=common or None,
            )  # fmt: skip
        case answers.RoomList(rooms, more):
            return _some(rooms=[_known(line) for line in rooms], more=more or None)
        case answers.Joined(room, seq, members, pace=pace, common=common):
            return _some(room=room, seq=seq, members=members, pace=pace or None, common=common)
        case answers.Log(facts, logged, more, gap):
            entries = lines_of(facts, logged, viewer_id)
            return _some(room=facts.label(viewer_id), entries=entries, more=more, gap=gap)
        case answers.Found(found, more, before, gap=gap, removed=removed):
            entries = _of_rooms(found, viewer_id)
            return _some(entries=entries, more=more, before=before, gap=gap, removed=removed or None)
        case answers.Exported(account, exported, next, removed):
            entries = _of_rooms(exported, viewer_id)
            return _some(account=account, entries=entries, next=next, removed=removed or None)
        case answers.MemberList(_, members, others):
            return _some(members=members, more=others > 0 or None)
        case answers.UserList(users, more):
            return _some(users=[_user(line) for line in users], more=more or None)
        case answers.UnreadList(rooms, more):
            unread = [_known(status) | {"unread": status.unread} for status in rooms]
            return _some(rooms=unread, more=more or None)
        case answers.TokenList(tokens):
            return {"tokens": [_token(line) for line in tokens]}
        case answers.BanList(bans, before=before):
            return _some(bans=[_ban(line) for line in bans], more=None if before is None else True, before=before)
        case answers.Renamed(name, display):
            return _some(name=name, display=display or None)
        case answers.Preferences(timezone, clock, bell):
            return _some(timezone=timezone, clock=clock, bell=bell)
        case answers.Changed(room, number):
            return _some(room=room, seq=number)
        case (
            answers.Created() | answers.Left() | answers.Marked() | answers.TopicSet() | answers.TopicShown()
            | answers.Ignoring()
        ):  # fmt: skip
            return structs.asdict(answer)
        case answers.TokenMade(label, token, expires):
            return _some(label=label, token=token, expires=None if expires is None else rfc3339(expires))
        case answers.HelpText():
            return {"commands": sorted(str(kind.__struct_config__.tag) for kind in COMMANDS)}
        case _:
            return {}


def _some(**fields: Any) -> dict[str, Any]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def _known(line: Struct) -> dict[str, Any]:
    return _some(**structs.asdict(line))


def _of_rooms(logged: Sequence[tuple[RoomFacts, Entry]], viewer_id: int) -> list[Struct]:
    return [line for facts, entry in logged for line in lines_of(facts, [entry], viewer_id)]


def _user(line: answers.UserLine) -> dict[str, Any]:
    seen = None if line.last_seen is None else rfc3339(line.last_seen)
    return _some(
        name=line.name,
        online=line.online,
        away=line.away or None,
        last_seen=seen,
        display=line.display or None,
        bot=line.bot or None,
    )


def _token(line: answers.TokenLine) -> dict[str, Any]:
    used, expires = (None if at is None else rfc3339(at) for at in (line.last_used, line.expires))
    return _some(
        label=line.label,
        created=rfc3339(line.created),
        last_used=used,
        expires=expires,
        read_only=line.read_only or None,
        room=line.room,
    )


def _ban(line: answers.BanLine) -> dict[str, Any]:
    until = None if line.until is None else rfc3339(line.until)
    return _some(name=line.name, address=line.address, until=until, by=line.by, reason=line.reason or None)


def notice(text: str, screen: Screen = SCREEN) -> bytes:
    return _encode({"event": "notice", "text": text}) + b"\r\n"


def news(item: News, screen: Screen = SCREEN) -> bytes:
    match item:
        case events.Presence(name, online, away, display):
            body = _some(event="presence", name=name, online=online, away=away or None, display=display or None)
        case events.Invited(room, by):
            body = {"event": "invited", "room": room, "by": by}
        case events.ReadMark(room, seq):
            body = {"event": "read", "room": room, "seq": seq}
        case events.Live(room, seq):
            body = {"event": "live", "room": room, "seq": seq}
        case events.Turned():  # programs have no current room
            return b""
        case events.Pinged():
            body = {"event": "ping"}
        case events.EpochBegan(epoch):
            body = {"event": "epoch", "epoch": epoch}
        case events.Closing(reason, text, retry, rewound):
            body = _some(event="closing", reason=reason, text=text, retry=retry)
            if rewound is not None:
                body |= _some(epoch=rewound.epoch, common=rewound.common or None)
    return _encode(body) + b"\r\n"
