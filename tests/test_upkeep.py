"""Maintenance of the database in the background."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from chatserver.errors import Unavailable
from chatserver.store import search
from chatserver.upkeep import TIDY_MESSAGES, Upkeep


class SlowStore:
    """A store that is busy until the test says so."""

    def __init__(self) -> None:
        self.asked: list[Deferred[None]] = []

    async def read(self, work: Any) -> None:
        assert work is search.tidy
        self.asked.append(Deferred())
        await self.asked[-1]


@pytest.mark.parametrize("failure", [None, Unavailable("It is away.")])
def test_the_search_index_is_tidied_regularly(failure: Exception | None) -> None:
    """After every `TIDY_MESSAGES` messages the index is tidied, once at a time; a failure does not end that."""
    store: Any = SlowStore()
    upkeep = Upkeep(store)
    upkeep.stored(TIDY_MESSAGES - 1)
    assert not store.asked
    upkeep.stored(1)
    upkeep.stored(2 * TIDY_MESSAGES)
    assert len(store.asked) == 1
    (busy,) = store.asked
    busy.callback(None) if failure is None else busy.errback(failure)
    upkeep.stored(1)
    assert len(store.asked) == 2
