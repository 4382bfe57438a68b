"""The connections that are not logged in, by address and network, and the order in which they make way for others."""

from collections.abc import Iterator
from enum import IntEnum
from heapq import heapify, heapreplace
from typing import Protocol

from chatserver.wire.addresses import neighbourhood


class Rank(IntEnum):
    """How far a connection has come: the lowest make way first. SILENT: it has sent nothing, or has ended. STARTED: it
    has sent something. CHECKED: the server keeps it waiting."""

    SILENT = 0
    STARTED = 1
    CHECKED = 2


class Newcomer(Protocol):
    """A connection that has not logged in."""

    @property
    def rank(self) -> Rank: ...

    def make_way(self) -> bool:
        """Ends the connection in favour of others, and tells the client why. Returns whether that takes time; `abort`
        cuts it short."""
        ...

    def abort(self) -> None: ...


Placed = tuple[str, Newcomer]
"""A connection, with the key of its address."""


class Ranking:
    """Keys, ordered by how many connections each has. Every step takes the same time, however many keys there are."""

    def __init__(self) -> None:
        self.total = 0
        self._keys: dict[int, dict[str, None]] = {}
        self._most = 0

    def more(self, key: str, count: int) -> None:
        """A key has one more; `count` is how many it has now."""
        self.total += 1
        self._move(key, count - 1, count)
        self._most = max(self._most, count)

    def fewer(self, key: str, count: int) -> None:
        """A key has one less; `count` is how many are left."""
        self.total -= 1
        self._move(key, count + 1, count)
        if self._most not in self._keys:
            self._most -= 1

    def largest(self) -> Iterator[str]:
        """The keys with the most connections first."""
        for count in range(self._most, 0, -1):
            yield from list(self._keys.get(count, ()))

    def _move(self, key: str, before: int, after: int) -> None:
        keys = self._keys.get(before)
        if keys is not None:
            del keys[key]
            if not keys:
                del self._keys[before]
        if after:
            self._keys.setdefault(after, {})[key] = None


class Crowd:
    """A key is the result of `addresses.counted` for an address; the time is the reactor's, in seconds."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[Newcomer, float]] = {}  # by key: each connection with its time, the oldest first
        self._everybody = Ranking()
        self._networks: dict[str, Ranking] = {}

    def __len__(self) -> int:
        return self._everybody.total

    def of_address(self, key: str) -> int:
        return len(self._groups.get(key, ()))

    def of_network(self, network: str) -> int:
        ranking = self._networks.get(network)
        return 0 if ranking is None else ranking.total

    def many(self, least: int) -> dict[str, int]:
        """The addresses that have at least this many."""
        return {key: len(group) for key, group in self._groups.items() if len(group) >= least}

    def many_of_networks(self, least: int) -> dict[str, int]:
        return {network: one.total for network, one in self._networks.items() if one.total >= least}

    def add(self, key: str, who: Newcomer, seconds: float) -> None:
        group = self._groups.setdefault(key, {})
        group[who] = seconds
        self._everybody.more(key, len(group))
        self._networks.setdefault(neighbourhood(key), Ranking()).more(key, len(group))

    def remove(self, key: str, who: Newcomer) -> bool:
        """Returns whether it was there."""
        group = self._groups.get(key)
        if group is None or who not in group:
            return False
        del group[who]
        if not group:
            del self._groups[key]
        self._everybody.fewer(key, len(group))
        network = neighbourhood(key)
        self._networks[network].fewer(key, len(group))
        if not self._networks[network].total:
            del self._networks[network]
        return True

    def first(self, key: str, most: Rank = Rank.STARTED) -> Newcomer | None:
        """The connection of an address that makes way first: the oldest of the lowest rank, up to `most`."""
        found, lowest = None, most + 1
        for who in self._groups.get(key, ()):
            rank = who.rank
            if rank < lowest:
                found, lowest = who, rank
                if not rank:
                    break
        return found

    def first_of(self, key: str) -> Placed | None:
        """The connection of an address or a network that makes way first. None if all are CHECKED."""
        around = self._networks.get(key)
        if around is not None:
            return self._first_in(around)
        who = self.first(key)
        return None if who is None else (key, who)

    def first_of_all(self) -> Placed | None:
        """The connection that makes way first if there are too many in all. None if all are CHECKED."""
        return self._first_in(self._everybody)

    def _first_in(self, ranking: Ranking) -> Placed | None:
        """One of the address with the most."""
        for key in ranking.largest():
            who = self.first(key)
            if who is not None:
                return key, who
        return None

    @property
    def largest(self) -> str:
        """The address with the most connections; "" if there are none."""
        return next(self._everybody.largest(), "")

    def too_many_of_address(self, key: str, limit: int, until: float) -> list[Placed]:
        """The connections that make way so that `limit` are left of an address: first the lowest rank, then the oldest.
        Only those that have been here since `until` or earlier make way; those that are CHECKED do not count."""
        candidates = self._candidates(key)
        return [(key, who) for who, since in candidates[: max(0, len(candidates) - limit)] if since <= until]

    def too_many_of_network(self, network: str, limit: int, until: float) -> list[Placed]:
        """The connections that make way so that `limit` are left of a network, each from the address with the most at
        that point."""
        ranking = self._networks.get(network)
        if ranking is None:
            return []
        candidates = {key: self._candidates(key) for key in ranking.largest()}
        excess = sum(map(len, candidates.values())) - limit
        heap = [(-len(found), key) for key, found in candidates.items() if found]
        heapify(heap)
        leaving = []
        for _ in range(excess):
            count, key = heap[0]
            who, since = candidates[key][len(candidates[key]) + count]
            if since <= until:
                leaving.append((key, who))
            heapreplace(heap, (count + 1, key))
        return leaving

    def _candidates(self, key: str) -> list[tuple[Newcomer, float]]:
        """Those that are not CHECKED, in the order in which they make way."""
        ranked = [(who.rank, who, since) for who, since in self._groups.get(key, {}).items()]
        ranked.sort(key=lambda one: one[0])  # those of a rank stay in order
        return [(who, since) for rank, who, since in ranked if rank < Rank.CHECKED]
