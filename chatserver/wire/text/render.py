"""Answers and news to lines for people."""

from collections.abc import Iterator
from datetime import tzinfo

from chatserver import answers, events
from chatserver.answers import Answer
from chatserver.errors import ErrorWord
from chatserver.events import News
from chatserver.wire.dialect import Asked
from chatserver.wire.text import lists
from chatserver.wire.text.entries import log, removed
from chatserver.wire.text.layout import WIDTH, line, listed, notice, short_time, squeezed, unbroken, wrapped

MOST_NAMED = 5
"""If a room has more members than this besides you, it says how many rather than who."""

ROOMS_NAMED = 100
"""Of the rooms that a person is in, so many are named on logging in."""


def answer(asked: Asked, answer: Answer, zone: tzinfo | None) -> bytes:
    """Lines for one reader. Empty if the result shows anyway: a message that you typed is on your screen already.

    `zone`: None for the server's local time, as everywhere in this package.
    """
    me, viewer_id = asked.name, asked.viewer
    match answer:
        case answers.Said() | answers.Done(""):
            return b""
        case answers.Refusal(error, text):
            # Of all refusals only this one may quote somebody: it gives the reason for a ban.
            return line(f"! {text}") if error is ErrorWord.BANNED else unbroken(f"! {text}")
        case answers.Log(facts, logged, more, gap) if logged:
            earlier = f"More: /history {facts.label(viewer_id)} before={logged[0].seq}"
            shown = log([(facts, entry) for entry in logged], viewer_id, zone, me, dated=False)
            return _gone(facts.label(viewer_id), gap) + (notice(earlier) if more and gap is None else b"") + shown
        case answers.Log(facts, gap=gap):
            label = facts.label(viewer_id)
            return _gone(label, gap) or notice(f"There is nothing to show in {label}.")
        case answers.Found(found, where=where, gap=gap):
            return log(found, viewer_id, zone, me) + _notices(_found(answer)) + _gone(where, gap)
        case answers.Exported(account, exported):
            about = [f"account {field}: {value}" for field, value in (account or {}).items()]
            return _notices(about) + log(exported, viewer_id, zone) + _notices(_exported(answer))
    shown = _notices(_words(answer, me, zone))
    match answer:
        case answers.Welcome(recent=recent) | answers.Joined(recent=recent) | answers.Looked(recent=recent) if (
            recent is not None
        ):
            shown += _gone(recent.facts.label(viewer_id), recent.gap)
            pairs = [(recent.facts, entry) for entry in recent.entries]
            shown += log(pairs, viewer_id, zone, me, numbered=False, dated=False)
    return shown


def news(item: News) -> bytes:
    match item:
        case events.Presence(name, True, away):
            return notice(f"{name} is away: {squeezed(away)}" if away else f"{name} is here.")
        case events.Presence(name):
            return notice(f"{name} has gone.")
        case events.Invited(room, by):
            return notice(f"{by} invites you to {room}: /join {room}")
        case events.Closing(_, text):
            return notice(text)
        case events.ReadMark() | events.Live() | events.Pinged():
            return b""


def _gone(label: str, gap: answers.Gap | None) -> bytes:
    return b"" if gap is None else removed(label, gap.first)


def _notices(lines: Iterator[str] | list[str]) -> bytes:
    return b"".join([notice(words) for words in lines])


def _words(answer: Answer, me: str, zone: tzinfo | None) -> Iterator[str]:
    match answer:
        case answers.Done(note):
            yield note
        case answers.Welcome():
            yield from _welcome(answer)
        case answers.Joined():
            yield from _joined(answer, me)
        case answers.Created(room):
            yield f"You created {room} and own it."
        case answers.Left(room):
            yield f"You left {room}."
        case answers.Looked(room):
            yield f"What you type now goes to {room}.{_unread(answer)}"
        case answers.TopicSet(room):
            yield f"The topic of {room} is set."
        case answers.Changed(_, number, note):
            if note or number is None:  # an entry shows in its room
                yield note or "Done."
        case answers.Marked(room, seq):
            yield f"You have read {room} up to {seq}."
        case answers.TokenMade(label, token, expires):
            yield f"Token {label}: {token}"
            yield "Copy it now: it is not shown again. A program logs in with /token TOKEN."
            if expires is not None:
                yield f"It expires on {short_time(expires, zone)}."
        case answers.RoomList():
            yield from lists.rooms(answer)
        case answers.MemberList():
            yield from lists.members(answer)
        case answers.UserList():
            yield from lists.users(answer, zone)
        case answers.UnreadList():
            yield from lists.unread(answer)
        case answers.TokenList():
            yield from lists.tokens(answer, zone)
        case answers.BanList():
            yield from lists.bans(answer, zone)
        case answers.HelpText(about):
            yield from lists.help(about)


def _welcome(answer: answers.Welcome) -> Iterator[str]:
    rooms = answer.rooms
    if rooms:
        current = answer.current or rooms[0].room
        company = f" with {listed(answer.others)}" if answer.others and not current.startswith("@") else ""
        hello, more = f"Hello {answer.name}. You are in {current}{company}.", "Type to talk; /help for the rest."
        yield from [f"{hello} {more}"] if len(hello) + 1 + len(more) <= WIDTH else [hello, more]
    else:
        yield f"Hello {answer.name}. You are in no room yet: /rooms lists them, /join ROOM joins one."
    unread = [f" ({room.unread} unread)" if room.unread else "" for room in rooms]
    if len(rooms) > 1 or any(unread):
        named = [room.room + more for room, more in zip(rooms, unread, strict=True)][:ROOMS_NAMED]
        yield from wrapped("Your rooms: ", named)
        if others := len(rooms) - len(named) + answer.more:
            yield f"And {others} more: /unread lists those with unread messages."
    for invited in answer.invitations:
        yield f"{invited.by} invited you to {invited.room}: /join {invited.room}"


def _joined(answer: answers.Joined, me: str) -> Iterator[str]:
    if answer.topic:
        yield f"The topic of {answer.room}: {squeezed(answer.topic)}"
    others = [name for name in answer.names if name != me]
    count = answer.members - 1
    if answer.room.startswith("@"):  # the name of a direct room says who is there
        where = f"You are in {answer.room}."
    elif count < 1:
        where = f"You are in {answer.room}. Nobody else is here yet."
    elif count <= MOST_NAMED and len(others) == count:
        where = f"You are in {answer.room} with {listed(others)}."
    else:
        where = f"You are in {answer.room} with {count} other{'s' if count > 1 else ''}."
    if answer.pace:
        yield f"Each member may send one message every {answer.pace} s here."
    yield where + _unread(answer)


def _unread(answer: answers.Joined | answers.Looked) -> str:
    """How many entries are unread; all of them, or the last ones, follow."""
    if not answer.unread:
        return ""
    shown = len(answer.recent.entries) if answer.recent is not None else answer.unread
    return f" {answer.unread} unread" + (f", the last {shown}:" if shown < answer.unread else ":")


def _found(answer: answers.Found) -> Iterator[str]:
    if not answer.entries:
        yield "Nothing was found so far." if answer.more else "Nothing was found."
    if answer.more and answer.before is not None:
        yield f"More: repeat the /search with before={answer.before} in front of the words."


def _exported(answer: answers.Exported) -> Iterator[str]:
    yield "That is all." if answer.next is None else f"More: /export {answer.next}"
