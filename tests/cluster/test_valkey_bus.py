"""The bus over Valkey, in a reactor of its own: on a real server where there is one, else on one that stands in."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from chatserver.cluster.bus.bus import Parcel
from chatserver.cluster.bus.opening import open_bus
from chatserver.cluster.bus.valkey import UNHEAR_SECONDS, ValkeyBus, place
from chatserver.cluster.bus.valkey_connection import Place, ValkeyConnection, code, command
from chatserver.settings.tables import Bus, Settings
from chatserver.util.exits import MISCONFIGURED
from tests.support.valkey import Loop, Valkey, needs_valkey


class Ear:
    """A node's bus, and what comes over it."""

    def __init__(self, loop: Loop, valkey: Valkey, cluster: str = "one", url: str = "") -> None:
        self._loop = loop
        self.bus = ValkeyBus(loop.reactor, url or valkey.url, cluster)
        self.frames: list[bytes] = []
        self.joins: list[list[str]] = []
        self.bus.start(self)

    def received(self, data: bytes) -> None:
        self.frames.append(data)

    def joined(self, channels: Sequence[str]) -> None:
        self.joins.append(list(channels))

    def ready(self) -> "Ear":
        self._loop.until(lambda: self.bus.connected, "the bus is connected")
        return self

    def hear(self, *channels: str) -> None:
        """Hears more channels, and waits until it does."""
        before = len(self.joins)
        for channel in channels:
            self.bus.hear(channel)
        self._loop.until(lambda: len(self.joins) > before, f"{channels} are heard")

    def says(self, text: str, channel: str = "") -> None:
        self.bus.publish([Parcel(channel, text.encode())])

    def hears(self, text: str) -> None:
        self._loop.until(lambda: text.encode() in self.frames, f"{text} has come")


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with Valkey() as valkey:
        yield valkey


Open = Callable[..., Ear]


@pytest.fixture
def open_ear(loop: Loop, valkey: Valkey) -> Iterator[Open]:
    ears: list[Ear] = []

    def open(*args: Any, **keywords: Any) -> Ear:
        ears.append(Ear(loop, valkey, *args, **keywords))
        return ears[-1]

    yield open
    for ear in ears:
        loop.run(ear.bus.stop())


