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
    cmd: str | UnsetType
    room: str
    room_id: int | UnsetType
    seq: int
    at: str
    dup: bool | UnsetType = UNSET


_encoder: Final = msgspec.json.Encoder()
_encode: Final = _encoder.encode


def answer(asked: Asked, answer: Answer) -> bytes:
    tag = asked.tag
    match answer:
        case answers.Said(room, seq, at, dup, room_id):  # by far the most frequent answer
            said = _Said(
                True, UNSET if tag is None else tag, asked.cmd or UNSET, room, room_id or UNSET, seq, rfc3339(at),
                dup or UNSET,
            )  # fmt: skip
            return _encode(said) + b"\r\n"
        case Refusal(why, sentence, retry):
            again = (retry or True) if why.word in RETRYABLE else None
            fields = _some(error=why.word, text=english(sentence), retry=again)
        case _:
            fields = _fields(answer, asked.viewer)
    begin = _some(ok=not isinstance(answer, Refusal), tag=tag, cmd=asked.cmd or None)
    return _encode(begin | fields) + b"\r\n"


def _fields(answer: Answer, viewer_id: int) -> dict[str, Any]:
    match answer:
        case answers.Welcome(
            name, rooms, invitations=invitations, more=left_out, epoch=epoch, common=common, secret=secret
        ):
            known, invited = [_status(status) for status in rooms], [_known(line) for line in invitations]
            return _some(
                name=name, rooms=known, more=left_out > 0 or None, invitations=invited or None,
                epoch=epoch or None, common=common or None, secret=secret or None, absent=answer.absent or None,
                **_greeting(answer.greeting),
            )  # fmt: skip
        case answers.RoomList(rooms, more):
            return _some(rooms=[_known(line) for line in rooms], more=more or None)
        case answers.Joined(room, seq, members, pace=pace, common=common, room_id=id):
            return _in_room(room, id, seq=seq, members=members, pace=pace or None, common=common)
        case answers.Log(facts, entries=logged, more=more, gap=gap, as_of=as_of) | answers.Thread(
            facts, entries=logged, more=more, gap=gap, as_of=as_of
        ):
            entries = lines_of(facts, logged, viewer_id)
            return _in_room(facts.label(viewer_id), facts.id, entries=entries, more=more, gap=gap, as_of=as_of)
        case answers.Found(found, more, before, gap=gap, removed=removed):
            entries = _of_rooms(found, viewer_id)
            folded = _as_of(found, viewer_id)
            return _some(
                entries=entries, more=more, before=before, gap=gap, removed=removed or None, as_of=folded
            )  # fmt: skip
        case answers.Exported(account, exported, next, removed):
            entries = _of_rooms(exported, viewer_id)
            return _some(account=account, entries=entries, next=next, removed=removed or None)
        case answers.MemberList(_, members, others):
            return _some(members=members, more=others > 0 or None)
        case answers.UserList(users, more):
            return _some(users=[_user(line) for line in users], more=more or None)
        case answers.UnreadList(rooms, more):
            return _some(rooms=[_status(line) for line in rooms], more=more or None)
        case answers.TokenList(tokens):
            return {"tokens": [_token(line) for line in tokens]}
        case answers.SessionList(sessions):
            return {"sessions": [_session(line) for line in sessions]}
        case answers.BanList(bans, before=before):
            return _some(bans=[_ban(line) for line in bans], more=None if before is None else True, before=before)
        case answers.ReactionList(room, seq, given, id):
            return _in_room(room, id, of=seq, reactions=[_reaction(line) for line in given])
        case answers.Renamed(name, display):
            return _some(name=name, display=display or None)
        case answers.Preferences():
            return _preferences(answer)
        case answers.Configured(room, number, room_id=id):
            settings = {"visibility": answer.visibility, "past": answer.past, "invites": answer.invites}
            return _in_room(room, id, seq=number, **settings, pace=answer.pace)
        case answers.Changed(room, number, room_id=id):
            return _in_room(room, id, seq=number)
        case (
            answers.Created() | answers.Left() | answers.Marked() | answers.TopicSet() | answers.TopicShown()
        ):  # fmt: skip
            return _known(answer)
        case answers.Ignoring(names):
            return {"names": names}
        case answers.TokenMade(label, token, expires):
            return _some(label=label, token=token, expires=None if expires is None else rfc3339(expires))
        case answers.ServerFacts():
            return _server(answer)
        case answers.HelpText():
            return {"commands": sorted(str(kind.__struct_config__.tag) for kind in COMMANDS)}
        case _:
            return {}


