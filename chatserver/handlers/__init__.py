"""Commands: one function for each, which returns an outcome. Knows no sockets."""

from collections.abc import Callable
from typing import Any

from chatserver.handlers import (
    accounts,
    invitations,
    message_changes,
    messages,
    moderation,
    people,
    rooms,
    unread,
)
from chatserver.handlers.outcome import Ask, Outcome
from chatserver.store import Connection
from chatserver.values import commands as c

Handler = Callable[[Connection, Ask, Any], Outcome]


WRITES: dict[type[c.Command], Handler] = {
    c.Create: rooms.create,
    c.Join: rooms.join,
    c.Leave: rooms.leave,
    c.Delete: rooms.delete,
    c.Set: rooms.configure,
    c.Topic: rooms.topic,
    c.Say: messages.say,
    c.Reply: messages.say,
    c.React: message_changes.react,
    c.Pin: message_changes.pin,
    c.Unpin: message_changes.unpin,
    c.Edit: message_changes.edit,
    c.Amend: message_changes.amend,
    c.Erase: message_changes.erase,
    c.Read: unread.read,
    c.ReadAll: unread.read_all,
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
    c.Ignore: people.ignore,
    c.Unignore: people.unignore,
    c.Prefer: accounts.prefer,
}
"""Commands that change something. They go into the lane of the room that they name."""

READS: dict[type[c.Command], Handler] = {
    c.Rooms: rooms.listing,
    c.Look: rooms.look,
    c.Members: rooms.member_list,
    c.History: messages.history,
    c.Search: messages.search,
    c.Reactions: message_changes.reactions_of,
    c.Pins: message_changes.pinned,
    c.Replies: messages.replies_to,
    c.Unread: unread.listing,
    c.Missed: unread.missed,
    c.Mentions: unread.mentions,
    c.Bans: moderation.bans,
    c.Who: people.who,
    c.Export: accounts.export,
}
"""Commands that change nothing, so that they delay no message."""

AUDITED: frozenset[type[c.Command]] = frozenset(
    {c.Role, c.Kick, c.Ban, c.Unban, c.Mute, c.Unmute, c.Delete, c.Password, c.Token, c.Sessions, c.Forget, c.Rename}
)
"""Commands that are written to the audit log once they are done."""

SEES_MARKS: frozenset[type[c.Command]] = frozenset({c.Join, c.Look, c.Unread, c.Missed})
"""Commands whose handlers need the marks of the account that are not stored yet."""

SEES_ONLINE: frozenset[type[c.Command]] = frozenset({c.Members, c.Who})
"""Commands whose handlers need the accounts online; for others, these are not collected. `unread` needs
them for the `state` alone."""
