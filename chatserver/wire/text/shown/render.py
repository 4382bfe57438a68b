"""Answers and news to lines for people."""

import re
from collections.abc import Iterator
from typing import Final

from chatserver.util.times import now
from chatserver.values import answers, events
from chatserver.values.answers import Answer
from chatserver.values.errors import ErrorWord, Note, Sentence, Why
from chatserver.values.events import News
from chatserver.wire import sentences
from chatserver.wire.dialect import Asked
from chatserver.wire.sentences import Filler
from chatserver.wire.text.shown import lists
from chatserver.wire.text.shown.about import called
from chatserver.wire.text.shown.cells import most_cells
from chatserver.wire.text.shown.columns import listed, names, wrapped
from chatserver.wire.text.shown.entries import log, removed
from chatserver.wire.text.shown.layout import line, notice, squeezed, unbroken
from chatserver.wire.text.shown.terminal import Terminal

MOST_NAMED = 5
"""Maximum number of members, besides you, that are named; of more, their number is shown."""

_COMMAND: Final = re.compile(r"\b[Tt]he command ([a-z]+)\b")
SENTENCES: Final[dict[Why | Note, str]] = {key: _COMMAND.sub(r"/\1", said) for key, said in sentences.SENTENCES.items()}
"""The sentences, with commands as people type them."""

text: Final = Filler(SENTENCES).text

ROOMS_NAMED = 100
"""Maximum number of rooms that are named on logging in."""


def answer(asked: Asked, answer: Answer, terminal: Terminal) -> bytes:
    """Lines for one reader. Empty if the result shows anyway: a message that you typed is on your screen already."""
    me, viewer_id = asked.name, asked.viewer
    match answer:
        case answers.Said(room, seq) if asked.quiet:
            return notice(f"Stored as {room} #{seq}.", terminal)
        case answers.Said() | answers.Done(None):
            return b""
        case answers.Refusal(why, sentence):
            words = f"! {text(sentence)}"
            # Of all refusals only this one may quote somebody: it gives the reason for a ban.
            return line(words, terminal) if why.word is ErrorWord.BANNED else unbroken(words, terminal)
        case answers.Log(facts, logged, more, gap) if logged:
            label = facts.label(viewer_id)
            shown = _gone(label, gap, terminal) + log(
                [(facts, entry) for entry in logged], viewer_id, terminal, me, dated=False
            )
            if more and answer.onward:
                return shown + notice(f"More: /history {label} after={logged[-1].seq}", terminal)
            return (
                notice(f"More: /history {label} before={logged[0].seq}", terminal) if more and gap is None else b""
            ) + shown
        case answers.Log(facts, more=more, gap=gap, ends=(first, last)):
            label = facts.label(viewer_id)
            further = f" More: /history {label} " + (f"after={last}" if answer.onward else f"before={first}")
            return _gone(label, gap, terminal) + notice(
                f"All of this is from people whom you ignore.{further if more else ''}", terminal
            )
        case answers.Log(facts, gap=gap):
            label = facts.label(viewer_id)
            return _gone(label, gap, terminal) or notice(f"There is nothing to show in {label}.", terminal)
        case answers.Thread(facts, seq, logged, more, last, gap, begins):
            label = facts.label(viewer_id)
            lines = log([(facts, entry) for entry in logged], viewer_id, terminal, me, dated=False)
            if more:
                lines += notice(f"More: /thread {label} {seq} after={last}", terminal)
            elif begins and not any(entry.of == seq for entry in logged):
                lines += notice(f"Nobody has answered #{seq}.", terminal)
            elif not logged:
                lines = notice(f"There is nothing more that answers #{seq}.", terminal)
            return _gone(label, gap, terminal) + lines
        case answers.Found(found, where=where, gap=gap):
            return (
                log(found, viewer_id, terminal, me) + _notices(_found(answer), terminal) + _gone(where, gap, terminal)
            )
        case answers.Exported(account, exported):
            about = [f"account {field}: {value}" for field, value in (account or {}).items()]
            return (
                _notices(about, terminal) + log(exported, viewer_id, terminal) + _notices(_exported(answer), terminal)
            )
    shown = _notices(_words(asked, answer, terminal), terminal)
    match answer:
        case answers.Missed(room, recent=recent):
            shown += _gone(room, recent.gap, terminal)
            shown += log([(recent.facts, entry) for entry in recent.entries], viewer_id, terminal, me, dated=False)
            if recent.more:
                shown += notice(f"More: /unread {room}", terminal)
        case answers.Welcome(recent=recent) | answers.Joined(recent=recent) | answers.Looked(recent=recent) if (
            recent is not None
        ):
            shown += _gone(recent.facts.label(viewer_id), recent.gap, terminal)
            pairs = [(recent.facts, entry) for entry in recent.entries]
            shown += log(pairs, viewer_id, terminal, me, numbered=False, dated=False, new=_after_others(recent))
    return shown