def _status(line: answers.RoomStatus) -> dict[str, Any]:
    about, beside = line.about, line.beside
    return _some(
        room=line.room,
        room_id=line.room_id or None,
        seq=line.seq,
        read=line.read,
        role=line.role,
        gap=line.gap,
        **_unread(line.unread),
        notify=line.notify,
        last=None if about is None or about.last is None else rfc3339(about.last),
        topic=None if about is None else about.topic or None,
        members=None if about is None else about.members or None,
        **(
            {}
            if beside is None
            else {
                "with": _some(
                    name=beside.name, display=beside.display or None, online=beside.online, away=beside.away or None
                )
            }
        ),
    )


def _greeting(greeting: answers.Greeting | None) -> dict[str, Any]:
    if greeting is None:
        return {}
    prefer, server = _preferences(greeting.preferences), _server(greeting.server)
    return _some(display=greeting.display or None, prefer=prefer, server=server)


def _preferences(chosen: answers.Preferences) -> dict[str, Any]:
    return _some(
        timezone=chosen.timezone, clock=chosen.clock, bell=chosen.bell, numbers=chosen.numbers, room=chosen.room,
        room_id=chosen.room_id or None, notify=chosen.notify,
    )  # fmt: skip


def _server(facts: answers.ServerFacts) -> dict[str, Any]:
    return {name: value for name, value in structs.asdict(facts).items() if value != ""}


def _some(**fields: Any) -> dict[str, Any]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def _known(line: Struct) -> dict[str, Any]:
    fields = structs.asdict(line)
    return _in_room(fields.pop("room"), fields.pop("room_id"), **fields)


def _in_room(label: str, id: int, **fields: Any) -> dict[str, Any]:
    return _some(room=label, room_id=id or None, **fields)


def _unread(unread: answers.Unread | None) -> dict[str, Any]:
    if unread is None:
        return {}
    counts = {"unread": unread.entries, "messages": unread.messages, "mentions": unread.mentions}
    return counts | _some(first=unread.first or None, partial=unread.partial or None)


def _of_rooms(logged: Sequence[tuple[RoomFacts, Entry]], viewer_id: int) -> list[Struct]:
    return [line for facts, entry in logged for line in lines_of(facts, [entry], viewer_id)]


def _as_of(logged: Sequence[tuple[RoomFacts, Entry]], viewer_id: int) -> dict[str, int]:
    """By label, the last entry whose effect is in all these messages of the room."""
    found: dict[str, int] = {}
    for facts, entry in logged:
        label = facts.label(viewer_id)
        found[label] = min(found.get(label, entry.as_of), entry.as_of)
    return found


def _user(line: answers.UserLine) -> dict[str, Any]:
    seen = None if line.last_seen is None else rfc3339(line.last_seen)
    return _some(
        name=line.name,
        online=line.online,
        away=line.away or None,
        last_seen=seen,
        display=line.display or None,
        bot=line.bot or None,
        blocked=line.blocked or None,
    )


def _reaction(line: answers.ReactionLine) -> dict[str, Any]:
    return _some(reaction=line.reaction, count=line.count, names=line.names, more=line.more or None)


def _token(line: answers.TokenLine) -> dict[str, Any]:
    used, expires = (None if at is None else rfc3339(at) for at in (line.last_used, line.expires))
    return _some(
        label=line.label,
        created=rfc3339(line.created),
        last_used=used,
        expires=expires,
        read_only=line.read_only or None,
        room=line.room,
        room_id=line.room_id or None,
    )


def _session(line: answers.SessionLine) -> dict[str, Any]:
    return {
        "id": line.id, "name": line.name, "address": line.address, "created": rfc3339(line.created),
        "last_used": rfc3339(line.last_used), "current": line.current,
    }  # fmt: skip


def _ban(line: answers.BanLine) -> dict[str, Any]:
    until = None if line.until is None else rfc3339(line.until)
    return _some(name=line.name, address=line.address, until=until, by=line.by, reason=line.reason or None)


def notice(text: str, screen: Screen = SCREEN) -> bytes:
    return _encode({"event": "notice", "text": text}) + b"\r\n"


def news(item: News, screen: Screen = SCREEN) -> bytes:
    match item:
        case events.Presence(name, online, away, display):
            body = _some(event="presence", name=name, online=online, away=away or None, display=display or None)
        case events.Invited(room, by, id):
            body = {"event": "invited", **_in_room(room, id, by=by)}
        case events.ReadMark(room, seq, id, back):
            body = {"event": "read", **_in_room(room, id, seq=seq), **_some(back=back or None)}
        case events.Notified(room, notify, id):
            body = {"event": "prefer", **_in_room(room, id, notify=notify)}
        case events.Typing(room, name, id):
            body = {"event": "typing", **_in_room(room, id, name=name)}
        case events.Live(room, seq, id):
            body = {"event": "live", **_in_room(room, id, seq=seq)}
        case events.Skipped(room, begin, first, id):
            body = {"event": "skipped", **_in_room(room, id, **{"from": begin, "first": first})}
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
