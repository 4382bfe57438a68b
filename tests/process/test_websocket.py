"""The WebSocket door of a real server, with real clients of it, and plain ones in the same rooms."""

import json
import random
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.frames import Opcode
from websockets.sync.client import connect as websocket_connect

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, Talker, check_heard, query, say_often
from tests.support.certificate import write_certificate
from tests.support.client import JsonClient, Message, TextClient
from tests.support.process import ChatServer
from tests.support.websocket import WebSocketClient

LISTEN = ["ws:tcp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.1"]
CUTS = 25
TEXT = "x" * 1000
LONG = "x" * 3500
MESSAGES = 3000
SLOW = 5
MEGABYTE = 1 << 20


class Hall:
    """A server with a WebSocket door and one for lines, and clients of both."""

    def __init__(self, chat: ChatServer) -> None:
        self.chat = chat
        self.browsers_at, self.others_at = chat.addresses
        self._clients: list[JsonClient | TextClient] = []

    def browser(self, name: str = "", receive_buffer: int | None = None) -> WebSocketClient:
        """A WebSocket client; with a name, it registers."""
        client = WebSocketClient(self.browsers_at, receive_buffer=receive_buffer)
        self._clients.append(client)
        if name:
            client.register(name)
        return client

    def plain(self, name: str) -> JsonClient:
        client = JsonClient(self.others_at)
        self._clients.append(client)
        client.register(name)
        return client

    def person(self, name: str) -> TextClient:
        client = TextClient(self.others_at)
        self._clients.append(client)
        client.register(name)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()


OpenHall = Callable[..., Hall]
"""The type of the fixture `open_hall`: it takes the server's settings in TOML."""


@pytest.fixture
def open_hall(server: StartServer) -> Iterator[OpenHall]:
    halls: list[Hall] = []

    def open_one(config: str = "") -> Hall:
        halls.append(Hall(server(config=QUICK + config, listen=LISTEN)))
        return halls[-1]

    yield open_one
    for hall in halls:
        hall.close()


def test_one_room_for_all(open_hall: OpenHall) -> None:
    """Clients at a WebSocket and at plain doors receive each other's messages, in one order. A message may hold several
    lines, or come in fragments with pings between them. The message of the day comes as an event."""
    hall = open_hall('[server]\nmotd = "Be kind."\n')
    ana, bob, cai = hall.browser("ana"), hall.plain("bob"), hall.person("cai")
    assert ana.wait_event("notice")["text"] == "Be kind."
    assert ana.notices == []  # every line is JSON
    ana.send(
        b'{"cmd":"say","room":"general","text":"one","tag":"a"}\n{"cmd":"say","room":"general","text":"two","tag":"b"}'
    )
    assert ana.answer("a")["seq"] + 1 == ana.answer("b")["seq"]
    bob.say("general", "from bob")
    cai.type("from cai")
    for client in (ana, bob):
        client.hears("from cai")
        assert [e["text"] for e in client.rooms["general"] if e["event"] == "message"] == [
            "one", "two", "from bob", "from cai"
        ]  # fmt: skip
    for text in ("ana: one", "ana: two", "bob: from bob"):
        cai.expect(text)
    ana.send_fragments(b'{"cmd":"say","room":"gen', b'eral","text":"in pie', b'ces","tag":"f"}')
    assert ana.answer("f")["ok"]
    cai.expect("ana: in pieces")
    assert [bytes(frame.data) for frame in ana.frames if frame.opcode is Opcode.PONG] == [b"1", b"2"]


def test_a_client_that_others_wrote(open_hall: OpenHall) -> None:
    """The client of `websockets`, as a program would use it, with its own pings and its own way to close."""
    hall = open_hall()
    host, port = hall.browsers_at
    bob = hall.plain("bob")
    with websocket_connect(f"ws://{host}:{port}/chat?x=y", compression="deflate", open_timeout=10) as ana:
        assert ana.protocol.extensions == []
        ana.send(json.dumps({"cmd": "register", "name": "ana", "password": "s3cret-words"}))
        assert json.loads(ana.recv(10))["name"] == "ana"
        assert ana.ping().wait(10)
        ana.send(json.dumps({"cmd": "say", "room": "general", "text": "hello"}))
        lines = [json.loads(ana.recv(10)) for _ in range(1)]
        assert lines[0]["text"] == "hello"
        bob.hears("hello")
    assert (ana.protocol.close_code, ana.protocol.close_reason) == (1000, "")
    with websocket_connect(f"ws://{host}:{port}/", open_timeout=10) as ana:
        ana.send('{"cmd":"quit","tag":1}')
        assert json.loads(ana.recv(10)) == {"ok": True, "tag": 1, "cmd": "quit"}
        with pytest.raises(ConnectionClosed):
            ana.recv(10)
    assert (ana.protocol.close_code, ana.protocol.close_reason) == (1000, "quit")


