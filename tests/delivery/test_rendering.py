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
from msgspec import structs

from chatserver.delivery.rendering import Batch
from chatserver.session.session import Identity, Session, form_of
from chatserver.values import events
from chatserver.values.events import Entry, RoomFacts
from chatserver.values.mentions import mentions
from chatserver.wire.dialect import PLAIN, Dialect, Form, Rendered
from chatserver.wire.jsonl import JsonLines
from chatserver.wire.screen import Screen
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
    session.who, session.form = Identity(number, name), form_of(dialect, PLAIN, day)
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
        marked = mentions(session.who.name, entry)
        aside = session.current not in ("", BOOKS.name)
        screen = (
            session.screen if entry.author_id != session.who.account_id else structs.replace(session.screen, bell="off")
        )
        form = Form(session.dialect, PLAIN, day, marked=marked, aside=aside, screen=screen)
        shown.append(session.dialect.entries(BOOKS, [entry], form).data)
        day = session.dialect.day(entry.at)
    return shown


@given(
    st.lists(st.tuples(st.sampled_from(["hi", "ana?", "ana and cai", "@cai"]), st.integers(0, 30)), min_size=1),
    st.sets(st.integers(0, 5)),
    st.sampled_from(["ana", "cai", "bob", "dan"]),
    st.sampled_from([TODAY, TODAY + timedelta(days=1)]),
    st.builds(Screen, st.sampled_from([0, 40]), bell=st.sampled_from(["off", "off", "on", "mentions"])),
    st.sampled_from([2, 9]),
    st.sampled_from(["", "books", "general"]),
)
def test_what_a_person_is_sent(
    said: list[tuple[str, int]], known: set[int], name: str, day: date, screen: Screen, number: int, current: str
) -> None:
    """Entries that mention a person are marked for them, what they know already is left out, the bell rings for what
    others said, and the date stands above the first entry of its day that they see: exactly as if everything were
    rendered for them alone."""
    times = sorted(hours for _, hours in said)
    log = [says(text, seq, hours=hours) for seq, ((text, _), hours) in enumerate(zip(said, times, strict=True), 5)]
    session = person(Text(UTC), number, name, day)
    session.form = form_of(session.dialect, PLAIN, day, screen)
    assert session.view is not None
    session.view.current = current
    session.view.suppress(BOOKS.id, [entry for entry in log if entry.seq - 5 in known])
    rendered = Batch(BOOKS, log).rendered_for(session)
    pieces = one_by_one(session, log)
    assert rendered.data == b"".join(pieces)
    assert [rendered.data[:end] for end in rendered.ends] == [b"".join(pieces[: n + 1]) for n in range(len(pieces))]


@pytest.mark.parametrize("messages", [1, 40])
def test_each_form_is_rendered_once(messages: int) -> None:
    """Whatever the mentions in a batch, an entry is rendered once with the mark and once without it, for a room of any
    size."""
    dialect = CountingText()
    people = [person(dialect, number, f"user{number}") for number in range(10, 210)]
    everybody = " ".join(session.who.name for session in people)
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
    log = [says("hi", seq, session.who.name) for seq, session in enumerate(people, 5)]
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
        Entry(seq, events.MESSAGE, author.who.account_id, author.who.name, AT, "hi", f"id-{seq}")
        for seq, author in enumerate((programs * 2)[:messages], 5)
    ]
    batch = Batch(BOOKS, log)
    outsider = session_of(dialect, 9, "zoe", None)
    for session in [*programs, outsider]:
        rendered = batch.rendered_for(session)
        read = [json.loads(rendered.data[start:end]) for start, end in pairwise([0, *rendered.ends])]
        assert [message["seq"] for message in read] == [entry.seq for entry in log]
        assert [message.get("id") for message in read] == [
            entry.client_id if entry.author_id == session.who.account_id else None for entry in log
        ]
    assert max(dialect.renders.values()) == 2 or messages < 10


def test_another_room_than_the_one_looked_at() -> None:
    """Entries of the room that a person looks at stand behind brackets, those of their other rooms behind parentheses,
    and neither form is rendered more than once."""
    dialect = CountingText()
    people = [person(dialect, number, f"user{number}") for number in range(10, 60)]
    for session, current in zip(people, ["books", "general", "@bob", "", "books"] * 10, strict=True):
        assert session.view is not None
        session.view.current = current
    batch = Batch(BOOKS, [says("hi")])
    shown = [batch.rendered_for(session).data.decode() for session in people[:5]]
    assert [line[0] for line in shown] == ["[", "(", "(", "[", "["]
    assert {line[1:] for line in shown} == {"books] 22:00 bob: hi\r\n", "books) 22:00 bob: hi\r\n"}
    for session in people:
        batch.rendered_for(session)
    assert dialect.renders == {5: 2}


def test_who_hears_a_bell() -> None:
    """A bell rings for those who want it: for all that others say, or where they are mentioned and in direct rooms; and
    never for what they said themselves."""
    direct = RoomFacts(2, "1:2", events.DIRECT, ((2, "bob"), (9, "ana")))

    def rings(bell: Any, number: int, name: str, *texts: str, room: RoomFacts = BOOKS) -> list[bool]:
        session = person(Text(UTC), number, name)
        session.form = form_of(session.dialect, PLAIN, TODAY, Screen(bell=bell))
        rendered = Batch(room, [says(text, seq) for seq, text in enumerate(texts, 5)]).rendered_for(session)
        lines = [rendered.data[start:end] for start, end in pairwise([0, *rendered.ends])]
        assert all(line.count(b"\a") == line.endswith(b"\a\r\n") for line in lines)
        return [b"\a" in line for line in lines]

    assert rings("off", 9, "ana", "hi", "ana?") == [False, False]
    assert rings("on", 9, "ana", "hi", "ana?") == [True, True]
    assert rings("mentions", 9, "ana", "hi", "ana?") == [False, True]
    assert rings("mentions", 9, "ana", "hi", room=direct) == [True]
    for bell in ("on", "mentions"):
        assert rings(bell, 2, "bob", "hi", "ana?") == [False, False]
        assert rings(bell, 2, "bob", "hi", room=direct) == [False]