def news(item: News, terminal: Terminal) -> bytes:
    match item:
        case events.Presence(name, True, away):
            return notice(f"{name} is away: {squeezed(away)}" if away else f"{name} is here.", terminal)
        case events.Presence(name):
            return notice(f"{name} has gone.", terminal)
        case events.Invited(room, by):
            return notice(f"{by} invites you to {room}: /join {room}", terminal)
        case events.Turned(room):
            return notice(_goes_to(room), terminal)
        case events.Closing("kicked" | "banned", text):  # these quote a reason
            return notice(text, terminal)
        case events.Closing(_, text):
            return unbroken(f"* {text}", terminal)
        case (
            events.ReadMark()
            | events.Notified()
            | events.Typing()
            | events.Live()
            | events.Skipped()
            | events.Pinged()
            | events.EpochBegan()
        ):
            return b""


def _goes_to(room: str) -> str:
    if not room:
        return "What you type now goes nowhere: you are in no room. /rooms lists them, /join ROOM joins one."
    return f"What you type now goes to {room}."


def _gone(label: str, gap: answers.Gap | None, terminal: Terminal) -> bytes:
    return b"" if gap is None else removed(label, gap.first, terminal)


def _notices(lines: Iterator[str] | list[str], terminal: Terminal) -> bytes:
    return b"".join([notice(words, terminal) for words in lines])


def _words(asked: Asked, answer: Answer, terminal: Terminal) -> Iterator[str]:
    match answer:
        case answers.Done(Sentence() as note):
            yield text(note)
        case answers.Welcome():
            yield from _welcome(answer, terminal, asked.viewer, quiet=asked.quiet)
        case answers.Joined():
            yield from _joined(answer, asked.name)
        case answers.Created(room):
            yield f"You created {room} and own it."
        case answers.Left(room):
            yield f"You left {room}."
        case answers.Looked(room):
            yield from _unread(_goes_to(room), answer)
        case answers.Missed(room, unread):
            yield f"{unread} unread in {room}:"
        case answers.TopicSet(room):
            yield f"The topic of {room} is set."
        case answers.TopicShown(room, topic):
            yield f"The topic of {room}: {squeezed(topic)}" if topic else f"{room} has no topic."
        case answers.Renamed(name, display):
            yield f"You are now called {called(name, display)}."
        case answers.Preferences():
            yield from lists.preferences(answer, terminal)
        case answers.Ignoring(ignored):
            yield from names("You ignore:", ignored, terminal) if ignored else ["You ignore nobody."]
        case answers.Whereabouts():
            yield from _whereabouts(answer, terminal)
        case answers.Changed(_, number, note):
            if note or number is None:  # an entry shows in its room
                yield text(note) if note else "Done."
        case answers.Marked(room, seq):
            yield f"You have read {room} up to {seq}."
        case answers.TokenMade(label, token, expires):
            yield f"Token {label}: {token}"
            yield "Copy it now: it is not shown again. A program logs in with /token TOKEN."
            if expires is not None:
                yield f"It expires on {terminal.short_time(expires)}."
        case answers.RoomList():
            yield from lists.rooms(answer, terminal)
        case answers.MemberList():
            yield from lists.members(answer, terminal)
        case answers.UserList():
            yield from lists.users(answer, terminal)
        case answers.UnreadList():
            yield from lists.unread(answer, terminal)
        case answers.TokenList():
            yield from lists.tokens(answer, terminal)
        case answers.SessionList():
            yield from lists.sessions(answer, terminal)
        case answers.ReactionList():
            yield from lists.reactions(answer, terminal)
        case answers.BanList():
            yield from lists.bans(answer, terminal)
        case answers.ServerFacts():
            yield from lists.server(answer)
        case answers.HelpText(about):
            yield from lists.help(about, terminal)


