"""Words for moments, such as `yesterday` or `2h`, and the instants that they mean."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from chatserver.util import time_zones

PROGRAM_ZONE: Final = "UTC"
"""Default time zone for programs."""
EXAMPLES: Final = "today, yesterday, monday, 2h, 3d, 10:30, 2026-03-02 or 2026-03-02T10:30:00Z"

DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
LEAST_LETTERS: Final = 3
"""Minimum number of letters of a day's name: `mon`."""
LONGEST: Final = timedelta(days=36_500)

_SPAN = re.compile(r"([0-9]{1,6})(s|m|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})")
_STAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ Tt].*)?")


def instant(words: str, now: datetime, zone: str = "") -> datetime | None:
    """The last moment before `now` that the words name, or an RFC 3339 time; None if they name none.

    Days begin at midnight in `zone`, the IANA name of a time zone ("": the server's own). Times without a zone are in
    it, too.
    """
    typed = words.strip().lower()
    where = time_zones.zone(zone)
    try:
        return _span(typed, now) or _day(typed, now, where) or _stamp(typed, where)
    except (ValueError, OverflowError):  # 2026-02-30, 25:00, the year 1
        return None


def _span(typed: str, now: datetime) -> datetime | None:
    found = _SPAN.fullmatch(typed)
    return None if found is None else now - min(timedelta(**{_UNITS[found[2]]: int(found[1])}), LONGEST)


def _day(typed: str, now: datetime, where: tzinfo | None) -> datetime | None:
    today = now.astimezone(where).date()
    if typed == "today":
        return _at(today, time(), where)
    if typed == "yesterday":
        return _at(today - timedelta(days=1), time(), where)
    if clock := _CLOCK.fullmatch(typed):
        at = time(int(clock[1]), int(clock[2]))
        passed = _at(today, at, where)
        return passed if passed <= now else _at(today - timedelta(days=1), at, where)
    if len(typed) >= LEAST_LETTERS:
        for index, day in enumerate(DAYS):
            if day.startswith(typed):
                return _at(today - timedelta(days=(today.weekday() - index) % 7), time(), where)
    return None


def _stamp(typed: str, where: tzinfo | None) -> datetime | None:
    if not _STAMP.fullmatch(typed):
        return None
    at = datetime.fromisoformat(typed.upper())
    return at.astimezone(UTC) if at.tzinfo is not None else _at(at.date(), at.time(), where)


def _at(day: date, at: time, where: tzinfo | None) -> datetime:
    return datetime.combine(day, at, tzinfo=where).astimezone(UTC)
