"""Logins under way: they have read memberships and blocks, which may change before their sessions subscribe."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from chatserver.delivery.room import Rooms
from chatserver.session.other_nodes import OtherNodes
from chatserver.values.events import Membership


class PendingLogin:
    """`stale`: its account has changed since, and has to be read again. `passed`: rooms whose entries were passed over
    when that was checked last, each with the last of these."""

    __slots__ = ("passed", "stale")

    def __init__(self) -> None:
        self.stale = False
        self.passed: frozenset[tuple[int, int]] = frozenset()


class PendingLogins:
    def __init__(self, rooms: Rooms, nodes: OtherNodes) -> None:
        self._rooms = rooms
        self._nodes = nodes
        self._known: dict[int, list[PendingLogin]] = {}

    @contextmanager
    def begin(self, account_id: int) -> Iterator[PendingLogin]:
        """Scope: from the reading of an account's memberships until its sessions subscribe to its rooms."""
        login = PendingLogin()
        of_account = self._known.setdefault(account_id, [])
        of_account.append(login)
        try:
            yield login
        finally:
            of_account.remove(login)
            if not of_account:
                self._known.pop(account_id, None)

    def accounts(self) -> set[int]:
        return set(self._known)

    def doubt(self, *account_ids: int) -> None:
        """Data read by logins of these accounts may be stale: they read it again. Without any: all logins."""
        for account_id in account_ids or self.accounts():
            for login in self._known.get(account_id, ()):
                login.stale = True

    def is_current(self, login: PendingLogin, memberships: Sequence[Membership]) -> bool:
        """Whether these memberships, which a login has read, still hold as far as is known. Else read them again."""
        known, login.passed = login.passed, self._passed_over(memberships)
        # After the database was set back, reading once more does not mend it.
        return not login.stale and login.passed <= known

    def _passed_over(self, memberships: Sequence[Membership]) -> frozenset[tuple[int, int]]:
        """The rooms whose logs have gone on since then, as other nodes say, while they had no subscribers here, each
        with how far: the account may have left by what was passed over."""
        if not self._nodes.now.origin:
            return frozenset()
        each = ((one.facts.id, self._rooms.passed_over(one.facts.id), one.seq) for one in memberships)
        return frozenset((room_id, passed) for room_id, passed, seq in each if passed > seq)
