"""What each command does: one small function a command, and no sockets anywhere."""

from collections.abc import Callable
from typing import Any

from chatserver import commands as c
from chatserver.handlers import order, people, rooms, talk
from chatserver.handlers.outcome import Ask, Outcome
from chatserver.store import Connection

Handler = Callable[[Connection, Ask, Any], Outcome]

WRITES: dict[type[c.Command], Handler] = {
    c.Create: rooms.create,
    c.Join: rooms.join,
    c.Leave: rooms.leave,
    c.Delete: rooms.delete,
    c.Set: rooms.set_ways,
    c.Topic: rooms.topic,
    c.Say: talk.say,
    c.Edit: talk.edit,
    c.Erase: talk.erase,
    c.Read: talk.read,
    c.Invite: order.invite,
    c.Uninvite: order.uninvite,
    c.Role: order.role,
    c.Kick: order.kick,
    c.Ban: order.ban,
    c.Unban: order.unban,
    c.Mute: order.mute,
    c.Unmute: order.unmute,
    c.Block: people.block,
    c.Unblock: people.unblock,
    c.Token: people.token,
}
"""They change something, and go into the lane of the room they name."""

READS: dict[type[c.Command], Handler] = {
    c.Rooms: rooms.listing,
    c.Look: rooms.look,
    c.Members: rooms.members,
    c.History: talk.history,
    c.Search: talk.search,
    c.Unread: talk.unread,
    c.Bans: order.bans,
    c.Who: people.who,
    c.Export: people.data,
}
"""They change nothing, so that they may take their time."""
