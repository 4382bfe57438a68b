"""Entries as bytes, in both dialects: where each one ends."""

from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from chatserver.values import events
from chatserver.wire.dialect import PLAIN, Form, Rendered
from chatserver.wire.jsonl import JSONL
from chatserver.wire.text import Text
from tests.wire.values import HOSTILE, values

UTC_TEXT = Text(UTC)
BOOKS = events.RoomFacts(1, "books")
DIRECT = events.RoomFacts(2, "1:2", events.DIRECT, ((1, "ana"), (2, "Bob")))
LOGS = st.lists(values(events.Entry, st.one_of(HOSTILE.filter(lambda text: "\ud800" not in text), st.just("ana? "))))


def numbered(entries: list[events.Entry]) -> list[events.Entry]:
    return [structs.replace(entry, seq=seq) for seq, entry in enumerate(entries, 5)]


def exact(rendered: Rendered, alone: list[bytes]) -> None:
    """`alone`: what each entry should be."""
    count = len(alone)
    assert len(rendered.ends) == count
    for index in range(count):
        assert rendered.data[: rendered.ends[index]] == b"".join(alone[: index + 1])
    assert rendered.data == b"".join(alone)
    for sent in range(len(rendered.data) + 1):
        whole = rendered.whole(sent)
        assert len(b"".join(alone[:whole])) <= sent
        assert whole == count or len(b"".join(alone[: whole + 1])) > sent


@given(LOGS.map(numbered), st.sampled_from([BOOKS, DIRECT]), st.integers(0, 2))
def test_ends_for_programs(entries: list[events.Entry], facts: events.RoomFacts, viewer: int) -> None:
    """Wherever the bytes of a batch are cut, its ends say how many entries are whole."""
    form = Form(JSONL, PLAIN, viewer=viewer)
    exact(
        JSONL.entries(facts, entries, form),
        [JSONL.entries(facts, [entry], form).data for entry in entries],
    )


@given(
    LOGS.map(numbered), st.sampled_from([BOOKS, DIRECT]), st.integers(0, 2), st.booleans(),
    st.one_of(st.none(), st.dates()),
)  # fmt: skip
def test_ends_for_people(
    entries: list[events.Entry], facts: events.RoomFacts, viewer: int, marked: bool, day: date | None
) -> None:
    """The same for people: a date line belongs to the entry below it."""
    form = Form(UTC_TEXT, PLAIN, day, viewer, marked)
    alone, before = [], day
    for entry in entries:
        shown = UTC_TEXT.entries(facts, [entry], structs.replace(form, day=before)).data
        gap = entry.kind == events.GAP
        assert shown.startswith(b"* ") == (gap or entry.at.date() != before)
        assert (" » " in shown.decode()) >= (marked and not gap)
        alone.append(shown)
        before = entry.at.date()
    rendered = UTC_TEXT.entries(facts, entries, form)
    exact(rendered, alone)
    assert UTC_TEXT.entries(facts, entries, form) == rendered
    assert form == Form(UTC_TEXT, PLAIN, day, viewer, marked)


def test_dates() -> None:
    """The date stands above the first entry of a day, unless that day was the last one shown."""
    days = [datetime(2026, 3, day, 10, tzinfo=UTC) for day in (2, 2, 3)]
    entries = [events.Entry(seq, events.MESSAGE, 2, "Bob", at, str(seq)) for seq, at in enumerate(days, 1)]
    form = Form(UTC_TEXT, PLAIN, date(2026, 3, 2))
    rendered = UTC_TEXT.entries(BOOKS, entries, form)
    assert rendered.data.decode().splitlines() == [
        "[books] 10:00 Bob: 1",
        "[books] 10:00 Bob: 2",
        "* Tuesday 3 March 2026",
        "[books] 10:00 Bob: 3",
    ]
    assert rendered.ends == (22, 44, 90)
    assert UTC_TEXT.entries(BOOKS, entries[:1], structs.replace(form, day=None)).data.decode() == (
        "* Monday 2 March 2026\r\n[books] 10:00 Bob: 1\r\n"
    )
    assert UTC_TEXT.entries(BOOKS, [], form) == JSONL.entries(BOOKS, [], form) == Rendered(b"", ())
