"""Two servers on one PostgreSQL, with the bus between them: what people say to each other across it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatserver.store.nodes.listen_notify import NAME
from chatserver.util.exits import MISCONFIGURED
from tests.chatctl.conftest import Chatctl
from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, Talker
from tests.support.client import JsonClient, Message, TextClient
from tests.support.monitor import LOOPBACK as METRICS
from tests.support.monitor import Monitor
from tests.support.postgres import FAST_SETTINGS, PostgresServer
from tests.support.process import LOOPBACK, ChatServer, run_chatserver, wait_until

pytestmark = pytest.mark.slow


def config(node: str) -> str:
    return f'{QUICK}[server]\nnode = "{node}"\nguests = true\n[bus]\nurl = "postgres"\n'


def entries(client: JsonClient, room: str) -> list[Message]:
    """The entries of a room that a client has heard, as everybody hears them."""
    return [{key: value for key, value in entry.items() if key != "id"} for entry in client.rooms[room]]


class Pair:
    """Two nodes that know each other; ana is at the first one, and bob at the second."""

    def __init__(self, one: ChatServer, two: ChatServer, connect: Connect) -> None:
        self.one, self.two = one, two
        self._connect = connect
        self._monitors = [Monitor(one), Monitor(two)]
        self.late = [0, 0]
        """How many entries have to be read from the database at each node, because they fit into no frame."""
        self.busy = False
        """Whether so much is said that some of it is read from the database before it can come: a server that has just
        started compares its rooms with the database."""
        for server in (one, two):
            server.wait_log("Node (one|two) is there")
        self.ana, self.bob = self.comes(one, "ana"), self.comes(two, "bob")
        self.ana.wait_event(lambda event: event["event"] == "joined" and event["name"] == "bob")

    def comes(self, server: ChatServer, name: str, *, again: bool = False) -> JsonClient:
        client = self._connect(server, JsonClient)
        if again:
            client.login(name)
        else:
            client.register(name)
        return client

    def came_by(self, way: str) -> list[float]:
        """How many entries came to each node, by the way they did."""
        return [monitor.numbers().of("chatserver_bus_entries_total", way=way) for monitor in self._monitors]

    def agree(self, room: str) -> list[Message]:
        """Both have heard the same of a room, in the same order, up to now. Returns the entries."""
        for client in (self.ana, self.bob):
            tag = f"end of {room} for {id(client)}"
            client.say(room, tag)
            for each in (self.ana, self.bob):
                each.hears(tag)
        mine, theirs = ({entry["seq"]: entry for entry in entries(client, room)} for client in (self.ana, self.bob))
        for client, found in ((self.ana, mine), (self.bob, theirs)):
            assert list(found) == sorted(found)
            assert len(found) == len(client.rooms[room])
        both = mine.keys() & theirs.keys()
        assert [mine[seq] for seq in both] == [theirs[seq] for seq in both]
        # Ana has been there all the time.
        assert list(mine) == list(range(min(mine), max(mine) + 1))
        return list(theirs.values())


@pytest.fixture
def pair(server: StartServer, postgres_url: str, connect: Connect) -> Iterator[Pair]:
    options = ("--metrics", METRICS)
    pair = Pair(
        server(postgres_url, config=config("one"), options=options),
        server(postgres_url, config=config("two"), options=options),
        connect,
    )
    late = pair.came_by("store")
    yield pair
    # A bus that carries nothing would go unnoticed, because the store has everything, too.
    brought = pair.came_by("bus")
    assert all(count > 0 for count in brought)
    for before, after, expected, count in zip(late, pair.came_by("store"), pair.late, brought, strict=True):
        assert after - before <= 0.1 * count if pair.busy else after - before == expected


def heard(client: JsonClient, event: str, **fields: Any) -> Message:
    """Waits for an event with these fields."""
    return client.wait_event(
        lambda found: found["event"] == event and all(found.get(key) == value for key, value in fields.items())
    )


def test_a_conversation_in_a_room(pair: Pair) -> None:
    """Two people at different nodes share a room: what they say, answer, correct, erase, react to and pin, and its
    topic. Both hear the same."""
    ana, bob = pair.ana, pair.bob
    ana.ok("create", room="books", topic="What we read")
    wait_until(lambda: "books" in str(bob.ok("rooms")), what="the room is there")
    bob.ok("join", room="books")
    heard(ana, "joined", room="books", name="bob")
    first = ana.say("books", "Has anybody read Middlemarch?")["seq"]
    bob.hears("Has anybody read Middlemarch?")
    answer = bob.ok("reply", room="books", seq=first, text="Half of it.")["seq"]
    assert heard(ana, "message", text="Half of it.")["re"] == first
    ana.ok("react", room="books", seq=answer, reaction="+1")
    heard(bob, "reacted", room="books", of=answer, by="ana")
    bob.ok("edit", room="books", seq=answer, text="Half of it, twice.")
    heard(ana, "edited", of=answer, text="Half of it, twice.")
    bob.ok("topic", room="books", text="Middlemarch")
    assert heard(ana, "topic", room="books")["text"] == "Middlemarch"
    ana.ok("pin", room="books", seq=answer)
    heard(bob, "pinned", of=answer)
    slip = ana.say("books", "oops")["seq"]
    bob.hears("oops")
    ana.ok("erase", room="books", seq=slip)
    heard(bob, "erased", of=slip)
    assert [entry["event"] for entry in pair.agree("books")[:4]] == ["joined", "message", "message", "reacted"]
    bob.ok("leave", room="books")
    heard(ana, "left", room="books", name="bob")
    ana.say("books", "alone")
    ana.ok("delete", room="books")
    assert bob.refused("join", room="books") == "no-such-room"
    assert bob.rooms["books"][-1]["event"] == "left"


def test_a_message_that_fits_into_no_frame(pair: Pair) -> None:
    """The longest message comes to the other node in its place, from the database."""
    longest = "ž" * 4_000
    for tag in [pair.ana.post("say", room="general", text=text) for text in ("before", longest, "behind")]:
        assert pair.ana.answer(tag)["ok"]
    for text in ("before", longest, "behind"):
        pair.bob.hears(text)
    pair.agree("general")
    pair.late = [0, 1]


def test_a_direct_room_and_its_names(pair: Pair) -> None:
    """A direct room that is made at one node is there at the other one with its first message, for all devices. It
    follows its people when they are renamed, and read marks reach their devices."""
    ana, bob = pair.ana, pair.bob
    device = pair.comes(pair.one, "bob", again=True)  # at the other node than bob's first one
    ana.say("@bob", "psst")
    for client in (bob, device):
        assert client.hears("psst")["room"] == "@ana"
    seq = bob.say("@ana", "what?")["seq"]
    for client in (ana, device):
        client.hears("what?")
    bob.ok("read", room="@ana", seq=seq)
    heard(device, "read", room="@ana", seq=seq)
    ana.ok("rename", name="anna", display="Ana María")
    for client in (bob, device):
        heard(client, "renamed", room="@ana", to="anna")
        heard(client, "renamed", room="general", to="anna")
    bob.say("@anna", "a new name?")
    assert ana.hears("a new name?")["room"] == "@bob"
    ana.say("@bob", "yes")
    for client in (bob, device):
        message = client.hears("yes")
        assert (message["room"], message["from"], message["display"]) == ("@anna", "anna", "Ana María")
    assert [entry["seq"] for entry in bob.rooms["@anna"]] == [entry["seq"] for entry in device.rooms["@anna"]]


def test_invitations(pair: Pair) -> None:
    """Somebody who is invited at one node hears of it at another one, and may join there; who is uninvited may not."""
    ana, bob = pair.ana, pair.bob
    ana.ok("create", room="party", visibility="private")
    assert bob.refused("join", room="party") == "no-such-room"
    ana.ok("invite", room="party", name="bob")
    heard(bob, "invited", room="party", by="ana")
    ana.ok("uninvite", room="party", name="bob")
    assert bob.refused("join", room="party") == "no-such-room"
    ana.ok("invite", room="party", name="bob")
    device = pair.comes(pair.one, "bob", again=True)
    bob.ok("join", room="party")
    for client in (ana, bob, device):
        heard(client, "joined", room="party", name="bob")
    ana.say("party", "welcome")
    for client in (bob, device):
        client.hears("welcome")
    pair.agree("party")


def test_moderation(pair: Pair) -> None:
    """Roles, mutes, kicks and bans hold at every node at once: a kicked account hears nothing behind that, although
    others go on talking at both nodes."""
    ana, bob = pair.ana, pair.bob
    pair.busy = True
    ana.ok("create", room="books")
    cai, dora = pair.comes(pair.one, "cai"), pair.comes(pair.two, "dora")
    for client in (bob, cai, dora):
        client.ok("join", room="books")
    ana.ok("mute", room="books", name="bob")
    heard(bob, "muted", room="books", name="bob")
    assert bob.refused("say", room="books", text="hm") == "muted"
    ana.ok("unmute", room="books", name="bob")
    heard(bob, "unmuted", room="books", name="bob")
    bob.say("books", "at last")
    ana.ok("role", room="books", name="dora", role="moderator")
    heard(dora, "role", room="books", name="dora")
    talkers = [Talker(cai, "cai", ["books"]).start(), Talker(dora, "dora", ["books"]).start()]
    for kicking in (ana.ok, ana.ok):
        wait_until(lambda: all(len(talker.acknowledged) > 20 for talker in talkers), what="they talk")
        kicking("kick", room="books", name="bob", reason="noise")
        heard(bob, "kicked", room="books", name="bob")
        assert bob.refused("say", room="books", text="hm") == "not-a-member"
        assert bob.rooms["books"][-1]["event"] == "kicked"
        bob.ok("join", room="books")
        heard(bob, "joined", room="books", name="bob")
    ana.ok("ban", room="books", name="bob")
    heard(bob, "banned", room="books", name="bob")
    for _ in range(20):
        bob.ok("ping")
    for talker in talkers:
        talker.stop()
    assert bob.rooms["books"][-1]["event"] == "banned"
    assert bob.refused("join", room="books") == "banned"
    ana.ok("unban", room="books", name="bob")
    bob.ok("join", room="books")
    pair.agree("books")


def test_blocks_and_ignoring(pair: Pair) -> None:
    """A block at one node keeps two people apart at every node: no direct message, no presence. Whom somebody ignores
    at one node their devices at others do not show."""
    ana, bob = pair.ana, pair.bob
    person = pair._connect(pair.two, TextClient)
    ana.ok("away", text="lunch")
    assert heard(bob, "presence", name="ana")["away"] == "lunch"
    ana.ok("block", name="bob")
    assert bob.refused("say", room="@ana", text="hello?") == "blocked"
    wait_until(lambda: "ana" not in str(bob.ok("who")), what="ana is not shown to bob")
    ana.ok("unblock", name="bob")
    wait_until(lambda: "ana" in str(bob.ok("who")), what="ana is shown to bob")
    bob.say("@ana", "hello!")
    ana.hears("hello!")
    person.login("ana")
    assert is_shown(pair, person)
    ana.ok("ignore", name="bob")
    wait_until(lambda: not is_shown(pair, person), what="bob is not shown")


def is_shown(pair: Pair, person: TextClient) -> bool:
    """Whether a person at the second node is shown what bob says."""
    before, end = len(person.seen), f"the end of {len(person.seen)} characters"
    pair.bob.say("general", "are you there?")
    pair.ana.say("general", end)
    person.expect(end)
    return "are you there?" in person.seen[before:]


def test_the_figures_of_the_bus(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """`chatctl stats` tells what the bus does, and whether it does anything."""
    pair.ana.say("general", "hello")
    pair.bob.hears("hello")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(pair.two.folder))
    monkeypatch.setenv("CHATSERVER_NODE", "two")
    chatctl = Chatctl(pair.two.database)
    wait_until(lambda: chatctl.json("stats")["bus"]["lag"] is not None, what="a frame has come back")
    bus = chatctl.json("stats")["bus"]
    assert (bus["nodes"], bus["connected"], bus["reconnects"], bus["gaps"]) == (1, True, 0, 0)
    assert bus["frames"]["sent"] > 0
    assert bus["frames"]["received"] > 0
    assert {bus["frames"][fate] for fate in ("dropped", "doubled", "unreadable")} == {0}
    assert bus["entries"]["bus"] > 0
    assert bus["received"] > bus["frames"]["received"]
    shown = chatctl("stats")
    assert re.search(r"^Nodes: +1 other one alive$", shown, re.MULTILINE)
    assert re.search(r"^Bus: +connected, [\d.]+ ms for a frame, 0 reconnects$", shown, re.MULTILINE)
    assert re.search(r"^Entries: +\d+ over the bus, 0 late, from the database$", shown, re.MULTILINE)


def test_both_nodes_have_one_order(pair: Pair) -> None:
    """While people talk at both nodes in the same rooms, everybody hears the same in the same order, over the bus."""
    rooms = ["general", "books"]
    pair.busy = True
    pair.ana.ok("create", room="books")
    clients = [pair.comes(pair.one, "cai"), pair.comes(pair.two, "dora"), pair.comes(pair.two, "emil")]
    for client in (pair.bob, *clients):
        client.ok("join", room="books")
    names = ("cai", "dora", "emil")
    talkers = [Talker(client, name, rooms).start() for client, name in zip(clients, names, strict=True)]
    wait_until(lambda: all(len(talker.acknowledged) > 300 for talker in talkers), 60, what="they talk")
    for talker in talkers:
        talker.stop()
    for room in rooms:
        pair.agree(room)
        said = {entry["text"] for entry in pair.bob.rooms[room] if entry["event"] == "message"}
        for talker in talkers:
            assert {f"text of {id}" for id, (where, _) in talker.acknowledged.items() if where == room} <= said


# What it costs where it is not used

LOGGING = {**FAST_SETTINGS, "log_statement": "all", "log_line_prefix": "%a|"}
IMPORTS = {"PYTHONPROFILEIMPORTTIME": "1"}
"""Makes Python write the name of each module that it loads to the log."""


def talk(connect: Connect, *servers: ChatServer) -> None:
    """People at these servers talk, in a room and in a direct room."""
    clients = [connect(server, JsonClient) for server in (*servers, servers[-1])]
    names = [f"user{number}of{len(clients)}" for number in range(len(clients))]
    for client, name in zip(clients, names, strict=True):
        client.register(name)
    clients[0].say("general", "hello")
    clients[0].say(f"@{names[-1]}", "psst")
    for client in clients:
        client.hears("hello")
    clients[-1].hears("psst")


def test_frames_are_sent_if_there_is_somebody(server: StartServer, connect: Connect) -> None:
    """While a server with a bus is alone it sends nothing over it. What it sends then goes over a connection of its
    own, in no message's transaction."""
    with PostgresServer(LOGGING) as postgres:
        url = postgres.create_migrated()
        one = server(url, config=config("one"), options=("--metrics", METRICS))
        talk(connect, one)
        wait_until(lambda: Monitor(one).numbers().of("chatserver_bus_connected") == 1, what="the bus is connected")
        assert Monitor(one).numbers().of("chatserver_bus_frames_total") == 0
        assert "pg_notify" not in postgres.log
        two = server(url, config=config("two"))
        for each in (one, two):
            each.wait_log("Node (one|two) is there")
        talk(connect, two, one)
        sent = Monitor(one).numbers().of("chatserver_bus_frames_total", fate="sent")
        assert sent > 0
        sending = [line for line in postgres.log.splitlines() if "pg_notify" in line]
        assert sending
        assert {line.partition("|")[0] for line in sending} == {NAME}
        assert not [line for line in postgres.log.splitlines() if line.startswith(NAME) and "BEGIN" in line]


