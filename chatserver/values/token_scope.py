"""The rights of a session that logged in with a token: fewer than with the password, and for some tokens much fewer.

`Scope.confined` alone decides, for every line of such a session. Commands that it does not name are refused, so that a
new one is not open to a restricted token by accident.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct, structs

from chatserver.values import commands as c
from chatserver.values.errors import Refused, Why, no_such_room
from chatserver.values.events import EpochBegan, Live, News, Notified, ReadMark, Skipped, Typing

Kinds = frozenset[type[c.Command]]

WITH_PASSWORD: Final[Kinds] = frozenset({c.Password, c.Forget, c.Rename, c.Sessions})
"""Forbidden to tokens: a finder of one cannot take over, rename or erase the account, nor see or end its kept sessions.
Nor can tokens create tokens."""

ALWAYS: Final[Kinds] = frozenset({c.Ping, c.Help, c.Server, c.Fit, c.Paste, c.Logout, c.Quit})
"""Commands about the connection."""

READING: Final[Kinds] = ALWAYS | {
    c.Rooms, c.Look, c.Members, c.History, c.Search, c.Reactions, c.Pins, c.Replies, c.Unread, c.Missed, c.Mentions,
    c.Bans, c.Who, c.Export,
}  # fmt: skip
"""Commands for a read-only token, besides those of `_asks`."""

IN_A_ROOM: Final[Kinds] = frozenset({
    c.Look, c.Join, c.Leave, c.Delete, c.Set, c.Topic, c.Say, c.Reply, c.React, c.Pin, c.Unpin, c.Pins, c.Edit, c.Amend,
    c.Erase, c.Read, c.Missed, c.History, c.Members, c.Search, c.Invite, c.Uninvite, c.Role, c.Kick, c.Ban, c.Unban,
    c.Bans, c.Mute, c.Unmute, c.Typing, c.Reactions, c.Replies,
})  # fmt: skip
"""Commands for a token for one room, if they name that. Without a room, `search` means it."""

ABOUT_ROOMS: Final[Kinds] = frozenset({c.Rooms, c.Unread, c.Who})
"""Commands whose handlers stay within the token's room (see `visibility.is_only`)."""

RoomIds = Callable[[str], int]
"""The id of the subscribed room that a session calls by a label; 0 if there is none."""


def _asks(command: c.Command) -> bool:
    """Whether a command that can change something only reads."""
    match command:
        case c.Topic(text=None) | c.Ignore(name=None) | c.Prefer(timezone=None, clock=None, bell=None, notify=None):
            return True
        case _:
            return False


class Scope(Struct, frozen=True):
    """The scope of a token. `room_id`: it is for this room only; 0: for all.

    `seconds`: how long it lasts, by the database's clock, from when it was looked up; None: until it is revoked.
    """

    read_only: bool = False
    room_id: int = 0
    seconds: float | None = None

    def hears(self, room_id: int) -> bool:
        return self.room_id in (0, room_id)

    def is_told(self, item: News) -> bool:
        """Whether a session receives this. One for a single room receives nothing about people."""
        if not self.room_id:
            return True
        if isinstance(item, EpochBegan):
            return True
        return isinstance(item, ReadMark | Notified | Typing | Live | Skipped) and item.room_id == self.room_id

    def confined(self, command: c.Command, label: str, ids: RoomIds) -> c.Command:
        """The command as far as it is allowed. `label` is what the session calls its only room, "" if it is in none.

        Raises Refused: not-allowed; no-such-room for all rooms but its own, whether they exist or not.
        """
        kind = type(command)
        if kind in WITH_PASSWORD:
            raise Refused(Why.NOT_WITH_TOKEN)
        if isinstance(command, c.Token) and command.label is not None:
            raise Refused(Why.NO_TOKEN_BY_TOKEN)
        if self.read_only and kind not in READING and not _asks(command):
            raise Refused(Why.TOKEN_READ_ONLY)
        if not self.room_id or kind in ALWAYS:
            return command
        if kind in ABOUT_ROOMS and label:
            return command
        if isinstance(command, c.Search) and command.room is None:
            command = structs.replace(command, room=label)
        room: str | None = getattr(command, "room", None)
        if kind not in ABOUT_ROOMS and (kind not in IN_A_ROOM or room is None):
            raise Refused(Why.TOKEN_FOR_ONE_ROOM)
        if not label:
            raise Refused(Why.NOT_IN_ROOM_OF_TOKEN)
        if room is None or ids(room) != self.room_id:
            raise no_such_room(room or label)
        return command
