"""Threads that do one thing after another, as many as there are things to be done at a time."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

from twisted.python.failure import Failure

Task = tuple[Callable[[bool, Any], None], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Workers:
    """Has what `deferToThreadPool` needs of a pool.

    Twisted's own passes each call on in Python, which takes as long as many a statement; here a queue in C does. There
    is another thread only where the others are busy: one that has just worked finds its data in the processor's caches.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._threads: list[Thread] = []
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._under_way: list[None] = []  # one for each: `append` and `pop` are safe between threads, `+=` is not

    @property
    def busy(self) -> bool:
        """Whether something is still to be done."""
        return bool(self._under_way)

    def callInThreadWithCallback(self, on_result: Any, work: Any, *args: Any, **kwargs: Any) -> None:
        """Calls `on_result`, in the same thread, with True and what `work` gives, or with False and the Failure."""
        if len(self._threads) < min(len(self._under_way) + 1, self._most):
            # A daemon: where the database never answers, it ends with the process.
            thread = Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._under_way.append(None)
        self._tasks.put((on_result, work, args, kwargs))

    def stop(self) -> None:
        """Ends the threads, once all is done."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            on_result, work, args, kwargs = task
            try:
                result, well = work(*args, **kwargs), True
            except BaseException:
                result, well = Failure(), False
            self._under_way.pop()
            on_result(well, result)
            del task, on_result, work, args, kwargs, result  # while it waits for the next, it keeps nothing alive
