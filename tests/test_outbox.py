"""What is sent to one client, over a transport that accepts as many bytes as the test says."""

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import tcp
from twisted.internet.task import Clock

from chatserver.net.outbox import Outbox
from chatserver.session import FULL_BYTES, NoLink

STALLED_SECONDS = 10.0


class Link(tcp.Connection):
    """A TCP transport without socket. `room`: how much the kernel accepts now; `queue`: what waits."""

    TLS = False

    def __init__(self) -> None:
        self.room = 0
        self.taken = b""
        self.queue = b""
        self.producer: Any = None
        self.aborted = False

    def getHandle(self) -> Any:
        return Socket(self)

    def write(self, data: bytes) -> None:
        self.queue += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert not streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def abortConnection(self) -> None:
        self.aborted = True

    def take(self, size: int) -> None:
        """The kernel accepts up to `size` of the waiting bytes; once none wait, the producer is resumed."""
        self.taken += self.queue[:size]
        self.queue = self.queue[size:]
        if not self.queue and self.producer is not None:
            self.producer.resumeProducing()


class Socket:
    """The part of a socket that an outbox uses. It claims to be a Unix socket, for which no options are set."""

    family = socket.AF_UNIX

    def __init__(self, link: Link) -> None:
        self._link = link

    def send(self, data: bytes) -> int:
        link = self._link
        if not link.room:
            raise BlockingIOError
        piece = data[: link.room]
        link.room -= len(piece)
        link.taken += piece
        return len(piece)


class Owner(NoLink):
    """The link to which the outbox belongs; counts its calls."""

    def __init__(self) -> None:
        self.times_drained = self.times_stalled = 0

    def drained(self) -> None:
        assert self.writable
        self.times_drained += 1

    def stalled(self) -> None:
        self.times_stalled += 1


class Ends:
    """An outbox with everything around it."""

    def __init__(self) -> None:
        self.link = Link()
        self.owner = Owner()
        self.clock = Clock()
        self.outbox = Outbox(self.owner, self.link, self.clock, STALLED_SECONDS)


@pytest.fixture
def ends() -> Ends:
    return Ends()


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(0, FULL_BYTES)),
            st.tuples(st.just("take"), st.integers(0, 2 * FULL_BYTES)),
            st.tuples(st.just("room"), st.integers(0, FULL_BYTES)),
            st.tuples(st.sampled_from(["hold", "release"]), st.just(0)),
        ),
        max_size=40,
    )
)
def test_nothing_is_lost_or_reordered(steps: list[tuple[str, int]]) -> None:
    """However the transport accepts it, all data goes out once and in order. A link with much waiting is full."""
    ends = Ends()
    written = b""
    held = False
    for number, (step, size) in enumerate(steps):
        if step == "write":
            data = bytes([number]) * size
            written += data
            ends.outbox.write(data)
        elif step == "take":
            ends.link.take(size)
        elif step == "room":
            ends.link.room = size
        elif step == "hold" and not held:
            held = True
            ends.outbox.hold()
        elif step == "release" and held:
            held = False
            ends.outbox.release()
        if len(ends.link.queue) > FULL_BYTES:
            assert not ends.owner.writable
        if not ends.link.queue and step == "take":
            assert ends.owner.writable
    if held:
        ends.outbox.release()
    ends.link.take(len(ends.link.queue))
    assert ends.link.taken == written
    assert ends.owner.writable


def test_a_free_link_sends_at_once(ends: Ends) -> None:
    """Bytes that the kernel accepts never wait in the transport; the rest does, and later writes wait behind it."""
    ends.link.room = 5
    ends.outbox.write(b"one")
    ends.outbox.write(b"two")
    ends.link.room = 5
    ends.outbox.write(b"three")
    assert (ends.link.taken, ends.link.queue) == (b"onetw", b"othree")
    ends.link.take(6)
    ends.outbox.write(b"four")
    assert (ends.link.taken, ends.link.queue) == (b"onetwothreefour", b"")


def test_held_bytes_go_out_in_one_piece(ends: Ends) -> None:
    """Between hold and release nothing goes out."""
    ends.link.room = 100
    ends.outbox.hold()
    ends.outbox.write(b"one")
    ends.outbox.write(b"two")
    assert ends.link.taken == b""
    ends.outbox.release()
    assert ends.link.taken == b"onetwo"


def test_a_full_link(ends: Ends) -> None:
    """`drained` is called once, when a full link is empty again, and not before."""
    ends.outbox.write(b"x" * FULL_BYTES)
    assert ends.owner.writable
    ends.outbox.write(b"x")
    assert not ends.owner.writable
    ends.link.take(FULL_BYTES)
    assert (ends.owner.writable, ends.owner.times_drained) == (False, 0)
    ends.link.take(1)
    assert (ends.owner.writable, ends.owner.times_drained) == (True, 1)


def test_a_stalled_link(ends: Ends) -> None:
    """`stalled` is called for a link that stays full for too long, and not for one that drains in time."""
    ends.outbox.write(b"x" * (FULL_BYTES + 1))
    ends.clock.advance(STALLED_SECONDS - 1)
    ends.link.take(FULL_BYTES + 1)
    ends.clock.advance(2)
    assert ends.owner.times_stalled == 0
    ends.outbox.write(b"x" * (FULL_BYTES + 1))
    ends.clock.advance(STALLED_SECONDS - 1)
    assert ends.owner.times_stalled == 0
    ends.clock.advance(1)
    assert ends.owner.times_stalled == 1


def test_closing(ends: Ends) -> None:
    """Once it is closed, bytes written before still go out, later ones are discarded, and the owner is not called."""
    ends.outbox.write(b"x" * (FULL_BYTES + 1))
    ends.outbox.hold()
    ends.outbox.write(b"the end")
    ends.outbox.close()
    ends.outbox.write(b"more")
    assert ends.link.queue.endswith(b"xthe end")
    assert not ends.owner.writable
    ends.link.take(len(ends.link.queue))
    ends.clock.advance(STALLED_SECONDS)
    assert (ends.owner.writable, ends.owner.times_drained, ends.owner.times_stalled) == (False, 0, 0)


def test_a_lost_connection(ends: Ends) -> None:
    """Writing to it does nothing, and no timer is left behind."""
    ends.outbox.write(b"x" * (FULL_BYTES + 1))
    ends.outbox.stopProducing()
    before = ends.link.queue
    ends.outbox.write(b"more")
    assert ends.link.queue == before
    assert ends.clock.getDelayedCalls() == []
