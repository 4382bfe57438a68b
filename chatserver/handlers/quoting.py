"""Quotes of what replies answer, in answers to people. Programs look it up themselves, which costs them nothing."""

from chatserver.handlers.outcome import Ask
from chatserver.store import Connection, quotes
from chatserver.values.events import Entry, RoomFacts


def log(db: Connection, ask: Ask, facts: RoomFacts, entries: list[Entry]) -> list[Entry]:
    """Entries of a room, with the quotes that the asker may read."""
    return quotes.quoted(db, ask.who, facts.id, entries) if ask.for_people else entries


def found(db: Connection, ask: Ask, pairs: list[tuple[RoomFacts, Entry]]) -> list[tuple[RoomFacts, Entry]]:
    """For entries of several rooms."""
    return quotes.quoted_found(db, ask.who, pairs) if ask.for_people else pairs
