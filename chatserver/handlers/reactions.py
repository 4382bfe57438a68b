"""Reactions to messages."""

from chatserver.handlers.messages import changed, find_message, readable_text, room_to_change, unchanged
from chatserver.handlers.outcome import Ask, Outcome
from chatserver.store import Connection, reactions
from chatserver.values import commands as c
from chatserver.values.errors import Note, Sentence


def react(db: Connection, ask: Ask, command: c.React) -> Outcome:
    """Adds a reaction to a message, or takes it back. What is so already changes nothing."""
    access = room_to_change(db, ask, command.room, "react")
    message = readable_text(find_message(db, access, command.seq))
    word, seq = command.reaction, command.seq
    if command.remove:
        entry = reactions.take_back(db, ask.who, access, message, word, ask.at)
        if entry is None:
            return unchanged(ask, access, Sentence(Note.NOT_REACTED, word=word, seq=seq))
        return changed(ask, access, entry, Sentence(Note.REACTION_TAKEN_BACK, word=word, seq=seq))
    entry = reactions.add(db, ask.who, access, message, word, ask.at)
    if entry is None:
        return unchanged(ask, access, Sentence(Note.REACTED_ALREADY, word=word, seq=seq))
    return changed(ask, access, entry, Sentence(Note.REACTED, word=word, seq=seq))
