"""What each command does: one function for each, which knows no sockets."""

from collections.abc import Callable
from typing import Any

from chatserver import commands as c
from chatserver.handlers import accounts, invitations, messages, moderation, people, rooms
from chatserver.handlers.outcome import Ask, Outcome
from chatserver.store import Connection

Handler = Callable[[Connection, Ask, Any], Outcome]

WRITES: dict[type[c.Command], Handler] = {
    c.Create: rooms.create,
    c.Join: rooms.join,
    c.Leave: rooms.leave,
    c.Delete: rooms.delete,
    c.Set: rooms.configure,
    c.Topic: rooms.topic,
    c.Say: messages.say,
    c.Edit: messages.edit,
    c.Erase: messages.erase,
    c.Read: messages.read,
    c.Invite: invitations.invite,
    c.Uninvite: invitations.uninvite,
    c.Role: moderation.role,
    c.Kick: moderation.kick,
    c.Ban: moderation.ban,
    c.Unban: moderation.unban,
    c.Mute: moderation.mute,
    c.Unmute: moderation.unmute,
    c.Block: people.block,
    c.Unblock: people.unblock,
    c.Token: accounts.token,
}
"""Commands that change something. They go into the lane of the room that they name."""

READS: dict[type[c.Command], Handler] = {
    c.Rooms: rooms.listing,
    c.Look: rooms.look,
    c.Members: rooms.member_list,
    c.History: messages.history,
    c.Search: messages.search,
    c.Unread: messages.unread,
    c.Bans: moderation.bans,
    c.Who: people.who,
    c.Export: accounts.export,
}
"""Commands that change nothing, so that they delay no message."""

SEES_ONLINE: frozenset[type[c.Command]] = frozenset({c.Members, c.Who})
"""Their handlers need to know who is online. For all other commands, that is not collected."""
