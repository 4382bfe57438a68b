"""Notifies people who share a room of accounts that are online or away. Changes are coalesced: neither an unstable link
nor somebody who changes their away text all the time causes a flood of news."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatserver.presence.news_pace import NewsPace
from chatserver.presence.roster import Remote, Roster
from chatserver.presence.typing import TypingNotices
from chatserver.session.link import collected
from chatserver.session.session import Session
from chatserver.settings.tables import Limits
from chatserver.values import events
from chatserver.values.errors import Unavailable
from chatserver.wire.dialect import NONE

SLICE_RECIPIENTS = 20_000
"""Maximum number of pieces of news that are written in one turn of the reactor, which takes some ten milliseconds."""
RETRY_SECONDS = 1.0
MOVING_SECONDS = 3.0
"""How much longer to wait for clients that are sent to another node, or whose node has died, in seconds: they connect
within two seconds, and have to notice first."""

Mutes = Callable[[Collection[int]], Awaitable[Mapping[int, frozenset[int]]]]
"""By account, the rooms in which it is muted now. Raises Unavailable."""


async def no_mutes(account_ids: Collection[int]) -> Mapping[int, frozenset[int]]:
    return {}


class Presence:
    """`presence_seconds`: how long to wait before notifying others that an account went offline, unless it is back by
    then. Rooms with more than `presence_members` sessions are not notified. News of an account is sent at most once in
    `news_seconds`, without changes that were undone by then. Where an account is muted, its away text is not shown.

    Each node notifies its own sessions, also of accounts at other nodes: an account comes online if no node had it, and
    is gone once no node has it.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, roster: Roster, limits: Limits, mutes: Mutes = no_mutes) -> None:
        self._clock = clock
        self._roster = roster
        self._limits = limits
        self._mutes = mutes
        self.typing = TypingNotices(clock, roster)
        self._going: dict[int, IDelayedCall] = {}
        self._pace = NewsPace(clock, limits, self)
        self._told: dict[int, events.Presence] = {}  # of accounts with news: the state sent last
        self._reading: dict[int, bool] = {}  # accounts whose mutes are being read; True: they are to be read again
        self._near: dict[int, frozenset[int]] = {}  # of those who have gone: the accounts that were near them
        roster.follow_mutes(self)

    def came(self, session: Session) -> None:
        """A session has logged in. Others are notified, unless its account was online a moment ago, or it is quiet."""
        if session.quiet:
            return
        if self._back(session.who.account_id):
            self._pace.add(session.who.account_id)  # it was away perhaps, and is away no longer
        elif len(self._heard(session.who.account_id)) == 1 and self._roster.remote(session.who.account_id) is None:
            self._changed(events.Presence(session.who.name, False, display=session.who.display), session.who.account_id)

    def _heard(self, account_id: int) -> list[Session]:
        """An account's sessions that are not quiet."""
        return [session for session in self._roster.sessions(account_id) if not session.quiet]

    def _back(self, account_id: int) -> bool:
        """Whether an account was about to go; if so, it is not any more."""
        going = self._going.pop(account_id, None)
        if going is not None:
            going.cancel()
        return going is not None

    def going(self, session: Session) -> None:
        """A session is about to leave the roster. If it is the account's last one, others are notified, unless the
        account is back soon."""
        account_id = session.who.account_id
        if self._heard(account_id) != [session]:  # others stay, or it is quiet, or failed to log in
            return
        if self._roster.remote(account_id) is not None:
            return
        near = self._roster.nearby(session, self._limits.presence_members)
        self._goes(
            self._state(session.who.name, session.who.display, account_id),
            account_id,
            near,
            moving=self._roster.nodes.now.moving,
        )

    def _goes(
        self, before: events.Presence, account_id: int, near: Collection[Session], *, moving: bool = False
    ) -> None:
        """An account's last session ends; these are near it. `moving`: its client is on the way to another node."""
        self._near[account_id] = frozenset(other.who.account_id for other in near)
        self._told.setdefault(account_id, before)

        def gone() -> None:
            del self._going[account_id]
            self._pace.add(account_id)

        self._back(account_id)  # after a login that failed halfway
        seconds = self._limits.presence_seconds + (MOVING_SECONDS if moving else 0)
        self._going[account_id] = self._clock.callLater(seconds, gone)

    def away(self, session: Session, text: str) -> None:
        """An account is away, for this reason, or (without a text) back. Others are notified."""
        self._set_away(session.who.account_id, text)

    def _set_away(self, account_id: int, text: str) -> None:
        if not self._roster.is_online(account_id):  # quiet sessions alone
            return
        before = self._state(*self._roster.called(account_id)[:2], account_id)
        if not self._roster.set_away(account_id, text):
            return
        if text:
            self._told.setdefault(account_id, before)
            self._look_up(account_id)
        else:
            self._changed(before, account_id)

    # Other nodes

    def elsewhere(self, account_id: int, remote: Remote | None, *, told: bool, moving: bool = False) -> None:
        """Takes over an account's state at other nodes; see `Roster.set_remote`. `told`: people are notified of the
        change; not if it was so before this node knew it. `moving`: the account's clients have been sent to other
        nodes, or their node has died."""
        roster = self._roster
        before = roster.remote(account_id)
        was_online = roster.is_online(account_id)
        if remote is None and before is not None and not roster.is_here(account_id) and told:
            near = roster.near(account_id, self._limits.presence_members)
            self._goes(self._state(before.name, before.display, account_id), account_id, near, moving=moving)
        roster.set_remote(account_id, remote)
        if remote is not None and not was_online:
            if self._back(account_id):
                self._pace.add(account_id)
            elif told:
                self._changed(events.Presence(remote.name, False, display=remote.display), account_id)

    def away_elsewhere(self, account_id: int, text: str, *, told: bool) -> None:
        """An account is away or back, as another node says."""
        if told:
            self._set_away(account_id, text)
        elif self._roster.is_online(account_id) and self._roster.set_away(account_id, text) and text:
            self._look_up(account_id)

    def _changed(self, before: events.Presence, account_id: int) -> None:
        self._told.setdefault(account_id, before)
        self._pace.add(account_id)

    # Where somebody is muted, they say nothing by an away text either

    def _look_up(self, account_id: int) -> None:
        ensureDeferred(self._find_mutes(account_id)).addErrback(
            lambda failure: self.log.failure("Where somebody is muted could not be read.", failure)
        )

    async def _find_mutes(self, account_id: int) -> None:
        """Reads where an account is muted, then sends its news. Until then, its away text is shown to nobody. An
        account has at most one read under way."""
        if account_id in self._reading:
            self._reading[account_id] = True
            return
        self._reading[account_id] = True
        try:
            while self._reading[account_id]:
                self._reading[account_id] = False
                rooms = (await self._mutes([account_id])).get(account_id, NONE)
            away = self._roster.away(account_id)
            if away is not None:
                away.muted_in = rooms
        except Unavailable:
            self._clock.callLater(RETRY_SECONDS, self.mutes_changed, account_id)
            return
        finally:
            del self._reading[account_id]
        if account_id in self._told:
            self._pace.add(account_id)

    def mutes_changed(self, account_id: int) -> None:
        """The account was muted or unmuted somewhere."""
        away = self._roster.away(account_id)
        if away is not None:
            away.muted_in = None
            self._look_up(account_id)

    # Sending news

    def _state(self, name: str, display: str, account_id: int) -> events.Presence:
        online = self._roster.is_online(account_id)
        return events.Presence(name, online, self._roster.away_text(account_id), display)

    def send_news(self, account_ids: Sequence[int]) -> dict[int, bool]:
        """See `news_pace.Telling`. Takes as many accounts as one turn of the reactor allows, and writes to each
        recipient once."""
        taken: dict[int, bool] = {}
        pieces: list[tuple[events.Presence, set[Session]]] = []
        recipients = 0
        for account_id in account_ids:
            if recipients > SLICE_RECIPIENTS:
                break
            waits = account_id in self._going or account_id in self._reading  # it is added again once that is over
            found = [] if waits else self._wanted(account_id, self._news(account_id))
            pieces += found
            count = sum(len(sessions) for _, sessions in found)
            taken[account_id] = count > 0
            recipients += count
        try:
            with collected({session.link: None for _, sessions in pieces for session in sessions}):
                for news, sessions in pieces:
                    self._roster.tell(sessions, news)
        except Exception:  # people who were not notified see it in the answer to `who`
            self.log.failure("News could not be told.")
        return taken

    @staticmethod
    def _wanted(
        account_id: int, news: list[tuple[events.Presence, set[Session]]]
    ) -> list[tuple[events.Presence, set[Session]]]:
        """Leaves out people who ignore the account."""
        return [(item, {one for one in sessions if not one.ignores(account_id)}) for item, sessions in news]

    def _news(self, account_id: int) -> list[tuple[events.Presence, set[Session]]]:
        """Takes the news of an account, each piece with its recipients."""
        before = self._told.pop(account_id, None)
        near = self._near.pop(account_id, NONE)
        if before is None:
            return []
        name, display, _ = self._roster.called(account_id)  # it may have been renamed meanwhile
        if not name:
            name, display = before.name, before.display
        now = self._state(name, display, account_id)
        if (now.online, now.away) == (before.online, before.away):
            return []
        if not now.online:
            return [(now, self._roster.still_near(account_id, near))]
        everybody = self._roster.near(account_id, self._limits.presence_members)
        if not now.away:
            return [(now, everybody)]
        readers = self._readers(account_id)
        told = [(now, readers)]
        if not before.online:
            told.append((events.Presence(now.name, True, display=now.display), everybody - readers))
        return told

    def _readers(self, account_id: int) -> set[Session]:
        """The sessions that are sent an account's away text."""
        away = self._roster.away(account_id)
        if away is None or away.muted_in is None:
            return set()
        return self._roster.near(account_id, self._limits.presence_members, away.muted_in)
