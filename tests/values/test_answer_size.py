"""The sizes by which answers are cut are never smaller than what either dialect sends."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.values import answers
from chatserver.values.answer_size import (
    FRAME_BYTES,
    WHOLE,
    Portion,
    ban_size,
    entry_size,
    found_size,
    invited_size,
    member_size,
    removed_size,
    room_size,
    status_size,
    user_size,
)
from chatserver.values.events import EDITED, MESSAGE, MUTED, REACTED, SET, TOPIC, Entry, Invited, Quote, RoomFacts
from chatserver.wire.dialect import Asked
from chatserver.wire.dialects import DIALECTS

AT: Final = datetime(2026, 12, 30, 23, 59, 59, 999000, tzinfo=UTC)
SEQ: Final = 2**53
ROOM: Final = RoomFacts(1, "r" * 64)
CHARACTERS: Final = st.sampled_from('a \\"\n日é🙂\u0301-')
TEXTS: Final = st.one_of(
    st.text(CHARACTERS, max_size=60),
    st.builds(lambda char, count: char * count, CHARACTERS, st.integers(1, 4096)),
    st.builds(lambda word, count: f"{word} " * count, st.text(CHARACTERS, max_size=30), st.integers(1, 150)),
)
LINES: Final = TEXTS.map(lambda text: text.replace("\n", " ")[:500])
NAMES: Final = st.integers(1, 32).map(lambda length: "n" * length)
KINDS: Final = st.sampled_from([MESSAGE, TOPIC, EDITED, MUTED, SET, REACTED])


def entry(kind: Any, name: str, text: str, *, plain: bool) -> Entry:
    said = {MUTED: "2026-12-30T23:59:59.999Z", SET: "past=closed,invites=moderators,pace=3600"}.get(kind, text)
    if plain:
        return Entry(SEQ, kind, 1, name, AT, said, '"' * 64, 2, name, SEQ, "edited" if kind == MESSAGE else "")
    reactions = tuple((f"{number}{text[:20]}", SEQ) for number in range(20)) if kind == MESSAGE else ()
    quote = Quote(name, text[:48], " ".join(text.split())[:120]) if kind == MESSAGE else None
    return Entry(
        SEQ, kind, 1, name, AT, said, '"' * 64, 2, name, SEQ, "edited" if kind == MESSAGE else "", text[:48] or "é",
        True, reactions, quote,
    )  # fmt: skip


ENTRIES: Final = st.builds(entry, KINDS, NAMES, TEXTS, plain=st.booleans())

KINDS_OF_ANSWERS: Final[dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], int], Callable[[list[Any]], Any]]]] = {
    "log": (ENTRIES, lambda one: entry_size(ROOM.name, one), lambda some: answers.Log(ROOM, some, True)),
    "found": (ENTRIES.map(lambda one: (ROOM, one)), found_size(1), lambda some: answers.Found(some, True, SEQ)),
    "rooms": (
        st.builds(answers.RoomLine, NAMES, LINES, st.just(20_000), st.just(SEQ), st.just("moderator")),
        room_size,
        lambda some: answers.RoomList(some, True),
    ),
    "unread": (
        st.builds(
            answers.RoomStatus,
            NAMES,
            st.just(SEQ),
            st.just(1),
            st.just("moderator"),
            st.sampled_from([None, answers.Gap(2, SEQ)]),
        ),
        status_size,
        lambda some: answers.UnreadList(some, True),
    ),
    "members": (
        st.builds(answers.MemberLine, NAMES, st.just("moderator"), st.booleans()),
        member_size,
        lambda some: answers.MemberList(ROOM.name, some, 20_000, False),
    ),
    "users": (
        st.builds(answers.UserLine, NAMES, st.just(True), st.just(AT), LINES.map(lambda text: text[:200])),
        user_size,
        lambda some: answers.UserList(some, True),
    ),
    "bans": (
        st.builds(answers.BanLine, NAMES, st.none(), st.just(AT), NAMES, LINES),
        ban_size,
        lambda some: answers.BanList(some, ROOM.name, SEQ),
    ),
    "removed": (
        st.tuples(NAMES, st.just(SEQ)),
        removed_size,
        lambda some: answers.Found([], False, removed=dict(some)),
    ),
    "invitations": (
        st.builds(Invited, NAMES, NAMES),
        invited_size,
        lambda some: answers.Welcome("n" * 32, [], invitations=some),
    ),
}


@pytest.mark.parametrize("kind", KINDS_OF_ANSWERS)
@given(data=st.data())
def test_upper_bounds(kind: str, data: st.DataObject) -> None:
    """An answer has at most the bytes of its frame and those reckoned for its items."""
    items, size, answer = KINDS_OF_ANSWERS[kind]
    some = data.draw(st.lists(items, min_size=1, max_size=12))
    most = FRAME_BYTES + sum(map(size, some))
    for dialect in DIALECTS:
        assert len(dialect.answer(Asked('"' * 64, 1, "n" * 32), answer(some))) <= most, dialect.name


@given(st.lists(st.integers(1, 50)), st.integers(1, 3000))
def test_cutting(sizes: Sequence[int], limit: int) -> None:
    """As many items as fit are taken, and at least one, from the beginning or the end, out of what is left."""
    for take in ("head", "tail"):
        taken = getattr(Portion(limit), take)(sizes, int)
        assert taken == (sizes[: len(taken)] if take == "head" else sizes[len(sizes) - len(taken) :])
        room = limit - FRAME_BYTES
        assert len(taken) == min(1, len(sizes)) or sum(taken) <= room
        if len(taken) < len(sizes):
            left = sizes[len(taken)] if take == "head" else sizes[-len(taken) - 1]
            assert sum(taken) + left > room
    assert WHOLE.head(sizes, int) == WHOLE.tail(sizes, int) == sizes


def test_sharing() -> None:
    """Several lists of one answer share its limit."""
    portion = Portion(FRAME_BYTES + 10)
    assert portion.head([6, 6], int) == [6]
    assert portion.head([4, 1], int) == [4]
    assert portion.head([3, 3], int) == [3]