def test_a_server_without_a_bus(server: StartServer, connect: Connect) -> None:
    """A server without a bus loads nothing of what makes several nodes one server, says nothing over a bus and asks
    nothing about other nodes."""
    with PostgresServer(LOGGING) as postgres:
        one = server(postgres.create_migrated(), config=QUICK, env=IMPORTS)
        talk(connect, one)
        one.stop()
        served = postgres.log.rpartition("CREATE DATABASE")[2]
        assert "INSERT INTO entry" in served
        for word in ("pg_notify", "LISTEN", NAME, "pg_locks"):
            assert word not in served, word
        assert "chatserver.store.db.threads" in one.log
        assert "chatserver.cluster" not in one.log
        assert "chatserver.store.nodes.listen_notify" not in one.log


def test_a_server_on_a_file_loads_nothing_of_it(server: StartServer, connect: Connect) -> None:
    """On SQLite, too."""
    one = server(config=QUICK, env=IMPORTS)
    talk(connect, one)
    assert one.stop() == 0
    assert "chatserver.store.db.threads" in one.log
    assert not re.findall(r"chatserver\.cluster\S*|chatserver\.store\.notify", one.log)


def test_a_bus_on_a_file_is_refused(tmp_path: Path) -> None:
    """A bus on SQLite is refused with one line."""
    path = tmp_path / "chatserver.toml"
    path.write_text('[bus]\nurl = "postgres"\n')
    database = f"sqlite:///{tmp_path / 'chat.db'}"
    done = run_chatserver("--database", database, "--listen", LOOPBACK, "--config", str(path), cwd=tmp_path)
    assert done.returncode == MISCONFIGURED
    [message] = re.findall(r"^(?:\S+ \[stderr#error\] )?chatserver: (.+)$", done.stdout, re.MULTILINE)
    assert message.startswith("bus.url is set, but the database is a SQLite file")
    assert "Traceback" not in done.stdout
