"""Who is online, told to those who share a room; coalesced, so that a flapping link is no storm."""

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatserver import events
from chatserver.registry import Registry
from chatserver.session import Session


class Presence:
    def __init__(self, clock: IReactorTime, registry: Registry, seconds: float, members: int) -> None:
        self._clock = clock
        self._registry = registry
        self._seconds = seconds
        self._members = members
        self._going: dict[int, IDelayedCall] = {}

    def came(self, session: Session) -> None:
        """A session has arrived. Nothing is told where its account was here a moment ago."""
        going = self._going.pop(session.account_id, None)
        if going is not None:
            going.cancel()
        elif len(self._registry.accounts.get(session.account_id, ())) == 1:
            self.tell(session)

    def tell(self, session: Session) -> None:
        """Tells who is near that this one is here, and what they say if they are away."""
        near = self._registry.nearby(session, self._members)
        away = self._registry.away.get(session.account_id, "")
        self._registry.tell(near, events.Presence(session.name, True, away))

    def going(self, session: Session) -> None:
        """A session is about to depart: where it is its account's last one, that is told unless it is soon back."""
        if len(self._registry.accounts.get(session.account_id, ())) > 1:
            return
        near = [other.account_id for other in self._registry.nearby(session, self._members)]

        def gone() -> None:
            del self._going[session.account_id]
            here = [other for account_id in set(near) for other in self._registry.accounts.get(account_id, ())]
            self._registry.tell(here, events.Presence(session.name, False))

        self._going[session.account_id] = self._clock.callLater(self._seconds, gone)