@pytest.fixture
def log() -> Iterator[Callable[[], str]]:
    """What is logged during the test."""
    lines: list[str] = []

    @implementer(ILogObserver)
    def note(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(note)
    yield lambda: "\n".join(lines)
    globalLogPublisher.removeObserver(note)


def test_it_carries_frames(loop: Loop, open_ear: Open) -> None:
    """A frame reaches every node that hears its channel, also its sender, in the order in which they were sent; and no
    other node."""
    one, two, three = open_ear().ready(), open_ear().ready(), open_ear().ready()
    assert one.joins == two.joins == [[""]]
    two.hear("7")
    one.bus.publish([Parcel("", b"a"), Parcel("7", b"b\r\n\x00\xff"), Parcel("", b"c")])
    loop.until(lambda: len(two.frames) == 3, "all have come")
    assert two.frames == [b"a", b"b\r\n\x00\xff", b"c"]
    loop.until(lambda: len(one.frames) == len(three.frames) == 2, "all have come")
    assert one.frames == three.frames == [b"a", b"c"]


def test_many_rooms_are_one_subscription(loop: Loop, valkey: Valkey, open_ear: Open) -> None:
    """A login into many rooms is one SUBSCRIBE, and one call of `joined` once Valkey has answered all of it."""
    one = open_ear().ready()
    before = subscribes(valkey)
    rooms = [str(number) for number in range(1, 501)]
    for room in rooms:
        one.bus.hear(room)
        one.bus.hear(room)
    loop.until(lambda: len(one.joins) > 1, "the rooms are heard")
    assert one.joins[1:] == [rooms]
    assert subscribes(valkey) == before + 1
    one.says("last", "500")
    one.hears("last")


def subscribes(valkey: Valkey) -> int:
    """How many SUBSCRIBEs there were, by its own statistics."""
    text = valkey.ask("INFO", "commandstats").decode()
    found = [line for line in text.splitlines() if line.startswith("cmdstat_subscribe:")]
    return int(found[0].partition("calls=")[2].partition(",")[0]) if found else 0


def test_rooms_that_nobody_hears_are_left_later(
    loop: Loop, valkey: Valkey, open_ear: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A room that nobody hears any more is unsubscribed after a while; whoever comes back before costs nothing."""
    monkeypatch.setattr("chatserver.cluster.bus.valkey.UNHEAR_SECONDS", 0.3)
    one = open_ear().ready()
    one.hear("7", "8")
    before = subscribes(valkey)
    for room in ("7", "8"):
        one.bus.unhear(room)
    one.bus.hear("8")
    loop.until(lambda: b":7\r\n" not in valkey.ask("PUBSUB", "CHANNELS"), "7 is left")
    assert subscribes(valkey) == before
    assert len(one.joins) == 2
    one.says("still", "8")
    one.hears("still")
    one.hear("7")
    one.says("again", "7")
    one.hears("again")
    assert UNHEAR_SECONDS > 1


def test_valkey_is_killed(loop: Loop, valkey: Valkey, open_ear: Open, log: Callable[[], str]) -> None:
    """Once Valkey is back, a node hears all its channels again, is told so, and has logged one line for the outage.
    What was sent meanwhile is dropped, and counted."""
    one, two = open_ear().ready(), open_ear().ready()
    two.hear("7", "8")
    valkey.kill()
    loop.until(lambda: not (one.bus.connected or two.bus.connected), "the end is noticed")
    one.says("lost", "7")
    two.bus.hear("9")
    two.joins.clear()
    assert one.bus.dropped == 1
    valkey.start()
    loop.until(lambda: two.joins and one.bus.connected, "the bus is back", 5)
    assert two.joins == [["", "7", "8", "9"]]
    for room in ("7", "8", "9"):
        one.says(f"in {room}", room)
        two.hears(f"in {room}")
    assert b"lost" not in two.frames
    assert one.bus.reconnects == two.bus.reconnects == 1
    assert log().count("The bus has no connection to Valkey") == 2  # one for each node
    assert log().count("The bus is connected again.") == 2


@needs_valkey
def test_valkey_is_silent(loop: Loop, valkey: Valkey, open_ear: Open) -> None:
    """A Valkey that does not answer blocks nobody and fills no memory; `reconnect` gets over it once it answers."""
    one = open_ear().ready()
    valkey.freeze()
    frame = b"x" * 7_000
    for _ in range(2_000):
        one.bus.publish([Parcel("", frame)])
    assert one.bus.dropped > 1_000
    one.bus.reconnect()
    assert not one.bus.connected
    valkey.thaw()
    loop.until(lambda: one.bus.connected, "the bus is back")
    one.says("hello")
    one.hears("hello")


@pytest.mark.parametrize(
    ("password", "words"),
    [("", "It says NOAUTH. It wants a password"), ("wr0ng-one", "It says WRONGPASS. Correct the password")],
)
def test_a_password(loop: Loop, log: Callable[[], str], password: str, words: str) -> None:
    """A password in the URL opens a Valkey that wants one. A wrong one, or none, is a line that says what to do, and no
    log has any of them."""
    with Valkey("s3cret/w@rd") as valkey:
        url = f"valkey://:{password}@127.0.0.1:{valkey.port}"
        wrong = Ear(loop, valkey, url=url if password else f"valkey://127.0.0.1:{valkey.port}")
        loop.until(lambda: words in log(), "it is logged")
        right = Ear(loop, valkey, url=f"valkey://:s3cret%2Fw%40rd@127.0.0.1:{valkey.port}/3").ready()
        right.says("hello")
        right.hears("hello")
        assert not wrong.bus.connected
        for ear in (wrong, right):
            loop.run(ear.bus.stop())
    for secret in ("s3cret", "wr0ng"):
        assert secret not in log()
        assert secret not in repr(place(url))


@needs_valkey
def test_channels_that_are_not_allowed(loop: Loop, valkey: Valkey, open_ear: Open, log: Callable[[], str]) -> None:
    """A Valkey that does not allow the channels is one line of the log; once it allows them, the bus is there."""
    one = open_ear().ready()
    valkey.ask("ACL", "SETUSER", "default", "resetchannels")  # which also ends the connections that subscribe
    loop.until(lambda: "refuses SUBSCRIBE (NOPERM)" in log(), "the refusal is logged")
    one.says("hello")
    loop.until(lambda: one.bus.dropped, "it is counted")
    valkey.ask("ACL", "SETUSER", "default", "allchannels")
    loop.until(lambda: one.bus.connected, "the bus is back")
    one.says("hello again")
    one.hears("hello again")
    assert log().count("refuses") == 1


def test_clusters_do_not_mix(open_ear: Open) -> None:
    """Nodes of different databases hear nothing of each other on the same Valkey."""
    one, other = open_ear("one").ready(), open_ear("other").ready()
    for ear in (one, other):
        ear.hear("7")
    one.says("of one", "7")
    other.says("of the other", "7")
    other.hears("of the other")
    one.hears("of one")
    assert other.frames == [b"of the other"]
    assert one.frames == [b"of one"]


def test_the_last_frames_of_a_node(loop: Loop, open_ear: Open) -> None:
    """What a node says right before it stops is sent."""
    one, two = open_ear().ready(), open_ear().ready()
    for number in range(100):
        one.says(f"word {number}")
    loop.run(one.bus.stop())
    two.hears("word 99")


class Spy:
    """Uses a connection, and notes what comes."""

    def __init__(self) -> None:
        self.replies: list[Any] = []
        self.problems: list[str] = []

    def opened(self) -> None:
        self.replies.clear()

    def replied(self, reply: Any) -> None:
        self.replies.append(reply)

    def lost(self, problem: str) -> None:
        self.problems.append(problem)


class Transport(StringTransport):
    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> tuple[Spy, Callable[[bytes], None]]:
    """A connection that is ready, and what brings bytes to it."""
    links: list[Any] = []

    def connected(endpoint: object, link: Any) -> Deferred[Any]:
        links.append(link)
        link.makeConnection(Transport())
        return Deferred()

    monkeypatch.setattr("chatserver.cluster.bus.valkey_connection.connectProtocol", connected)
    spy = Spy()
    connection = ValkeyConnection(MemoryReactorClock(), Place("localhost", 6379, ""), spy)
    connection.open()
    return spy, lambda data: links[0].dataReceived(data)


Feed = tuple[Spy, Callable[[bytes], None]]


@pytest.mark.parametrize("size", [1, 2, 7, 1_000])
def test_replies_come_in_any_pieces(feed: Feed, size: int) -> None:
    """Replies are the same in whatever pieces they come."""
    spy, receive = feed
    data = b"+PONG\r\n:42\r\n-WRONGPASS no\r\n$-1\r\n*3\r\n$7\r\nmessage\r\n$1\r\n7\r\n$4\r\na\r\nb\r\n"
    data += b"*2\r\n*0\r\n$0\r\n\r\n"
    for start in range(0, len(data), size):
        receive(data[start : start + size])
    error = spy.replies.pop(1)
    assert code(error) == "WRONGPASS"
    assert spy.replies == [42, None, [b"message", b"7", b"a\r\nb"], [[], b""]]
    assert spy.problems == []


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 400\r\n", b"*x\r\n", b"$9\r\n" + b"x" * 20, b"*1\r\n" * 5_000, b"$4000000\r\n" + b"x" * 2_000_000],
)
def test_what_is_no_reply(feed: Feed, data: bytes) -> None:
    """Whatever is no reply ends the connection, and does not fill the memory."""
    spy, receive = feed
    receive(b"+PONG\r\n")
    for start in range(0, len(data), 65_536):
        receive(data[start : start + 65_536])
    assert len(spy.problems) == 1
    assert spy.problems[0] in ("It sent no reply of Valkey.", "It sent more than any reply has.")


def test_a_command() -> None:
    """Commands are arrays of byte strings, whatever is in these."""
    assert command(b"PUBLISH", b"a", b"\r\n") == b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$2\r\n\r\n\r\n"


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where hiredis is not installed, the start ends with one line that names what to install."""
    for name in list(sys.modules):
        if name.startswith(("hiredis", "chatserver.cluster.bus.valkey")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hiredis", None)
    settings = Settings(bus=Bus(url="valkey://127.0.0.1:6379"))
    nobody: Any = None
    with pytest.raises(SystemExit) as ended:
        open_bus(settings, nobody, nobody, nobody)
    assert ended.value.code == MISCONFIGURED
    assert capsys.readouterr().err.splitlines() == [
        "chatserver: bus.url names a Valkey, which needs another package. Run: pip install 'chatserverd[valkey]'"
    ]