class Reader:
    """Keeps the log of a room over many connections, as a program would."""

    def __init__(self, hall: Hall, name: str) -> None:
        self.log: list[Message] = []
        self._hall = hall
        self._name = name

    def read(self, size: int | None, head: int = -1) -> None:
        """Connects, resumes, reads `size` bytes (None: up to the head), and resets the connection."""
        resume = {"general": self.log[-1]["seq"] if self.log else 0}
        if resume["general"] == head:
            return
        client = self._hall.browser()
        client.post("login", name=self._name, password="s3cret-words", resume=resume)
        if size is None:
            client.wait_seq("general", head, 30)
        else:
            count = 0
            while count < size:  # `received` has the content of whole frames
                client.fill(lambda: client.received, "more", 30)
                count += len(client.received)
                client._sort()
        self.log += client.rooms["general"]
        client.abort()


def test_resuming_at_random_points(open_hall: OpenHall) -> None:
    """A WebSocket client that is cut off again and again, anywhere, while others send, gets every number once."""
    hall = open_hall()
    ana, bob, cai = hall.plain("ana"), hall.browser("bob"), hall.plain("cai")
    reader = Reader(hall, "cai")
    talkers = [Talker(ana, "t0", ["general"]).start(), Talker(bob, "t1", ["general"]).start()]
    chance = random.Random(6)
    for _ in range(CUTS):
        reader.read(chance.randrange(1, 15_000))
    for talker in talkers:
        talker.stop()
    [head] = [room["seq"] for room in cai.ok("unread")["rooms"] if room["room"] == "general"]
    reader.read(None, head)
    assert [entry["seq"] for entry in reader.log] == list(range(1, head + 1))
    said = [
        str(row[0]) for row in query(hall.chat.database, "SELECT text FROM entry WHERE kind = 'message' ORDER BY seq")
    ]
    assert [entry["text"] for entry in reader.log if entry["event"] == "message"] == said
    assert len(said) > CUTS


@pytest.mark.slow
def test_a_slow_reader(open_hall: OpenHall) -> None:
    """A WebSocket client that stops reading delays nobody and takes no memory; reading on, it has missed nothing."""
    hall = open_hall()
    ana, bob = hall.plain("ana"), hall.browser("bob")
    slow = [hall.browser(f"slow{number}", receive_buffer=4096) for number in range(SLOW)]
    say_often(ana, LONG, 300)  # the transports' buffers are full
    before = hall.chat.rss_bytes()
    head = say_often(ana, LONG, MESSAGES)
    bob.wait_seq("general", head)
    assert hall.chat.rss_bytes() - before < 16 * MEGABYTE < SLOW * MESSAGES * len(LONG) / 2
    check_heard(bob.rooms["general"])
    for client in slow:
        log = client.wait_seq("general", head, 30)
        check_heard(log)
        assert len(log) >= MESSAGES + 300


def test_a_sender_that_does_not_read(open_hall: OpenHall) -> None:
    """The server stops reading a WebSocket client that does not read its answers; later all come, in order."""
    hall = open_hall()
    ana, bob = hall.browser("ana", receive_buffer=4096), hall.plain("bob")
    ana.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    say_often(bob, TEXT, 10)
    before = hall.chat.rss_bytes()
    ana.timeout = 0.3
    tags: list[str] = []

    def send_until_it_is_full() -> None:
        while len(tags) < 20_000:
            tags.append(f"{len(tags)}")
            word = json.dumps({"cmd": "history", "room": "general", "limit": 2, "tag": tags[-1]})
            ana.send(word.encode() + b" " * 8000)

    with pytest.raises(TimeoutError):
        send_until_it_is_full()
    assert bob.say("general", "and I?")["ok"]
    assert hall.chat.rss_bytes() - before < 10 * MEGABYTE
    for tag in tags[:-1]:  # the last message may have been cut
        assert ana.answer(tag, 30)["ok"]
    assert ana.order[1:] == tags[:-1]


