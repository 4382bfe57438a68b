"""What each command does: one small function a command, and no sockets anywhere."""

from collections.abc import Callable
from typing import Any

from chatserver import commands as c
from chatserver.handlers import people, rooms, talk
from chatserver.handlers.outcome import Ask, Outcome
from chatserver.store import Connection

Handler = Callable[[Connection, Ask, Any], Outcome]

WRITES: dict[type[c.Command], Handler] = {
    c.Create: rooms.create,
    c.Join: rooms.join,
    c.Leave: rooms.leave,
    c.Topic: rooms.topic,
    c.Say: talk.say,
    c.Read: talk.read,
}
"""They change the log of a room, and go into its lane."""

READS: dict[type[c.Command], Handler] = {
    c.Rooms: rooms.listing,
    c.Members: rooms.members,
    c.History: talk.history,
    c.Unread: talk.unread,
    c.Who: people.who,
}
"""They change nothing, so that they may take their time."""
