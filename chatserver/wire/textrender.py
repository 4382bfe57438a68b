"""What people read: answers and news to lines."""

from collections.abc import Iterator
from datetime import tzinfo

from chatserver import events
from chatserver.events import Answer, News
from chatserver.wire import textlists
from chatserver.wire.textentries import log
from chatserver.wire.textlines import line, listed, notice, wrapped

MOST_NAMED = 5


def reply(answer: Answer, me: str, viewer_id: int, zone: tzinfo | None) -> bytes:
    """Nothing for what shows in another way: somebody who said something sees their own line already."""
    match answer:
        case events.Said() | events.Done(""):
            return b""
        case events.Refusal(_, text):
            return line(f"! {text}")
        case events.Log(facts, logged, more) if logged:
            earlier = f"More: /history {facts.label(viewer_id)} before={logged[0].seq}"
            shown = log([(facts, entry) for entry in logged], viewer_id, zone, me, dated=False)
            return (notice(earlier) if more else b"") + shown
        case events.Log(facts):
            return notice(f"There is nothing to show of {facts.label(viewer_id)}.")
        case events.Found(found):
            return log(found, viewer_id, zone, me) + _notices(_found(answer))
        case events.Exported(account, exported):
            facts_of_it = [f"account {field}: {value}" for field, value in (account or {}).items()]
            return _notices(facts_of_it) + log(exported, viewer_id, zone) + _notices(_exported(answer))
    shown = _notices(_words(answer, me, zone))
    match answer:
        case events.Welcome(recent=recent) | events.Joined(recent=recent) | events.Looked(recent=recent) if (
            recent is not None
        ):
            pairs = [(recent.facts, entry) for entry in recent.entries]
            shown += log(pairs, viewer_id, zone, me, numbered=False, dated=False)
    return shown


def news(item: News) -> bytes:
    match item:
        case events.Presence(name, True, away):
            return notice(f"{name} is away: {away}" if away else f"{name} is here.")
        case events.Presence(name):
            return notice(f"{name} has gone.")
        case events.Invited(room, by):
            return notice(f"{by} invites you to {room}: /join {room}")
        case events.Closing(_, text):
            return notice(text)
        case events.ReadMark() | events.Live() | events.Pinged():
            return b""


def _notices(lines: Iterator[str] | list[str]) -> bytes:
    return b"".join([notice(words) for words in lines])


def _words(answer: Answer, me: str, zone: tzinfo | None) -> Iterator[str]:
    match answer:
        case events.Done(note):
            yield note
        case events.Welcome():
            yield from _welcome(answer)
        case events.Joined():
            yield from _joined(answer, me)
        case events.Created(room):
            yield f"You made {room}, and it is yours."
        case events.Left(room):
            yield f"You left {room}."
        case events.Looked(room):
            yield f"What you type goes to {room} now.{_unread(answer)}"
        case events.TopicSet(room):
            yield f"The topic of {room} is set."
        case events.Changed(_, number, note):
            if note or number is None:  # an entry is seen in its room
                yield note or "Done."
        case events.Marked(room, seq):
            yield f"You have read {room} up to {seq}."
        case events.TokenMade(label, token):
            yield f"Token {label}: {token}"
            yield "It is shown only now. A program comes in with /token and this."
        case events.RoomList():
            yield from textlists.rooms(answer)
        case events.MemberList():
            yield from textlists.members(answer)
        case events.UserList():
            yield from textlists.users(answer, zone)
        case events.UnreadList():
            yield from textlists.unread(answer)
        case events.TokenList():
            yield from textlists.tokens(answer, zone)
        case events.BanList():
            yield from textlists.bans(answer, zone)
        case events.HelpText(about):
            yield from textlists.help(about)


def _welcome(answer: events.Welcome) -> Iterator[str]:
    rooms = answer.rooms
    if rooms:
        current = answer.current or rooms[0].room
        company = f" with {listed(answer.others)}" if answer.others and not current.startswith("@") else ""
        yield f"Hello {answer.name}. You are in {current}{company}. Type to talk; /help for the rest."
    else:
        yield f"Hello {answer.name}. You are in no room yet: /rooms lists them, /join ROOM enters one."
    unread = [f" ({room.seq - room.read} unread)" if room.seq > room.read else "" for room in rooms]
    if len(rooms) > 1 or any(unread):
        yield from wrapped("Your rooms: ", [room.room + more for room, more in zip(rooms, unread, strict=True)])
    for invited in answer.invitations:
        yield f"You are invited to {invited.room} by {invited.by}: /join {invited.room}"


def _joined(answer: events.Joined, me: str) -> Iterator[str]:
    if answer.topic:
        yield f"The topic of {answer.room}: {answer.topic}"
    others = [name for name in answer.names if name != me]
    count = answer.members - 1
    if answer.room.startswith("@"):  # its name says who is there
        where = f"You are in {answer.room}."
    elif count < 1:
        where = f"You are in {answer.room}, and nobody else is yet."
    elif count <= MOST_NAMED and len(others) == count:
        where = f"You are in {answer.room} with {listed(others)}."
    else:
        where = f"You are in {answer.room} with {count} other{'s' if count > 1 else ''}."
    yield where + _unread(answer)


def _unread(answer: events.Joined | events.Looked) -> str:
    """How many lines were missed; they, or the last of them, are shown below."""
    if not answer.unread:
        return ""
    shown = len(answer.recent.entries) if answer.recent is not None else answer.unread
    return f" {answer.unread} unread" + (f", the last {shown}:" if shown < answer.unread else ":")


def _found(answer: events.Found) -> Iterator[str]:
    if not answer.entries:
        yield "Nothing was found."
    if answer.more and answer.before is not None:
        yield f"More: the same /search with before={answer.before} in front of its words."


def _exported(answer: events.Exported) -> Iterator[str]:
    yield "That is all." if answer.next is None else f"More: /export {answer.next}"
