"""Resuming after a lost connection: the client's log has no gap and no duplicate."""

import json
import random
from collections import defaultdict

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, Talker
from tests.support.client import JsonClient, Message, Raw
from tests.support.process import ChatServer

CUTS = 25
ROOMS = ["general", "books", "@ana"]


class Reader:
    """Keeps the log of each room over many connections, as a program would."""

    def __init__(self, chat: ChatServer, name: str) -> None:
        self.log: defaultdict[str, list[Message]] = defaultdict(list)
        self.live: list[str] = []
        self._chat = chat
        self._name = name

    def read(self, size: int | None, heads: dict[str, int]) -> None:
        """Open a connection, resume, read `size` bytes (None: up to `heads`), and reset the connection."""
        resume = {room: self.position(room) for room in ROOMS if room in self.log}
        with Raw(self._chat.address) as link:
            words = {"cmd": "login", "name": self._name, "password": "s3cret-words", "resume": resume}
            link.send(json.dumps(words).encode() + b"\n")
            if size is not None:
                link.fill(lambda: len(link.received) >= size, f"{size} bytes", 30)
                link.received = link.received[:size]
            else:
                while any(self.position(room) < heads[room] for room in heads):
                    self._take(link.read_line(30))
            whole, _, _ = link.received.rpartition(b"\n")
            for line in whole.split(b"\n"):
                self._take(line)
            link.abort()

    def _take(self, line: bytes) -> None:
        if not line.startswith(b"{"):
            return
        message = json.loads(line)
        if "event" not in message:
            assert message["ok"] is True, message
            for room in message["rooms"]:
                if room["room"] not in self.log:  # the first time, the log begins here
                    self.log[room["room"]] = [{"seq": room["seq"]}]
        elif message["event"] == "live":
            self.live.append(message["room"])
        elif "seq" in message:
            self.log[message["room"]].append(message)

    def position(self, room: str) -> int:
        log = self.log[room]
        return int(log[-1]["seq"]) if log else 0


def test_resuming_at_random_points(server_url: str, server: StartServer, connect: Connect) -> None:
    """A client that is cut off repeatedly, at any byte, while others send, receives every number of each log once."""
    chat = server(server_url, config=QUICK)
    ana, bob, cai = (connect(chat, JsonClient) for _ in range(3))
    ana.register("ana")
    bob.register("bob")
    cai.register("cai")
    ana.ok("create", room="books")
    for client in (bob, cai):
        client.ok("join", room="books")
    bob.say("@ana", "hi")
    cai.say("@ana", "hi")
    reader = Reader(chat, "cai")
    talkers = [Talker(ana, "t0", ["general", "books", "@cai"]).start(), Talker(bob, "t1", ["books", "general"]).start()]
    reader.read(2000, {})
    chance = random.Random(4)
    for _ in range(CUTS):
        reader.read(chance.randrange(100, 20_000), {})
    for talker in talkers:
        talker.stop()
    heads = {room["room"]: room["seq"] for room in cai.ok("unread")["rooms"] if room["room"] in ROOMS}
    assert set(heads) == set(ROOMS)
    reader.read(None, heads)
    for room, head in heads.items():
        log = reader.log[room]
        assert [entry["seq"] for entry in log] == list(range(log[0]["seq"], head + 1))
        assert log[1:] == history(cai, room, log[0]["seq"])
    assert reader.live


def history(client: JsonClient, room: str, after: int) -> list[Message]:
    entries: list[Message] = []
    more = True
    while more:
        page = client.ok("history", room=room, after=after, limit=500)
        entries, more = entries + page["entries"], page["more"]
        after = entries[-1]["seq"]
    return entries


def test_joining_with_since(server: StartServer, connect: Connect) -> None:
    """`join` with `since` sends the entries after it, then `live`, then new entries, even if you are in the room."""
    chat = server(config=QUICK)
    ana, bob = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bob.register("bob")
    ana.ok("create", room="books")
    for n in range(600):  # more than a page
        ana.post("say", room="books", text=f"{n}")
    ana.wait_seq("books", 601)
    assert bob.ok("join", room="books", since=300)["seq"] == 602
    bob.wait_event(lambda event: event["event"] == "live" and event["room"] == "books")
    ana.say("books", "live")
    assert [entry["seq"] for entry in bob.wait_seq("books", 603)] == list(range(301, 604))
    bob.rooms.clear()
    assert bob.ok("join", room="books", since=600)["seq"] == 603
    bob.wait_event(lambda event: event["event"] == "live" and event["seq"] == 603)
    assert [entry["seq"] for entry in bob.rooms["books"]] == [601, 602, 603]
    assert bob.ok("join", room="books", since=2**53)["seq"] == 603
    bob.wait_event(lambda event: event["event"] == "live" and event["seq"] == 603)
    ana.say("books", "more")
    assert [entry["seq"] for entry in bob.wait_seq("books", 604)] == [601, 602, 603, 604]
