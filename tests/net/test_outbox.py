"""The outbox of one client, over a transport that accepts as many bytes as the test says."""

import socket
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import tcp
from twisted.internet.task import Clock

from chatserver.net.connection.outbox import Outbox
from chatserver.net.limits.account_share import Unsent
from chatserver.net.way import BYTES_ACKED, TCP_INFO, acknowledged, queued, socket_beneath
from chatserver.session.link import FULL_BYTES, NoLink
from chatserver.settings.tables import Limits

STALLED_SECONDS = 10.0


class Link(tcp.Connection):
    """A TCP transport without socket. `room`: how much the kernel accepts now; `queue`: what waits; `acked`: how much
    the peer has acknowledged, if the kernel tells."""

    TLS = False

    def __init__(self) -> None:
        self.room = 0
        self.taken = b""
        self.queue = b""
        self.producer: Any = None
        self.aborted = False
        self.acked: int | None = None
        self._tempDataLen = 0

    def getHandle(self) -> Any:
        return Socket(self)

    def write(self, data: bytes) -> None:
        self.queue += data
        self._tempDataLen = len(self.queue)

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
        self._tempDataLen = len(self.queue)
        if not self.queue and self.producer is not None:
            self.producer.resumeProducing()


class Socket:
    """The part of a socket that an outbox uses. It claims to be a Unix socket, for which no options are set."""

    family = socket.AF_UNIX

    def __init__(self, link: Link) -> None:
        self._link = link

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        if self._link.acked is None or (level, option) != (socket.IPPROTO_TCP, TCP_INFO):
            raise OSError
        return BYTES_ACKED.pack(self._link.acked)[:size]

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

    def __init__(self, least_per_second: float = 0) -> None:
        self.link = Link()
        self.owner = Owner()
        self.clock = Clock()
        self.outbox = Outbox(
            self.owner,
            self.link,
            self.clock,
            Limits(stalled_seconds=STALLED_SECONDS, least_bytes_per_second=least_per_second),
        )


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


@pytest.mark.parametrize("told", [True, False], ids=["TCP_INFO", "queues"])
@pytest.mark.parametrize(
    ("each_second", "least_per_second", "stalled"),
    [(100, 100, False), (99, 100, True), (1, 100, True), (1, 0, False), (0, 0, True), (1000, 100, False)],
)
def test_a_peer_that_reads_slowly(each_second: int, least_per_second: float, stalled: bool, told: bool) -> None:
    """A full link stays while its peer takes the least rate on average, however much still waits. A peer that takes
    less is given up, and so is one that takes nothing where there is no least rate."""
    ends = Ends(least_per_second)
    ends.link.acked = 0 if told else None
    ends.outbox.write(b"x" * 100_000)
    for _ in range(int(STALLED_SECONDS * 3)):
        ends.link.take(each_second)
        if told:
            ends.link.acked = len(ends.link.taken)
        ends.clock.advance(1)
    assert ends.owner.times_stalled == stalled


def test_a_queue_that_is_filled_again(ends: Ends) -> None:
    """A kernel that takes as much as its peer reads, so that its queue never gets shorter, does not make the peer seem
    stalled; nor do bytes written meanwhile make it seem to read."""
    ends.outbox.write(b"x" * 100_000)
    for _ in range(int(STALLED_SECONDS * 2)):
        ends.link.take(10)
        ends.clock.advance(1)
    assert ends.owner.times_stalled == 0
    for _ in range(int(STALLED_SECONDS * 2)):
        ends.outbox.write(b"more")
        ends.clock.advance(1)
    assert ends.owner.times_stalled


def test_what_the_kernel_tells() -> None:
    """A TCP socket tells how much the peer has acknowledged; others, how much waits."""
    with socket.create_server(("127.0.0.1", 0)) as port:
        one = socket.create_connection(port.getsockname())
        other = port.accept()[0]
        with one, other:
            before = acknowledged(one)
            one.sendall(b"x" * 1000)
            assert len(other.recv(1000, socket.MSG_WAITALL)) == 1000
            deadline = time.monotonic() + 5
            while acknowledged(one) == before and time.monotonic() < deadline:
                time.sleep(0.01)
            if TCP_INFO is not None:
                assert before is not None
                assert acknowledged(one) == before + 1000
            assert queued(one) == 0
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"x" * 1000)
        assert acknowledged(one) is None
        assert queued(one) >= 1000
    assert socket_beneath(object()) is None
    assert (acknowledged(None), queued(None)) == (None, 0)


def test_a_crowded_account() -> None:
    """Once too much waits for an account, each of its connections for which something waits is full until it has read
    that; one that reads is not."""
    unsent = Unsent(Limits(unsent_bytes_per_account=1000))
    stuck, slow, quick = Ends(), Ends(), Ends()
    slow.outbox.write(b"x" * 10)
    for ends in (stuck, slow, quick):
        ends.outbox.share(unsent)
    assert unsent.bytes == 10
    stuck.outbox.write(b"x" * 991)
    assert (unsent.crowded, stuck.owner.writable) == (True, False)
    slow.outbox.write(b"x")
    assert not slow.owner.writable
    quick.link.room = 100
    quick.outbox.write(b"x" * 100)
    assert quick.owner.writable
    quick.outbox.write(b"x")
    assert not quick.owner.writable
    for ends in (slow, quick):
        ends.link.take(100)
        assert (ends.owner.writable, ends.owner.times_drained) == (True, 1)
    stuck.outbox.stopProducing()
    assert unsent.bytes == 0


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
