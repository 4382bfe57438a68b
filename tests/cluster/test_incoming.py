"""Frames that come in any order, twice, or not at all."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from chatserver.cluster import frames
from chatserver.cluster.incoming import REMEMBERED, Incoming
from tests.support.memory import logged_failures, logged_warnings

ME, OTHER = "m" * 32, "o" * 32
CHANGED = frames.Changed()


class Post:
    """The node that takes the frames. `gaps`: the channels on which some are missing."""

    origin = ME

    def __init__(self) -> None:
        self.taken: list[tuple[int, frames.Part]] = []
        self.gaps: list[str] = []
        self.own: list[float] = []
        self.fails = False
        self.incoming = Incoming(self)

    def is_deaf(self) -> bool:
        return False

    def take(self, boot: str, number: int, part: frames.Part) -> None:
        if self.fails:
            raise ValueError(part)
        self.taken.append((number, part))

    def lost(self, *channels: str) -> None:
        self.gaps += channels

    def lost_of(self, boot: str) -> None:
        pass

    def joined(self, channels: Sequence[str]) -> None:
        pass

    def came_back(self, beat: frames.Beat) -> None:
        self.own.append(beat.sent)

    def comes(self, number: int, boot: str = OTHER, channel: str = "", part: frames.Part = CHANGED) -> None:
        self.incoming.received(frames.framed(boot, channel, number, [frames.encode(part)]))

    @property
    def numbers(self) -> list[int]:
        return [number for number, _ in self.taken]


@given(st.integers(1, 10**9), st.permutations(range(12)), st.lists(st.integers(0, 11)))
def test_each_is_taken_once(first: int, order: list[int], again: list[int]) -> None:
    """However frames are reordered and doubled, each is taken once, if it is not older than the first that came."""
    post = Post()
    for number in [*order, *again]:
        post.comes(first + number)
    assert sorted(post.numbers) == [first + n for n in sorted(order) if n >= order[0]]
    assert post.incoming.top(OTHER) == first + 11


def test_a_gap_is_noticed_once() -> None:
    """A missing number is reported with the frame after it, and not again once the frame has come."""
    post = Post()
    for number in (1, 2, 5, 6):
        post.comes(number)
    assert (post.gaps, post.incoming.missing) == ([""], 1)
    for number in (3, 4, 4, 7):
        post.comes(number)
    assert (post.gaps, post.incoming.doubled) == ([""], 1)
    assert post.numbers == [1, 2, 5, 6, 3, 4, 7]


def test_a_process_that_was_not_heard_from_the_beginning() -> None:
    """Frames that a process sent before this one received any are missing, and that is no gap. Those of rooms are read
    from the store on `joined`."""
    post = Post()
    post.comes(40, channel="7")
    assert post.gaps == []
    post.comes(40)
    post.comes(41)
    assert (post.gaps, post.incoming.missing) == ([""], 0)


def test_a_very_late_frame() -> None:
    """A frame that is older than the remembered numbers counts as a duplicate: the store has its entries."""
    post = Post()
    post.comes(1)
    post.comes(REMEMBERED * 2)
    post.comes(2)
    assert post.numbers == [1, REMEMBERED * 2]
    assert len(post.gaps) == 1


def test_channels_and_processes_count_by_themselves() -> None:
    """Another channel and another process have numbers of their own."""
    post = Post()
    for boot, channel in ((OTHER, ""), (OTHER, "7"), ("p" * 32, "")):
        post.comes(1, boot, channel)
        post.comes(2, boot, channel)
    assert (len(post.taken), post.gaps) == (6, [])
    post.incoming.forget({OTHER})
    post.comes(3, "p" * 32)
    post.comes(3)
    assert (post.gaps, post.incoming.doubled) == ([""], 0)


def test_a_channel_that_nobody_needs() -> None:
    """Numbers of a channel that the node has left are forgotten: a later frame on it makes no gap."""
    post = Post()
    post.comes(1, channel="7")
    post.incoming.unheard("7")
    post.comes(9, channel="7")
    assert (post.numbers, post.gaps) == ([1, 9], [])


def test_own_frames() -> None:
    """A frame that comes back to its sender is used only to measure how long it took."""
    post = Post()
    post.comes(1, ME)
    post.comes(2, ME, part=frames.Beat(4.5))
    assert (post.taken, post.own, post.incoming.frames) == ([], [4.5], 0)


def test_what_is_no_frame() -> None:
    """Anything that is no frame is ignored, and logged once."""
    post = Post()
    deep = b'[1,"x","",1,[%s%s]]' % (b"[" * 100_000, b"]" * 100_000)
    with logged_warnings() as warnings:
        for data in (b"", b"hello", b"\xff", b'[9,"x","",1,[]]', b"[" * 100_000, deep):
            post.incoming.received(data)
        post.comes(1)
    assert (post.numbers, post.incoming.unreadable, len(warnings)) == ([1], 6, 1)


def test_a_part_that_fails() -> None:
    """A part that cannot be taken is logged, once for all that fail alike, and its room is read from the store."""
    post = Post()
    post.fails = True
    with logged_failures() as failures:
        post.comes(1, channel="7")
        post.comes(2, channel="7")
    assert [type(failure) for failure in failures] == [ValueError]
    assert post.gaps == ["7", "7"]
