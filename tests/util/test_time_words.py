"""Moments as people name them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.util.time_words import instant

NOW = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("words", "zone", "found"),
    [
        ("2h", "UTC", "2026-03-04T10:30:00+00:00"),
        ("90S", "UTC", "2026-03-04T12:28:30+00:00"),
        ("3d", "UTC", "2026-03-01T12:30:00+00:00"),
        ("1w", "UTC", "2026-02-25T12:30:00+00:00"),
        ("999999w", "UTC", "1926-03-29T12:30:00+00:00"),
        ("9999999w", "UTC", None),
        ("today", "UTC", "2026-03-04T00:00:00+00:00"),
        (" Yesterday ", "UTC", "2026-03-03T00:00:00+00:00"),
        ("today", "Europe/Berlin", "2026-03-03T23:00:00+00:00"),
        ("today", "Pacific/Auckland", "2026-03-04T11:00:00+00:00"),
        ("today", "America/New_York", "2026-03-04T05:00:00+00:00"),
        ("wednesday", "UTC", "2026-03-04T00:00:00+00:00"),
        ("Mon", "UTC", "2026-03-02T00:00:00+00:00"),
        ("thu", "UTC", "2026-02-26T00:00:00+00:00"),
        ("10:30", "UTC", "2026-03-04T10:30:00+00:00"),
        ("9:05", "Europe/Berlin", "2026-03-04T08:05:00+00:00"),
        ("23:00", "UTC", "2026-03-03T23:00:00+00:00"),
        ("2026-03-02", "UTC", "2026-03-02T00:00:00+00:00"),
        ("2026-07-01", "Europe/Berlin", "2026-06-30T22:00:00+00:00"),
        ("2026-03-02T10:00", "Europe/Berlin", "2026-03-02T09:00:00+00:00"),
        ("2026-03-02 10:00", "UTC", "2026-03-02T10:00:00+00:00"),
        ("2026-03-02T10:00:00.123Z", "Europe/Berlin", "2026-03-02T10:00:00.123000+00:00"),
        ("2026-03-02t10:00:00+02:00", "UTC", "2026-03-02T08:00:00+00:00"),
        *((words, "UTC", None) for words in ("", "h", "2", "2y", "-2h", "mo", "tomorrow", "25:00", "2026-02-30", "٢h")),
        *((words, "UTC", None) for words in ("2026-03-02T", "2026", "0000-01-01", "2026-03-02Tnoon", "10:60")),
        ("0001-01-01", "Asia/Tokyo", None),
    ],
)
def test_instants(words: str, zone: str, found: str | None) -> None:
    """A span, a day, a time of day or a date is a moment in the reader's zone; a time of day is the last one there was;
    anything else is none."""
    at = instant(words, NOW, zone)
    assert (at and at.isoformat()) == found


@given(st.text("0123456789:-+TZ. hdwyesrtoamn", max_size=24), st.sampled_from(["", "UTC", "Asia/Kolkata"]))
def test_anything(words: str, zone: str) -> None:
    """Whatever somebody types, it is a moment in UTC or none."""
    at = instant(words, NOW, zone)
    assert at is None or at.utcoffset() == NOW.utcoffset()
