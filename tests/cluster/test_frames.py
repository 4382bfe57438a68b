"""The format of frames between nodes."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.cluster import frames
from chatserver.values.events import MESSAGE, OWN_ID, Entry, Invited, Presence, Quote, ReadMark, RoomFacts

ROOMS = [RoomFacts(7, "general"), RoomFacts(2**62, "@1:2", "direct", ((1, "Ana"), (2, "bob")))]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
TIMES = st.integers(0, 2**42).map(lambda at: frames.EPOCH + at * frames.MILLISECOND)
QUOTES = st.none() | st.builds(Quote, TEXTS, TEXTS, TEXTS, st.integers(0, 2**62), st.booleans())
MESSAGES = st.builds(
    lambda **fields: Entry(kind=MESSAGE, **fields), seq=st.just(1), author_id=st.integers(1, 2**62), author=TEXTS,
    at=TIMES, text=TEXTS, client_id=st.none() | TEXTS | TEXTS.map(OWN_ID.__add__), of=st.integers(0, 2**62),
    display=TEXTS, bot=st.booleans(), quote=QUOTES,
)  # fmt: skip
OTHERS = st.builds(
    Entry, seq=st.just(1), kind=st.sampled_from(["joined", "kicked", "renamed", "reacted", "set"]),
    author_id=st.integers(0, 2**62), author=TEXTS, at=TIMES, text=TEXTS, target_id=st.integers(0, 2**62), target=TEXTS,
    of=st.integers(0, 2**62), display=TEXTS, bot=st.booleans(), quote=QUOTES,
)  # fmt: skip


def numbered(entries: list[Entry]) -> list[Entry]:
    return [msgspec.structs.replace(entry, seq=seq) for seq, entry in enumerate(entries, 41)]


def sent(parts: list[bytes]) -> list[frames.Frame]:
    """The frames of these parts, as they are received."""
    packed = frames.packed_into_frames(parts)
    data = [frames.framed("b" * 32, frames.ALL, number, some) for number, some in enumerate(packed, 1)]
    assert all(len(one) <= frames.MOST_BYTES and b"\0" not in one for one in data)
    return [frames.decode(one) for one in data]


@given(st.sampled_from(ROOMS), st.lists(MESSAGES | OTHERS, min_size=1, max_size=40).map(numbered))
def test_entries_arrive_as_they_were(facts: RoomFacts, entries: list[Entry]) -> None:
    """Entries of a room come out of frames as they were put in, in their order; one that is too large for a frame is
    told by its number."""
    got: list[Entry | int] = []
    for frame in sent(list(frames.encode_entries(facts, entries))):
        for part in frame.parts:
            if isinstance(part, frames.Head):
                assert part.room_id == facts.id
                got.append(part.seq)
            else:
                assert isinstance(part, frames.Entries)
                assert part.facts == facts
                got += [frames.unpacked(packed) for packed in part.entries]
    assert [one if isinstance(one, int) else one.seq for one in got] == [entry.seq for entry in entries]
    assert all(isinstance(one, int) or one == entry for one, entry in zip(got, entries, strict=True))
    assert sum(isinstance(one, int) for one in got) == sum(len(msgspec.json.encode(e)) > 9000 for e in entries)


def test_the_largest_message() -> None:
    """A message that fits into no frame is sent as its number alone."""
    huge = Entry(41, MESSAGE, 1, "ana", datetime(2026, 1, 1, tzinfo=UTC), "\x7f€" * 4000)
    [frame] = sent(list(frames.encode_entries(ROOMS[0], [huge])))
    assert frame.parts == [frames.Head(7, 41)]


@pytest.mark.parametrize(
    "news", [Presence("ana", True, "lunch", "Ana M."), Invited("books", "ana", 2), ReadMark("x", 7, 3)]
)
def test_news(news: Presence | Invited | ReadMark) -> None:
    """News arrive as they were sent."""
    [frame] = sent([frames.encode(frames.told(3, news))])
    [told] = frame.parts
    assert isinstance(told, frames.Told)
    assert (told.account_id, frames.news(told)) == (3, news)


def test_parts_of_a_later_version() -> None:
    """Anything that only a later version knows is skipped: a kind of part, a kind of news, a field at the end."""
    later = [
        b'["zz",1,2]', b'["h",7,41,"more"]', b'["t",3,"Waved",{"at":1}]', b'["e",7,"general","public",null,[["m",1]]]'
    ]  # fmt: skip
    [frame] = sent(later)
    head, told = frame.parts
    assert head == frames.Head(7, 41)
    assert isinstance(told, frames.Told)
    assert frames.news(told) is None


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"\xff\xfe", b'[2,"b","",1,[]]', b'{"a":1}', b'[1,"b","",1,[', b"[" * 9999]
)
def test_what_is_no_frame(data: bytes) -> None:
    """Anything else is refused with one kind of error, and has no sender that could be mistaken for this process."""
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)):
        frames.decode(data)
    assert frames.sender(data) in ("", "b", "a")


def test_the_sender_is_cheap_to_know() -> None:
    """The sender of a frame is known without decoding it."""
    data = frames.framed("0f" * 16, "7", 5, [])
    assert frames.sender(data) == frames.sender(data.decode()) == "0f" * 16
