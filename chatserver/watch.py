"""Follows changes that other processes make in the database while the server runs: `chatctl` and other nodes."""

from collections.abc import Callable
from datetime import datetime

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatserver.accountlimits import AS_SET
from chatserver.delivery.registry import Registry
from chatserver.errors import Unavailable, banned_text
from chatserver.events import Person
from chatserver.handlers.outcome import Effect
from chatserver.handlers.shared import decoded
from chatserver.outage import Outage
from chatserver.roster import Roster
from chatserver.store import account_limits, changes, moderation
from chatserver.store.threads import Store

POLL_SECONDS = 0.5
"""Whoever posts through SQL (`chat_v1.post`) is promised that others see it within a second."""
LOOK_BACK = 100
"""Changes: each poll looks so far behind the last one seen, since a change with a lower id may commit later."""


def _ignore(_: object) -> None:
    pass


class Watch:
    """Reads the table `change` twice a second. `banned` is called with the banned networks whenever they change;
    `apply` with what follows from a command that was given at another node; `entered` with an account with sessions
    here that has entered a room there."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: Store,
        registry: Registry,
        roster: Roster,
        now: Callable[[], datetime],
        banned: Callable[[list[moderation.NetworkBan]], None],
        apply: Callable[[Effect], None] = _ignore,
        entered: Callable[[Person], None] = _ignore,
    ) -> None:
        self._clock = clock
        self._store = store
        self._registry = registry
        self._roster = roster
        self._now = now
        self._banned = banned
        self._apply = apply
        self._entered = entered
        self._last: int | None = None
        self._seen: set[int] = set()
        self._next: IDelayedCall | None = None
        self._running = False
        self._hurried = False
        self._bans_due = False  # they could not be read
        self._outage = Outage(clock.seconds)

    def start(self) -> None:
        self._running = True
        self.reload_bans()
        self._poll()

    def stop(self) -> None:
        """A poll that is under way is finished, and is the last one."""
        self._running = False
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def hurry(self) -> None:
        """There is something new, as another node says."""
        if self._next is not None:
            self._next.reset(0)
        else:
            self._hurried = True  # the poll that is under way may have been too early

    def reload_bans(self) -> None:
        """Reads which addresses are banned. If that fails, each poll tries again."""
        ensureDeferred(self._reload_bans()).addErrback(self._failed)

    async def _reload_bans(self) -> None:
        self._bans_due = True
        self._banned(await self._store.read(moderation.banned_networks))
        self._bans_due = False

    def _poll(self) -> None:
        self._next = None
        ensureDeferred(self._look()).addErrback(self._failed).addCallback(self._again)

    def _again(self, _: object) -> None:
        if self._running:
            self._next = self._clock.callLater(0 if self._hurried else POLL_SECONDS, self._poll)
            self._hurried = False

    def _failed(self, failure: Failure) -> None:
        # The store has logged that it does not answer; anything else is likely to fail again in a second.
        if not failure.check(Unavailable) and self._outage.failed():
            self.log.failure("Could not apply a change from the database. Trying again until it works.", failure)

    async def _look(self) -> None:
        if self._bans_due:
            await self._reload_bans()
        if self._last is None:
            self._last = await self._store.read(changes.newest)
            before = await self._store.read(changes.since, self._last - LOOK_BACK)
            self._seen = {change.id for change in before if change.id <= self._last}  # a newer one has come in between
            return
        found = await self._store.read(changes.since, self._last - LOOK_BACK)
        for change in found:
            if change.id not in self._seen:
                try:
                    if change.origin is None or change.origin != self._registry.elsewhere.origin:
                        await self._follow(change)
                except Unavailable:
                    raise
                except Exception:
                    self._failed(Failure())  # the next polls try again; the changes after it do not wait for it
                else:
                    self._seen.add(change.id)
        if self._outage.worked():
            self.log.info("Changes from the database are applied again.")
        self._last = max([self._last, *(change.id for change in found)])
        self._seen = {id for id in self._seen if id > self._last - LOOK_BACK}

    @property
    def applied(self) -> int:
        """The id of the last change that was read; those before it may have come later, or failed, and are tried
        again."""
        return self._last or 0

    async def _follow(self, change: changes.Change) -> None:
        subject = change.subject
        self._registry.doubt_logins()
        match change.kind:
            case "membership":
                for session in self._roster.sessions(subject)[:1]:
                    self._entered(session.person)
            case "effect" if change.detail:
                effect = decoded(change.detail)
                if effect is not None:
                    self._apply(effect)
            case "room":
                room = self._registry.room(subject)
                if room is not None:
                    self._registry.doubt(room, told=True)
            case "bans":
                await self._reload_bans()
            case "token":
                for session in self._roster.all_sessions():
                    if session.token_id == subject:
                        session.link.hang_up("token-revoked", "The token that you logged in with was revoked.")
            case "certificate":
                for session in self._roster.all_sessions():
                    if session.certificate_id == subject:
                        session.link.hang_up(
                            "certificate-removed",
                            "The certificate that you logged in with was removed.",
                        )
            case "account" if self._roster.sessions(subject):
                (account,) = await self._store.read(changes.accounts, [(subject, 0)])
                limits = (await self._store.read(account_limits.find, [subject])).get(subject, AS_SET)
                for session in self._roster.sessions(subject):
                    named_at = account.named_at
                    if named_at is not None and session.named_at != named_at and not account.gone:
                        display = account.display or ""
                        self._registry.renamed(subject, session.name, account.name, display, named_at)
                    session.kind, session.limits = account.kind, limits
                    if account.ban is not None:
                        session.link.hang_up("banned", banned_text(account.ban))
                    elif account.gone:
                        session.link.hang_up("disabled", "The operators of this server disabled your account.")
