"""Password hashing: argon2id (RFC 9106) in a small pool of threads of its own, behind a fair queue."""

import os
import sys
from collections.abc import Callable
from threading import get_native_id, local
from typing import Any, Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from chatserver.settings.tables import Passwords
from chatserver.values.errors import Refused, Why

T = TypeVar("T")

FULL: Final = Refused(Why.TOO_MANY_LOGINS, retry=5)
"""Refusal for a full queue: 1,024 passwords take about twice as long on two cores."""

NICENESS: Final = 10
"""Default niceness of the threads that compute hashes: the reactor's thread gets a core before them."""


def hash_with(settings: Passwords, password: str) -> str:
    """A password's hash, computed in this thread: blocks for as long as it takes. Raises argon2's HashingError if these
    settings cannot be used."""
    hasher = PasswordHasher(
        time_cost=settings.time_cost, memory_cost=settings.memory_kib, parallelism=settings.parallelism
    )
    return hasher.hash(password)


def hash_nobody(settings: Passwords) -> str:
    """The hash to compare with for an unknown name, so that it takes as long as a known one."""
    return hash_with(settings, "nobody has this password")


def check_length(settings: Passwords, password: str) -> None:
    """Raises Refused for a password that is too short."""
    least = settings.min_length
    if len(password) < least:
        raise Refused(Why.PASSWORD_TOO_SHORT, least=least)


class HashPlaces:
    """Room for passwords that are being hashed, or wait."""

    def __init__(self, settings: Passwords) -> None:
        self._settings = settings

    @property
    def slots(self) -> int:
        """One more than the number of threads, so that none waits for the reactor."""
        return self._settings.threads + 1

    @property
    def most(self) -> int:
        return self._settings.queue


class Hasher:
    def __init__(self, reactor: Any, settings: Passwords) -> None:
        self._settings = settings
        self._verifier = PasswordHasher()  # a hash has its parameters in it
        self._reactor = reactor
        self._pool = ThreadPool(1, settings.threads, "passwords")
        self._thread = local()
        self._nobody = ""  # until it is computed

    def start(self) -> None:
        self._pool.start()
        self._pool.callInThread(self._politely, self._stand_in)  # nothing waits for it, unless somebody is fast

    def stop(self) -> None:
        self._pool.stop()

    def follow(self, nobody: str) -> None:
        """Call this when the settings have changed. `nobody`: the new result of `hash_nobody`."""
        self._nobody = nobody
        self._pool.adjustPoolsize(maxthreads=self._settings.threads)

    async def hash(self, password: str) -> str:
        return await self._in_thread(hash_with, self._settings, password)

    async def verify(self, hash: str | None, password: str) -> bool:
        """Whether the password matches the hash. None takes as long, and never matches."""
        return await self._in_thread(self._verify, hash, password)

    def _verify(self, hash: str | None, password: str) -> bool:
        try:
            self._verifier.verify(hash or self._stand_in(), password)
        except (VerificationError, InvalidHashError):
            return False
        return bool(hash)

    def _stand_in(self) -> str:
        """See `hash_nobody`."""
        self._nobody = self._nobody or hash_nobody(self._settings)
        return self._nobody

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        return await deferToThreadPool(self._reactor, self._pool, self._politely, work, *args)

    def _politely(self, work: Callable[..., T], *args: Any) -> T:
        if not getattr(self._thread, "is_nice", False):
            self._thread.is_nice = True
            if sys.platform == "linux":  # where a thread has a niceness of its own (setpriority(2))
                os.setpriority(os.PRIO_PROCESS, get_native_id(), NICENESS)
        return work(*args)
