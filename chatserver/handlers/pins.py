"""Pinned messages."""

from chatserver.handlers import quoting
from chatserver.handlers.messages import changed, find_message, readable_text, room_to_change, unchanged
from chatserver.handlers.outcome import Ask, Outcome
from chatserver.store import Connection, pins
from chatserver.store.visibility import find_readable_room
from chatserver.values import commands as c
from chatserver.values.answer_size import found_size
from chatserver.values.answers import Found
from chatserver.values.errors import Note, Sentence


def pin(db: Connection, ask: Ask, command: c.Pin) -> Outcome:
    access = room_to_change(db, ask, command.room, "pin")
    readable_text(find_message(db, access, command.seq))
    if pins.is_pinned(db, access.facts.id, command.seq):
        return unchanged(ask, access, Sentence(Note.PINNED_ALREADY, seq=command.seq))
    entry = pins.pin(db, ask.who, access, command.seq, ask.at)
    return changed(ask, access, entry, Sentence(Note.PINNED, seq=command.seq))


def unpin(db: Connection, ask: Ask, command: c.Unpin) -> Outcome:
    access = room_to_change(db, ask, command.room, "unpin")
    find_message(db, access, command.seq)
    if not pins.is_pinned(db, access.facts.id, command.seq):
        return unchanged(ask, access, Sentence(Note.NOT_PINNED, seq=command.seq))
    entry = pins.unpin(db, ask.who, access, command.seq, ask.at)
    return changed(ask, access, entry, Sentence(Note.UNPINNED, seq=command.seq))


def listing(db: Connection, ask: Ask, command: c.Pins) -> Outcome:
    access = find_readable_room(db, ask.who, command.room)
    facts = access.facts
    found, more = pins.page(db, access, command.before, min(command.limit, c.PAGE_LIMIT))
    found = quoting.log(db, ask, facts, found)
    page = ask.portion.head([(facts, entry) for entry in found], found_size(ask.who.id))
    more = more or len(page) < len(found)
    before = page[-1][1].seq if more else None
    return Outcome(Found(page, more, before, facts.label(ask.who.id), command="pins"))
