"""Collects questions that are asked one by one, and answers them in batches."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred

from chatserver.util.waiting import Turn, settle

Asked = TypeVar("Asked")
Known = TypeVar("Known")


class Batcher(Generic[Asked, Known]):
    """Questions that arrive while a batch is under way share the next one, up to `limit`. `answer` returns one answer
    for each, in their order; an exception that it raises is raised for all of them."""

    def __init__(self, answer: Callable[[list[Asked]], Awaitable[Sequence[Known]]], limit: int, turn: Turn) -> None:
        self._answer = answer
        self._limit = limit
        self._turn = turn
        self._waiting: list[tuple[Asked, Deferred[Known]]] = []
        self._busy = False

    async def ask(self, asked: Asked) -> Known:
        """Raises what `answer` raises."""
        known: Deferred[Known] = Deferred()
        self._waiting.append((asked, known))
        if not self._busy:
            self._busy = True
            ensureDeferred(self._run())
        return await known

    async def _run(self) -> None:
        while self._waiting:
            await settle(self._waiting, self._limit, self._turn)
            taken = self._waiting[: self._limit]
            del self._waiting[: self._limit]
            try:
                answers = await self._answer([asked for asked, _ in taken])
            except Exception as error:
                for _, known in taken:
                    known.errback(error)
            else:
                for (_, known), answer in zip(taken, answers, strict=True):
                    known.callback(answer)
        self._busy = False
