"""Tells people who share a room who is online. Changes are coalesced: an unstable link causes no flood of news."""

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatserver import events
from chatserver.roster import Roster
from chatserver.session import Session


class Presence:
    """`seconds`: the delay before others are told that an account went offline; if it is back by then, they are not.
    Rooms with more than `max_subscribers` sessions are told nothing."""

    def __init__(self, clock: IReactorTime, roster: Roster, seconds: float, max_subscribers: int) -> None:
        self._clock = clock
        self._roster = roster
        self._seconds = seconds
        self._max_subscribers = max_subscribers
        self._going: dict[int, IDelayedCall] = {}

    def came(self, session: Session) -> None:
        """A session has logged in. Others are told, unless its account was online a moment ago."""
        going = self._going.pop(session.account_id, None)
        if going is not None:
            going.cancel()
        elif len(self._roster.sessions(session.account_id)) == 1:
            self.tell(session)

    def tell(self, session: Session) -> None:
        """Tells everybody nearby that this account is online, and its away text, if any."""
        near = self._roster.nearby(session, self._max_subscribers)
        away = self._roster.away_text(session.account_id)
        self._roster.tell(near, events.Presence(session.name, True, away))

    def going(self, session: Session) -> None:
        """A session is about to leave the roster. If it is the account's last one, others are told, unless the account
        is back soon."""
        if len(self._roster.sessions(session.account_id)) > 1:
            return
        near = {other.account_id for other in self._roster.nearby(session, self._max_subscribers)}

        def gone() -> None:
            del self._going[session.account_id]
            here = [other for account_id in near for other in self._roster.sessions(account_id)]
            self._roster.tell(here, events.Presence(session.name, False))

        self._going[session.account_id] = self._clock.callLater(self._seconds, gone)
