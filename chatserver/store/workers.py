"""A pool of threads that grows to the number of concurrent calls."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

from twisted.python.failure import Failure

Task = tuple[Callable[[bool, Any], None], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Workers:
    """The part of a thread pool that `deferToThreadPool` needs.

    Twisted's own pool hands each call over in Python, which takes as long as many statements do; here a queue in C does
    it. A new thread starts only if all others are busy: a thread that has just run finds its data in the CPU's caches.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._threads: list[Thread] = []
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._under_way: list[None] = []  # one item for each call: `append` and `pop` are thread-safe, `+=` is not

    @property
    def busy(self) -> bool:
        """Whether a call is unfinished."""
        return bool(self._under_way)

    def callInThreadWithCallback(self, on_result: Any, work: Any, *args: Any, **kwargs: Any) -> None:
        """Runs `work` in a thread, then calls `on_result` there: with True and the result, or False and a Failure."""
        if len(self._threads) < min(len(self._under_way) + 1, self._most):
            # A daemon, so that it ends with the process if the database never answers.
            thread = Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._under_way.append(None)
        self._tasks.put((on_result, work, args, kwargs))

    def stop(self) -> None:
        """Finishes all calls, then ends the threads."""
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
            del task, on_result, work, args, kwargs, result  # keep nothing alive while waiting for the next call
