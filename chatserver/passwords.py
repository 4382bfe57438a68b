"""Password hashing: argon2id (RFC 9106) in a small pool of its own, with a bounded queue."""

from collections.abc import Callable
from typing import Any, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from chatserver.errors import ErrorWord, Refused

T = TypeVar("T")


def hash_now(password: str, *, memory_kib: int, time_cost: int, parallelism: int) -> str:
    """A password's hash, for who has no reactor: blocks for as long as it takes."""
    return PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism).hash(password)


class Hasher:
    """Raises Refused(slow-down) where too many wait already."""

    def __init__(
        self, reactor: Any, *, memory_kib: int, time_cost: int, parallelism: int, threads: int, queue: int
    ) -> None:
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism)
        self._reactor = reactor
        self._pool = ThreadPool(1, threads, "passwords")
        self._most = queue + threads
        self._waiting = 0
        # What an unknown name's password is compared with, so that it costs the same time as a known one's.
        self._nobody = self._hasher.hash("nobody has this password")

    def start(self) -> None:
        self._pool.start()

    def stop(self) -> None:
        self._pool.stop()

    async def hash(self, password: str) -> str:
        return await self._in_thread(self._hasher.hash, password)

    async def verify(self, hash: str | None, password: str) -> bool:
        """Whether the password is the one of that hash; None, for nobody's, takes as long and is never right."""
        return await self._in_thread(self._verify, hash, password)

    def _verify(self, hash: str | None, password: str) -> bool:
        try:
            self._hasher.verify(hash or self._nobody, password)
        except (VerificationError, InvalidHashError):
            return False
        return bool(hash)

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        if self._waiting >= self._most:
            raise Refused(ErrorWord.SLOW_DOWN, "Too many people are logging in just now. Try again in a moment.")
        self._waiting += 1
        try:
            return await deferToThreadPool(self._reactor, self._pool, work, *args)
        finally:
            self._waiting -= 1
