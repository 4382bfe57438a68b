"""The pace at which news of accounts is sent, so that nobody can make the server write to everybody all the time."""

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatserver.settings.tables import Limits

GATHER_SECONDS = 1.0
"""How long news is gathered to be sent in one piece, in seconds: after a restart hundreds come back at once. People do
not notice a second, and each recipient then costs one write a second."""
SLACK_SECONDS = 0.001
"""How long before its time news counts as due: sums of times are not exact."""


class Telling(Protocol):
    """A part that sends news."""

    def send_news(self, account_ids: Sequence[int]) -> dict[int, bool]:
        """Sends the news of the first accounts of these, which are sorted by how long they wait. Returns, for each
        account taken, whether its news had recipients; the others come again in the next turn of the reactor."""
        ...


class NewsPace:
    """Has the news of each account sent at most once in `news_seconds`, and news at all at most once in GATHER_SECONDS;
    after a quiet time at once. If `news_seconds` is 0, always at once."""

    def __init__(self, clock: IReactorTime, limits: Limits, telling: Telling) -> None:
        self._clock = clock
        self._limits = limits
        self._seconds = limits.news_seconds  # by which the times in `_quiet` were reckoned
        self._telling = telling
        self._due: dict[int, None] = {}
        self._quiet: dict[int, float] = {}  # by account with recent news, until when no more is sent; oldest first
        self._gathers = 0.0  # until when
        self._next: IDelayedCall | None = None

    def add(self, account_id: int) -> None:
        """There is news of this account."""
        self._due[account_id] = None
        self._follow()
        at = max(self._gathers, self._quiet.get(account_id, 0.0))
        if at - self._clock.seconds() > SLACK_SECONDS:
            self._run_at(at)
        else:
            self._run()

    def _follow(self) -> float:
        """Returns the present `news_seconds`. If a reload has lowered it, shortens the waits."""
        seconds, until = self._limits.news_seconds, self._clock.seconds() + self._limits.news_seconds
        if seconds < self._seconds:
            self._quiet = {account_id: min(until, at) for account_id, at in self._quiet.items()}
            self._gathers = min(until, self._gathers)
        self._seconds = seconds
        return seconds

    def _run_at(self, at: float) -> None:
        if self._next is not None:
            if self._next.getTime() <= at:
                return
            self._next.cancel()
        self._next = self._clock.callLater(max(at - self._clock.seconds(), 0), self._called)

    def _called(self) -> None:
        self._next = None
        self._run()

    def _run(self) -> None:
        now, seconds = self._clock.seconds(), self._follow()
        while self._quiet and next(iter(self._quiet.values())) - now <= SLACK_SECONDS:
            del self._quiet[next(iter(self._quiet))]
        ready = [account_id for account_id in self._due if account_id not in self._quiet]
        taken = self._telling.send_news(ready) if ready else {}
        for account_id, told in taken.items():
            del self._due[account_id]
            if told and seconds:
                self._quiet[account_id] = now + seconds
        if any(taken.values()) or self._due:
            self._gathers = now + min(GATHER_SECONDS, seconds)
        if len(taken) < len(ready):
            self._run_at(now)
        elif self._due:
            self._run_at(max(self._gathers, min(self._quiet[account_id] for account_id in self._due)))
