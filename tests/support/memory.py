"""Stand-ins for what needs threads: a store and a password hasher that answer when the test says so."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

Work = Callable[..., Any]


class MemoryStore:
    """Answers each function of the store with what `answers` has for it: a function of the same arguments, without the
    database connection. A function without an answer fails the test.

    `fail` makes the next calls of a function raise; `hold` keeps the next call waiting until `release`.
    """

    def __init__(self, answers: dict[Work, Work]) -> None:
        self.answers = answers
        self.calls: list[tuple[Work, tuple[Any, ...], dict[str, Any]]] = []
        self._failures: dict[Work, deque[Exception]] = {}
        self._gates: dict[Work, Deferred[None]] = {}
        self._waiting: dict[Work, Deferred[None]] = {}

    async def read(self, work: Work, *args: Any, **keywords: Any) -> Any:
        return await self._do(work, args, keywords)

    async def write(self, work: Work, *args: Any, **keywords: Any) -> Any:
        return await self._do(work, args, keywords)

    append = write

    async def _do(self, work: Work, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        assert work in self.answers, f"The test has no answer for {work.__module__}.{work.__name__}."
        self.calls.append((work, args, keywords))
        gate = self._gates.pop(work, None)
        if gate is None:
            return self._result(work, args, keywords)
        # Like a transaction, it sees the state at its start, and its result comes later.
        result, error = None, None
        try:
            result = self._result(work, args, keywords)
        except Exception as problem:
            error = problem
        self._waiting[work] = gate
        await gate
        if error is not None:
            raise error
        return result

    def _result(self, work: Work, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        failures = self._failures.get(work)
        if failures:
            raise failures.popleft()
        return self.answers[work](*args, **keywords)

    def called(self, work: Work) -> list[tuple[Any, ...]]:
        """The positional arguments of each call of a function so far."""
        return [args for called, args, _ in self.calls if called is work]

    def fail(self, work: Work, *errors: Exception) -> None:
        self._failures.setdefault(work, deque()).extend(errors)

    def hold(self, work: Work) -> None:
        self._gates[work] = Deferred()

    def waits(self, work: Work) -> bool:
        """Whether a call of this function is held."""
        return work in self._waiting

    def release(self, work: Work) -> None:
        self._waiting.pop(work).callback(None)


class MemoryHasher:
    """The hash of a password is the password between angle brackets. `gate`, where set, is awaited by every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str | None]] = []
        self.gate: Deferred[None] | None = None
        self.error: Exception | None = None

    async def hash(self, password: str) -> str:
        await self._compute("hash", password)
        return hash_of(password)

    async def verify(self, hash: str | None, password: str) -> bool:
        await self._compute("verify", hash)
        return hash == hash_of(password)

    async def _compute(self, what: str, about: str | None) -> None:
        self.calls.append((what, about))
        if self.gate is not None:
            await self.gate
        if self.error is not None:
            raise self.error


def hash_of(password: str) -> str:
    return f"<{password}>"


def outcome(work: Awaitable[Any]) -> Any:
    """The result of a coroutine that does not have to wait; raises its exceptions."""
    coroutine: Any = work
    results: list[Any] = []
    failures: list[BaseException] = []
    ensureDeferred(coroutine).addCallbacks(results.append, lambda failure: failures.append(failure.value))
    if failures:
        raise failures[0]
    assert results, "It still waits for something."
    return results[0]


@contextmanager
def logged_failures() -> Iterator[list[Exception]]:
    """Scope: the exceptions that are logged as failures within it."""
    found: list[Exception] = []

    def observe(event: LogEvent) -> None:
        failure = event.get("log_failure")
        if event["log_level"] is LogLevel.critical and failure is not None and not _is_garbage(failure.value):
            found.append(failure.value)

    with _observer(observe):
        yield found


def _is_garbage(error: BaseException) -> bool:
    """Whether it comes from what an earlier test has left unfinished, and the garbage collector ends in any order."""
    return isinstance(error, RuntimeError) and "already awaited coroutine" in str(error)


@contextmanager
def logged_warnings() -> Iterator[list[str]]:
    """Scope: the texts of the warnings that are logged within it."""
    with logged(LogLevel.warn) as found:
        yield found


@contextmanager
def logged(level: Any) -> Iterator[list[str]]:
    """Scope: the texts that are logged within it at this level."""
    found: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"] is level:
            found.append(formatEvent(event))

    with _observer(observe):
        yield found


@contextmanager
def _observer(observe: Callable[[LogEvent], None]) -> Iterator[None]:
    observer = implementer(ILogObserver)(observe)
    globalLogPublisher.addObserver(observer)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observer)
