"""Reactions to messages."""

from chatserver.handlers.messages import changed, find_message, readable_text, room_to_change, unchanged
from chatserver.handlers.outcome import Ask, Outcome
from chatserver.store import Connection, reactions
from chatserver.values import commands as c


def react(db: Connection, ask: Ask, command: c.React) -> Outcome:
    """Adds a reaction to a message, or takes it back. What is so already changes nothing."""
    access = room_to_change(db, ask, command.room, "react")
    message = readable_text(find_message(db, access, command.seq))
    word, seq = command.reaction, command.seq
    if command.remove:
        entry = reactions.take_back(db, ask.who, access, message, word, ask.at)
        if entry is None:
            return unchanged(ask, access, f"You do not react {word} to #{seq}.")
        return changed(ask, access, entry, f"You took back {word} from #{seq}.")
    entry = reactions.add(db, ask.who, access, message, word, ask.at)
    if entry is None:
        return unchanged(ask, access, f"You react {word} to #{seq} already.")
    return changed(ask, access, entry, f"You reacted {word} to #{seq}.")
