"""Notices that somebody is typing in a room: stored nowhere, and lost without harm."""

from typing import Final

from twisted.internet.interfaces import IReactorTime

from chatserver.presence.roster import Roster
from chatserver.session.link import collected
from chatserver.session.session import HeardRoom, Session
from chatserver.values.events import Typing

MOST_ONLINE: Final = 50
"""Maximum number of accounts online in a room where others are notified."""
PACE_SECONDS: Final = 3.0
"""Interval between two notices of an account, in all rooms together."""


class TypingNotices:
    """Each node keeps the pace of all accounts, whichever node they type at."""

    def __init__(self, clock: IReactorTime, roster: Roster) -> None:
        self._clock = clock
        self._roster = roster
        self._told: dict[int, float] = {}  # by account, when its last notice was sent; the oldest in front

    def typed(self, session: Session, room: HeardRoom) -> None:
        """The person of a session types in a room, of which they are a member and where they are not muted."""
        if not session.quiet and self._tell(room, session.who.account_id, session.who.name):
            self._roster.nodes.now.typed(room.facts.id, session.who.account_id, session.who.name)

    def typed_elsewhere(self, room_id: int, account_id: int, name: str) -> None:
        """Somebody types at another node."""
        room = self._roster.room(room_id)
        if room is not None:
            self._tell(room, account_id, name)

    def _tell(self, room: HeardRoom, account_id: int, name: str) -> bool:
        """Returns False if nothing is sent: too many are online, or the account's last notice is too recent."""
        if not self._roster.has_few(room, MOST_ONLINE) or not self._is_due(account_id):
            return False
        told = [one for one in self._roster.others(room, account_id) if _takes(one, room, account_id)]
        if told:
            with collected([one.link for one in told]):
                self._roster.tell(told, Typing(room.facts.label(told[0].who.account_id), name, room.facts.id))
        return True

    def _is_due(self, account_id: int) -> bool:
        """Counts a notice, unless it comes too early. Only accounts of the last few seconds are remembered."""
        now = self._clock.seconds()
        while self._told and now - next(iter(self._told.values())) >= PACE_SECONDS:
            del self._told[next(iter(self._told))]
        if account_id in self._told:
            return False
        self._told[account_id] = now
        return True


def _takes(session: Session, room: HeardRoom, account_id: int) -> bool:
    """Whether a client has asked for notices, does not ignore the account, and has read everything: for a slow one, a
    notice would come too late, and wait before what matters."""
    asked = session.asked_for_typing and account_id not in session.ignored
    return asked and session.link.idle and not room.is_behind(session)