def test_close_codes(open_hall: OpenHall) -> None:
    """The last bytes are a close frame whose code says whether to come back."""
    hall = open_hall("[limits]\nstrikes = 1\n")
    for word, code, reasons in [("quit", 1000, []), ("logout", 1000, ["logout"]), ("dance", 1008, ["strikes"])]:
        client = hall.browser(f"{word}er")
        client.post(word)
        client.drain()
        assert client.close_code == code, word
        assert [event["reason"] for event in client.events if event["event"] == "closing"] == reasons
        assert client.frames[-1].opcode is Opcode.CLOSE


def test_shutdown(open_hall: OpenHall) -> None:
    """A server that stops says so, and that clients may come back: everything sent before is stored and answered."""
    hall = open_hall()
    ana, bob = hall.browser("ana"), hall.plain("bob")
    tag = ana.post("say", room="general", text="the last")
    bob.hears("the last")
    hall.chat.signal(signal.SIGTERM)
    closing = ana.wait_closing()
    assert (closing["reason"], ana.close_code) == ("shutdown", 1012)
    assert 2 <= closing["retry"] <= 5
    assert ana.answer(tag)["ok"]
    bob.wait_closing()
    hall.close()
    assert hall.chat.wait() == 0


def test_the_clients_close_frame(open_hall: OpenHall) -> None:
    """Commands before a client's close frame are done and answered, before the server's close frame ends it."""
    hall = open_hall()
    ana, bob = hall.browser("ana"), hall.plain("bob")
    tags = [ana.post("say", room="general", text=f"{n}") for n in range(100)]
    ana.send_close()
    ana.drain()
    assert [ana.answer(tag)["ok"] for tag in tags] == [True] * 100
    assert ana.close_code == 1000
    bob.hears("99")


VIOLATIONS = [
    (b"\x81\x02{}", 1002),  # without a mask
    (b"\x82\x80\0\0\0\0", 1003),  # binary
    (b"\x81\x81\0\0\0\0\xff", 1007),  # no UTF-8
    (b"\x81\xff\0\0\0\0\0\x10\0\0\0\0\0\0", 1009),  # 1 MiB announced
]


def test_violations(open_hall: OpenHall) -> None:
    """Forbidden frames of a client are answered after everything before them, and the close frame arrives, though the
    client goes on sending."""
    hall = open_hall()
    for bad, code in VIOLATIONS:
        client = hall.browser(f"ana{code}")
        tag = client.post("say", room="general", text="before")
        client.send_raw(bad + bytes(100_000))
        client.drain()
        assert client.answer(tag)["ok"]
        assert [answer["error"] for answer in client.untagged] == ["undecodable"]
        assert client.close_code == code


def test_tls(server: StartServer, tmp_path: Path, connect: Connect) -> None:
    """`ws:` stands in front of any endpoint, also one of TLS: a conversation, and an end with a close_notify."""
    key, certificate = write_certificate(tmp_path)
    config = QUICK + "[shutdown]\nflush_seconds = 1\n"
    chat = server(config=config, listen=[f"ws:ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"])
    ana, bob = connect(chat, WebSocketClient, tls=True), connect(chat, WebSocketClient, tls=True)
    ana.register("ana")
    bob.register("bob")
    head = say_often(ana, TEXT, 300)
    check_heard(bob.wait_seq("general", head))
    ana.ok("quit")
    ana.drain()
    assert ana.close_code == 1000
    chat.signal(signal.SIGTERM)
    bob.wait_closing()
    assert bob.close_code == 1012
    assert chat.wait() == 0


def test_origins(open_hall: OpenHall) -> None:
    """Pages of the origins in `server.origins` may connect, those of others may not, and programs, which have no
    origin, always may."""
    hall = open_hall('[server]\norigins = ["https://www.example"]\n')
    hall.browser("ana")
    WebSocketClient(hall.browsers_at, headers={"Origin": "https://www.example"}).close()
    with pytest.raises(InvalidStatus) as refused:
        WebSocketClient(hall.browsers_at, headers={"Origin": f"http://127.0.0.1:{hall.browsers_at[1]}"})
    assert refused.value.response.status_code == 403
    why = rf"'http://127\.0\.0\.1:{hall.browsers_at[1]}' is not in server\.origins\."
    hall.chat.wait_log(rf"#warn\] A web page open at 127\.0\.0\.1 may not connect: {why}")


def test_wrong_doors(open_hall: OpenHall) -> None:
    """A browser that opens the address as a page is told what this is; a door for lines takes no WebSocket client."""
    hall = open_hall()
    with socket.create_connection(hall.browsers_at, 10) as page:
        page.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        page.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: page.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert b"<h1>This is the WebSocket door of a chat server</h1>" in answer
    with pytest.raises(InvalidMessage):
        WebSocketClient(hall.others_at)
