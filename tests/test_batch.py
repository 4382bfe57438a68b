"""What each subscriber of a room is sent of a batch, and how often its entries are rendered for that."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver import events
from chatserver.delivery.batch import Batch
from chatserver.events import Entry, RoomFacts
from chatserver.mentions import mentions
from chatserver.session import Session, form_of
from chatserver.wire.dialect import PLAIN, Dialect, Form, Rendered
from chatserver.wire.jsonl import JsonLines
from chatserver.wire.text import Text

BOOKS = RoomFacts(1, "books")
AT = datetime(2026, 3, 2, 22, 0, tzinfo=UTC)
TODAY = AT.date()


class CountingText(Text):
    """Counts how often each entry is rendered."""

    def __init__(self) -> None:
        super().__init__(UTC)
        self.renders: Counter[int] = Counter()

    def entries(self, facts: RoomFacts, entries: Sequence[Entry], form: Form) -> Rendered:
        self.renders.update(entry.seq for entry in entries)
        return super().entries(facts, entries, form)


class CountingJson(JsonLines):
    def __init__(self) -> None:
        self.renders: Counter[int] = Counter()

    def entries(self, facts: RoomFacts, entries: Sequence[Entry], form: Form) -> Rendered:
        self.renders.update(entry.seq for entry in entries)
        return super().entries(facts, entries, form)


def session_of(dialect: Dialect, number: int, name: str, day: date | None) -> Session:
    session = Session(f"s{number}", "192.0.2.1", dialect)
    session.account_id, session.name, session.form = number, name, form_of(dialect, PLAIN, day)
    return session


def person(dialect: Text, number: int, name: str, day: date = TODAY) -> Session:
    return session_of(dialect, number, name, day)


def says(text: str, seq: int = 5, author: str = "bob", hours: int = 0) -> Entry:
    return Entry(seq, events.MESSAGE, 2, author, AT + timedelta(hours=hours), text)


def one_by_one(session: Session, entries: Sequence[Entry]) -> list[bytes]:
    """The bytes of each entry as the person has to see it, each rendered alone."""
    assert session.view is not None
    hidden, day, shown = session.view.hidden(BOOKS.id, entries), session.form.day, []
    for entry in entries:
        if entry.seq in hidden:
            shown.append(b"")
            continue
        marked = mentions(session.name, entry)
        form = Form(session.dialect, PLAIN, day, marked=marked)
        shown.append(session.dialect.entries(BOOKS, [entry], form).data)
        day = session.dialect.day(entry.at)
    return shown


@given(
    st.lists(st.tuples(st.sampled_from(["hi", "ana?", "ana and cai", "@cai"]), st.integers(0, 30)), min_size=1),
    st.sets(st.integers(0, 5)),
    st.sampled_from(["ana", "cai", "bob", "dan"]),
    st.sampled_from([TODAY, TODAY + timedelta(days=1)]),
)
def test_what_a_person_is_sent(said: list[tuple[str, int]], known: set[int], name: str, day: date) -> None:
    """Entries that mention a person are marked for them, what they know already is left out, and the date stands above
    the first entry of its day that they see: exactly as if everything were rendered for them alone."""
    times = sorted(hours for _, hours in said)
    log = [says(text, seq, hours=hours) for seq, ((text, _), hours) in enumerate(zip(said, times, strict=True), 5)]
    session = person(Text(UTC), 9, name, day)
    assert session.view is not None
    session.view.suppress(BOOKS.id, [entry for entry in log if entry.seq - 5 in known])
    rendered = Batch(BOOKS, log).rendered_for(session)
    pieces = one_by_one(session, log)
    assert rendered.data == b"".join(pieces)
    assert [rendered.data[:end] for end in rendered.ends] == [b"".join(pieces[: n + 1]) for n in range(len(pieces))]


@pytest.mark.parametrize("messages", [1, 40])
def test_each_form_is_rendered_once(messages: int) -> None:
    """Whoever is mentioned, and by whichever messages of a batch: an entry is rendered once with the mark and once
    without it, for a room of any size."""
    dialect = CountingText()
    people = [person(dialect, number, f"user{number}") for number in range(10, 210)]
    everybody = " ".join(session.name for session in people)
    # Each person is mentioned by other messages than the next one.
    texts = [everybody] if messages == 1 else [everybody[number * 7 :] for number in range(messages)]
    batch = Batch(BOOKS, [says(text, seq) for seq, text in enumerate(texts, 5)])
    outsider = person(dialect, 9, "zoe")
    sent = {batch.rendered_for(session).data for session in [*people, outsider]}
    assert len(sent) > 1
    assert set(dialect.renders.values()) == {2}
    assert batch.rendered_for(people[-1]).data.count("» ".encode()) == messages
    assert "»" not in batch.rendered_for(outsider).data.decode()


def test_those_who_typed_are_no_form_of_their_own() -> None:
    """Neither is an entry rendered again for each of those who typed something in this batch."""
    dialect = CountingText()
    people = [person(dialect, number, f"user{number}") for number in range(10, 60)]
    log = [says("hi", seq, session.name) for seq, session in enumerate(people, 5)]
    for session, entry in zip(people, log, strict=True):
        assert session.view is not None
        session.view.suppress(BOOKS.id, [entry])
    batch = Batch(BOOKS, log)
    sent: list[Any] = [batch.rendered_for(session).data for session in people]
    assert [data.count(b"\r\n") for data in sent] == [len(log) - 1] * len(people)
    assert set(dialect.renders.values()) == {1}


@pytest.mark.parametrize("messages", [1, 3, 60])
def test_only_its_sender_sees_an_id(messages: int) -> None:
    """A program is shown the ids of its own messages. In a large batch only these are rendered for it alone."""
    dialect = CountingJson()
    programs = [session_of(dialect, number, f"user{number}", None) for number in range(10, 10 + messages // 2 + 1)]
    log = [
        Entry(seq, events.MESSAGE, author.account_id, author.name, AT, "hi", f"id-{seq}")
        for seq, author in enumerate((programs * 2)[:messages], 5)
    ]
    batch = Batch(BOOKS, log)
    outsider = session_of(dialect, 9, "zoe", None)
    for session in [*programs, outsider]:
        rendered = batch.rendered_for(session)
        read = [json.loads(rendered.data[start:end]) for start, end in pairwise([0, *rendered.ends])]
        assert [message["seq"] for message in read] == [entry.seq for entry in log]
        assert [message.get("id") for message in read] == [
            entry.client_id if entry.author_id == session.account_id else None for entry in log
        ]
    assert max(dialect.renders.values()) == 2 or messages < 10
