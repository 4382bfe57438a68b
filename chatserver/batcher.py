"""Questions asked one by one, answered many at once."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred

from chatserver.turns import Turn, settle

Asked = TypeVar("Asked")
Known = TypeVar("Known")


class Batcher(Generic[Asked, Known]):
    """What is asked while a batch is under way shares the next one. `answer` gives an answer for each, in their order;
    where it raises, that is everybody's answer."""

    def __init__(self, answer: Callable[[list[Asked]], Awaitable[Sequence[Known]]], most: int, turn: Turn) -> None:
        self._answer = answer
        self._most = most
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
            await settle(self._waiting, self._most, self._turn)
            taken = self._waiting[: self._most]
            del self._waiting[: self._most]
            try:
                answers = await self._answer([asked for asked, _ in taken])
            except Exception as error:
                for _, known in taken:
                    known.errback(error)
            else:
                for (_, known), answer in zip(taken, answers, strict=True):
                    known.callback(answer)
        self._busy = False
