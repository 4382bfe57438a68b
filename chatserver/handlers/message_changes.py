"""Changes of a stored message: replacing its text, erasing it, reacting to it, pinning it."""

from typing import Final

from chatserver.handlers.messages import (
    find_message,
    readable_text,
    require_pace,
    room_to_change,
    too_early,
    with_quotes,
)
from chatserver.handlers.outcome import Ask, Outcome, changed
from chatserver.handlers.rights import require
from chatserver.store import Connection, ignoring, messages, pins, quotes, reactions
from chatserver.store.messages import no_message
from chatserver.store.visibility import RoomAccess, find_readable_room, find_room
from chatserver.values import commands as c
from chatserver.values.answer_size import found_size, name_size
from chatserver.values.answers import Found, ReactionLine, ReactionList
from chatserver.values.errors import Note, Refused, Sentence, Why
from chatserver.values.events import ERASED, Entry
from chatserver.wire.hygiene.text import MAX_MESSAGE, message_text

SHOWN_CHARACTERS = 200
"""Maximum number of characters shown of a message that was replaced or erased: nearly always all, so that it can be
sent again."""
QUOTED_CHARACTERS = 32
"""Maximum number of characters quoted of words not found."""


def edit(db: Connection, ask: Ask, command: c.Edit) -> Outcome:
    access = room_to_change(db, ask, command.room, "edit")
    if command.seq is None:
        last = _last_message(db, ask, access)
        return _edited(db, ask, access, last, command.text, Sentence(Note.EDITED, seq=last.seq, text=_shown(last.text)))
    message = find_message(db, access, command.seq)
    if message.state == ERASED:
        raise no_message(command.seq)
    if message.author_id != ask.who.id:
        raise Refused(Why.NOT_YOUR_MESSAGE)
    return _edited(db, ask, access, message, command.text, Sentence(Note.EDITED_MESSAGE))


def amend(db: Connection, ask: Ask, command: c.Amend) -> Outcome:
    access = room_to_change(db, ask, command.room, "edit")
    last = _last_message(db, ask, access)
    if command.old not in last.text:
        label = access.facts.label(ask.who.id)
        raise Refused(Why.NOT_CONTAINED, label=label, old=_shown(command.old, QUOTED_CHARACTERS))
    count = last.text.count(command.old) if command.every else 1
    length = len(last.text) + count * (len(command.new) - len(command.old))
    if length > MAX_MESSAGE:  # possibly thousands of times as long as the command: too much even to check
        raise Refused(Why.TOO_LONG_AMENDED, most=MAX_MESSAGE, count=length)
    text = message_text(last.text.replace(command.old, command.new, count))
    return _edited(db, ask, access, last, text, Sentence(Note.EDITED_NOW, seq=last.seq, text=_shown(text)))


def _edited(db: Connection, ask: Ask, access: RoomAccess, message: Entry, text: str, note: Sentence) -> Outcome:
    if message.text == text:
        return changed(ask, access, [], Sentence(Note.SAME_TEXT))
    require_pace(db, ask, access)
    return changed(ask, access, [messages.edit(db, ask.who, access, message.seq, text, ask.at)], note)


def erase(db: Connection, ask: Ask, command: c.Erase) -> Outcome:
    access = find_room(db, ask.who, command.room, lock=True)
    if command.seq is None:
        require(ask.who, access, "erase")
        last = _last_message(db, ask, access)
        entry = messages.erase(db, ask.who, access, last.seq, ask.at)
        return changed(ask, access, [entry], Sentence(Note.ERASED_LAST, seq=last.seq, text=_shown(last.text)))
    # The edited texts of a removed message may still be stored.
    author_id = messages.edited_by(db, access, command.seq) if access.was_removed(command.seq) else None
    message = find_message(db, access, command.seq) if author_id is None else None
    own = ask.who.id == (author_id if message is None else message.author_id)
    if not own:
        access.forbid_direct(Why.DIRECT_ERASES_OWN)
    require(ask.who, access, "erase" if own else "erase of others")
    if message is not None and message.state == ERASED:
        return changed(ask, access, [], Sentence(Note.ERASED_ALREADY))
    entry = messages.erase(db, ask.who, access, command.seq, ask.at)
    return changed(ask, access, [entry], Sentence(Note.ERASED_MESSAGE))


