"""Times: wall clock, monotonic clock, RFC 3339. Entries are stamped by `clock.py`, which never goes backwards."""

import time
from datetime import UTC, datetime
from functools import lru_cache


def now() -> datetime:
    """The wall clock's time in UTC, in whole milliseconds, as it is stored and shown."""
    return whole_milliseconds(datetime.now(UTC))


def unix_now() -> float:
    """The wall clock's time in seconds since 1970, for logs and monitoring."""
    return time.time()


def awake_seconds() -> float:
    """A monotonic clock that, unlike `time.monotonic`, also counts the time for which the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def whole_milliseconds(at: datetime) -> datetime:
    """The time without its microseconds."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


@lru_cache(maxsize=1024)  # the entries of one transaction share one time
def rfc3339(at: datetime) -> str:
    """Formats a time as UTC with milliseconds: 2026-03-02T10:02:00.123Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> datetime | None:
    """Parses a time; returns None if the text is no time with a zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
