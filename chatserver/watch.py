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
from chatserver.outage import Outage
from chatserver.roster import Roster
from chatserver.store import account_limits, changes, moderation
from chatserver.store.threads import Store

POLL_SECONDS = 0.5
"""Whoever posts through SQL (`chat_v1.post`) is promised that others see it within a second."""
LOOK_BACK = 100
"""Changes: each poll looks so far behind the last one seen, since a change with a lower id may commit later."""


class Watch:
    """Reads the table `change` twice a second. `banned` is called with the banned networks whenever they change."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: Store,
        registry: Registry,
        roster: Roster,
        now: Callable[[], datetime],
        banned: Callable[[list[moderation.NetworkBan]], None],
    ) -> None:
        self._clock = clock
        self._store = store
        self._registry = registry
        self._roster = roster
        self._now = now
        self._banned = banned
        self._last: int | None = None
        self._seen: set[int] = set()
        self._next: IDelayedCall | None = None
        self._running = False
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
            self._next = self._clock.callLater(POLL_SECONDS, self._poll)

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
            self._seen = {id for id, _, _ in before if id <= self._last}  # a newer one has come in between
            return
        found = await self._store.read(changes.since, self._last - LOOK_BACK)
        for id, kind, subject in found:
            if id not in self._seen:
                try:
                    await self._follow(kind, subject)
                except Unavailable:
                    raise
                except Exception:
                    self._failed(Failure())  # the next polls try again; the changes after it do not wait for it
                else:
                    self._seen.add(id)
        if self._outage.worked():
            self.log.info("Changes from the database are applied again.")
        self._last = max([self._last, *(id for id, _, _ in found)])
        self._seen = {id for id in self._seen if id > self._last - LOOK_BACK}

    async def _follow(self, kind: changes.ChangeKind, subject: int) -> None:
        self._registry.doubt_logins()
        match kind:
            case "room":
                room = self._registry.room(subject)
                if room is not None:
                    self._registry.doubt(room)
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
