"""A pool of threads that grows to the number of concurrent calls, and replaces threads that do not come back."""

from queue import SimpleQueue
from threading import Thread, get_ident
from time import perf_counter
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chatserver.store.db.transactions import cut


class Run(Protocol):
    """How a call is run in its thread: in a transaction, as one statement, or without a connection."""

    def __call__(self, work: Any, /) -> Any: ...


class Call:
    """Work for a thread, and the Deferred of its result.

    `over`: its caller has been answered, so that its result goes nowhere. `what`: the function of the store that `work`
    calls.
    """

    __slots__ = ("answer", "over", "run", "seconds", "thread", "until", "what", "work")

    def __init__(self, run: Run, work: Any, what: Any = None) -> None:
        self.run = run
        self.work = work
        self.what = what or work
        self.seconds = 0.0  # that it took in its thread
        self.until = 0.0  # its deadline, by the clock of the reactor
        self.answer: Deferred[Any] = Deferred()
        self.over = False
        self.thread = 0  # the id of the thread that has begun it


class Caller(Protocol):
    """The part that submits calls."""

    def finished(self, call: Call, well: bool, result: Any) -> None:
        """Called in the thread after each call: with True and the result, or with False and a Failure."""


class Workers:
    """Runs calls of `caller` in at most `most` threads.

    Twisted's own pool hands each call over in Python, which takes as long as many statements do; here a queue in C does
    it. A new thread starts only if all others are busy: a thread that has just run finds its data in the CPU's caches.
    """

    def __init__(self, most: int, name: str, caller: Caller) -> None:
        self._most = most
        self.name = name
        self._caller = caller
        self._started = 0
        self._threads: dict[int, Thread] = {}
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        # Setting and popping an item are thread-safe: the thread that pops a call from `_queued` decides whether
        # it begins.
        self._queued: dict[Call, bool] = {}
        self._under_way: dict[Call, bool] = {}
        self._abandoned: set[int] = set()

    @property
    def busy(self) -> bool:
        """Whether a call is unfinished. Abandoned calls do not count."""
        return bool(self._under_way)

    def submit(self, call: Call) -> None:
        """Runs `call.run(call.work)` in a thread."""
        self._under_way[call] = self._queued[call] = True
        if len(self._threads) < min(len(self._under_way), self._most):
            self._start()
        self._calls.put(call)

    def abandon(self, call: Call) -> None:
        """Gives up a call that takes too long.

        If a thread has begun it, another thread takes its place at once. The connection that it uses is cut, and the
        thread ends when the call returns.
        """
        unfinished = self._under_way.pop(call, False)
        begun = not self._queued.pop(call, False)
        if unfinished and begun and self._threads.pop(call.thread, None) is not None:
            self._abandoned.add(call.thread)
            cut(call.thread)
            if len(self._threads) < len(self._under_way):
                self._start()

    def stop(self) -> None:
        """Finishes all calls, then ends the threads."""
        threads = list(self._threads.values())
        self._calls.put(None)
        for thread in threads:
            thread.join()

    def _start(self) -> None:
        # A daemon, so that it ends with the process if the database never answers.
        thread = Thread(target=self._work, name=f"{self.name}-{self._started}", daemon=True)
        self._started += 1
        thread.start()
        assert thread.ident is not None
        self._threads[thread.ident] = thread

    def _work(self) -> None:
        me = get_ident()
        while (call := self._calls.get()) is not None:
            call.thread = me
            if self._queued.pop(call, False):
                began = perf_counter()
                try:
                    result, well = call.run(call.work), True
                except BaseException:
                    result, well = Failure(), False
                call.seconds = perf_counter() - began
                self._under_way.pop(call, False)
                self._caller.finished(call, well, result)
                del result
            if me in self._abandoned:
                self._abandoned.discard(me)
                return
            del call  # keep nothing alive while waiting for the next one
        self._calls.put(None)  # for the next thread