def _welcome(answer: answers.Welcome, terminal: Terminal, viewer_id: int, *, quiet: bool) -> Iterator[str]:
    rooms = answer.rooms
    if quiet:
        yield f"Hello {answer.name}."
        return
    if rooms:
        current = answer.current or rooms[0].room
        company = f" with {listed(answer.others)}" if answer.others and not current.startswith("@") else ""
        hello, more = f"Hello {answer.name}. You are in {current}{company}.", "Type to talk; /help for the rest."
        yield from [f"{hello} {more}"] if most_cells(f"{hello} {more}") <= terminal.width else [hello, more]
    else:
        yield f"Hello {answer.name}. You are in no room yet: /rooms lists them, /join ROOM joins one."
    yield f"Times are in {terminal.zone_words(now())}."
    unread = [_new_in(room.unread) for room in rooms]
    if len(rooms) > 1 or (any(unread) and rooms[0].room != answer.current):
        named = [room.room + more for room, more in zip(rooms, unread, strict=True)][:ROOMS_NAMED]
        yield from wrapped("Your rooms: ", named, terminal)
        if others := len(rooms) - len(named) + answer.more:
            yield f"And {others} more: /unread lists those with unread messages."
    for invited in answer.invitations:
        yield f"{invited.by} invited you to {invited.room}: /join {invited.room}"
    here = next((room.unread for room in rooms if room.room == answer.current), None)
    if here is not None and here.entries and answer.recent is not None:
        yield _follow(here.entries, answer.current, answer.recent, viewer_id)


def _new_in(unread: answers.Unread | None) -> str:
    """What is behind a room's name in the list of somebody's rooms."""
    if unread is None or not unread.messages:
        return ""
    return f" ({lists.at_least(unread)} unread{f', {unread.mentions} for you' if unread.mentions else ''})"


def _after_others(log: answers.Log) -> int:
    """The number of the first new entry of a log, if its reader knows those before it; else 0."""
    new = next((entry.seq for entry in log.entries if entry.seq >= log.new), 0) if log.new else 0
    return new if new and new > log.entries[0].seq else 0


def _follow(unread: int, room: str, recent: answers.Log, viewer_id: int) -> str:
    """Says how many entries are unread; all of them, or the last ones of the room, follow."""
    known = recent.new or recent.entries[-1].seq + 1 if recent.entries else 0
    new = sum(entry.seq >= known and entry.author_id != viewer_id for entry in recent.entries)
    if not new:
        return f"{unread} unread in {room}: /unread {room} shows them"
    if unread > new:
        return f"{unread} unread in {room}, the last {new} follow. /unread {room} shows all"
    return f"{unread} unread in {room}:"


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
    yield from _unread(where, answer)


def _whereabouts(answer: answers.Whereabouts, terminal: Terminal) -> Iterator[str]:
    yield _goes_to(answer.room)
    if answer.others:
        yield from wrapped("Your other rooms: ", answer.others[:ROOMS_NAMED], terminal)
        if len(answer.others) > ROOMS_NAMED:
            yield f"And {len(answer.others) - ROOMS_NAMED} more: /rooms marks those that you are in."


def _unread(where: str, answer: answers.Joined | answers.Looked) -> Iterator[str]:
    """Says how many entries are unread; all of them, or the last ones, follow."""
    shown = len(answer.recent.entries) if answer.recent is not None else answer.unread
    if not answer.unread:
        yield where
    elif shown < answer.unread:
        yield where
        yield f"{answer.unread} unread in {answer.room}, the last {shown} follow. /unread {answer.room} shows all"
    else:
        yield f"{where} {answer.unread} unread:"


NOT_FOUND = {
    "search": "Nothing was found",
    "mentions": "Nobody has mentioned you",
    "pins": "Nothing is pinned here",
}


def _found(answer: answers.Found) -> Iterator[str]:
    if not answer.entries:
        yield NOT_FOUND[answer.command] + (" so far." if answer.more else ".")
    if answer.more and answer.before is not None:
        if answer.command == "search":
            yield f"More: repeat the /search with before={answer.before} in front of the words."
        else:
            where = f" {answer.where}" if answer.where else ""
            yield f"More: /{answer.command}{where} before={answer.before}"
    yield from _removed(answer.removed)


def _removed(first: dict[str, int]) -> Iterator[str]:
    if first:
        yield f"Messages were removed: {', '.join(f'in {room} before #{seq}' for room, seq in first.items())}."


def _exported(answer: answers.Exported) -> Iterator[str]:
    yield from _removed(answer.removed)
    yield "That is all." if answer.next is None else f"More: /export {answer.next}"
