"""Logins under way, which may have read memberships and blocks that have changed since."""

from collections.abc import Iterator
from contextlib import contextmanager


class Arrival:
    """A login under way. `stale`: what was read of its account has changed since; read it again. `passed`: see
    `Registry.is_current`."""

    __slots__ = ("passed", "stale")

    def __init__(self) -> None:
        self.stale = False
        self.passed: frozenset[tuple[int, int]] = frozenset()


class Arrivals:
    def __init__(self) -> None:
        self._known: dict[int, list[Arrival]] = {}

    @contextmanager
    def pending(self, account_id: int) -> Iterator[Arrival]:
        """Scope: from the reading of an account's memberships until its sessions hear its rooms."""
        arrival = Arrival()
        of_account = self._known.setdefault(account_id, [])
        of_account.append(arrival)
        try:
            yield arrival
        finally:
            of_account.remove(arrival)
            if not of_account:
                self._known.pop(account_id, None)

    def accounts(self) -> set[int]:
        return set(self._known)

    def changed(self, *account_ids: int) -> None:
        """What was read of these accounts may be out of date."""
        for account_id in account_ids:
            for arrival in self._known.get(account_id, ()):
                arrival.stale = True