def _last_message(db: Connection, ask: Ask, access: RoomAccess) -> Entry:
    """The asker's last message in a room. Raises Refused if there is none.

    An erased one counts, too: the one before it may be old, and an `/erase` that is repeated before its answer does not
    mean that.
    """
    label = access.facts.label(ask.who.id)
    seq = messages.last_by(db, ask.who, access) if access.facts.id else None
    if seq is None:
        raise Refused(Why.NOTHING_SAID, label=label)
    last = find_message(db, access, seq)
    if last.state == ERASED:
        raise Refused(Why.LAST_IS_ERASED, label=label, seq=seq)
    return last


def _shown(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """The beginning of a text, on one line."""
    words = " ".join(text.split())
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"


def react(db: Connection, ask: Ask, command: c.React) -> Outcome:
    """Adds a reaction to a message, or takes it back. A repetition changes nothing."""
    access = room_to_change(db, ask, command.room, "react")
    message = readable_text(find_message(db, access, command.seq))
    word, seq = command.reaction, command.seq
    early = too_early(db, ask, access)
    if command.remove:
        entry = reactions.take_back(db, ask.who, access, message, word, ask.at)
        if entry is None:
            return changed(ask, access, [], Sentence(Note.NOT_REACTED, word=word, seq=seq))
        if early is not None:
            raise early  # which undoes it
        return changed(ask, access, [entry], Sentence(Note.REACTION_TAKEN_BACK, word=word, seq=seq))
    entry = reactions.add(db, ask.who, access, message, word, ask.at)
    if entry is None:
        return changed(ask, access, [], Sentence(Note.REACTED_ALREADY, word=word, seq=seq))
    if early is not None:
        raise early
    return _noticed(db, ask, access, entry, Sentence(Note.REACTED, word=word, seq=seq))


def _noticed(db: Connection, ask: Ask, access: RoomAccess, entry: Entry, note: Sentence) -> Outcome:
    """The outcome of an act that made this entry, which people are shown with a quote of the message."""
    return changed(ask, access, quotes.with_quotes_for_all(db, access.facts.id, [entry]), note)


EACH: Final = 100
"""Maximum number of names for each of several reactions, of which a message has up to 20."""


def reactions_of(db: Connection, ask: Ask, command: c.Reactions) -> Outcome:
    """Lists who reacted to a message. People do not see the names of those whom they ignore."""
    access = find_readable_room(db, ask.who, command.room)
    message = readable_text(find_message(db, access, command.seq))
    limit = min(command.limit, EACH if command.reaction is None else c.PAGE_LIMIT)
    found = reactions.givers(db, access.facts.id, message, limit, command.reaction, command.after)
    ignored = ignoring.find(db, [ask.who.id]).get(ask.who.id, frozenset()) if ask.for_people and found else frozenset()
    portion = ask.portion
    lines = []
    for one in found:
        names = [name for account_id, name in one.people if account_id not in ignored]
        shown = portion.head(names, name_size)
        lines.append(ReactionLine(one.reaction, one.count, shown, one.more or len(shown) < len(names)))
    return Outcome(ReactionList(access.facts.label(ask.who.id), command.seq, lines, access.facts.id))


def pin(db: Connection, ask: Ask, command: c.Pin) -> Outcome:
    access = room_to_change(db, ask, command.room, "pin")
    readable_text(find_message(db, access, command.seq))
    if pins.is_pinned(db, access.facts.id, command.seq):
        return changed(ask, access, [], Sentence(Note.PINNED_ALREADY, seq=command.seq))
    require_pace(db, ask, access)
    entry = pins.pin(db, ask.who, access, command.seq, ask.at)
    return _noticed(db, ask, access, entry, Sentence(Note.PINNED, seq=command.seq))


def unpin(db: Connection, ask: Ask, command: c.Unpin) -> Outcome:
    access = room_to_change(db, ask, command.room, "unpin")
    find_message(db, access, command.seq)
    if not pins.is_pinned(db, access.facts.id, command.seq):
        return changed(ask, access, [], Sentence(Note.NOT_PINNED, seq=command.seq))
    require_pace(db, ask, access)
    entry = pins.unpin(db, ask.who, access, command.seq, ask.at)
    return changed(ask, access, [entry], Sentence(Note.UNPINNED, seq=command.seq))


def pinned(db: Connection, ask: Ask, command: c.Pins) -> Outcome:
    access = find_readable_room(db, ask.who, command.room)
    facts = access.facts
    found, more = pins.page(db, access, command.before, min(command.limit, c.PAGE_LIMIT))
    found = with_quotes(db, ask, facts, found)
    page = ask.portion.head([(facts, entry) for entry in found], found_size(ask.who.id))
    more = more or len(page) < len(found)
    before = page[-1][1].seq if more else None
    return Outcome(Found(page, more, before, facts.label(ask.who.id), command="pins"))
