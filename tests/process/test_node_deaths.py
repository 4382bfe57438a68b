"""Nodes that are killed, stopped, and cut off from the database: the others have everything that was stored, bury the
dead, and nobody is taken for dead who lives."""

import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import psycopg2
import pytest
from sqlalchemy import make_url

from chaos.relay import Relay
from chatserver.store.db.own_schema import OPTION
from chatserver.store.nodes.lease import BEAT_SECONDS, LAPSE_SECONDS
from tests.chatctl.conftest import Chatctl
from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, Talker, check_kept, query, wait_for_load
from tests.support.client import Ended, JsonClient, Message
from tests.support.postgres import PostgresServer
from tests.support.process import LOOPBACK, ChatServer, run_chatserver, wait_until
from tests.support.valkey import Valkey

pytestmark = pytest.mark.slow

BUS = '[bus]\nurl = "postgres"\n'
NAMES = ("one", "two", "three")


def config(name: str) -> str:
    return f'{QUICK}{BUS}[server]\nnode = "{name}"\nguests = true\n'


def start(server: StartServer, database: str, *names: str) -> list[ChatServer]:
    """Nodes that know each other."""
    found = [server(database, config=config(name)) for name in names]
    for node, name in zip(found, names, strict=True):
        for other in names:
            if other != name:
                node.wait_log(f"Node {other} is there")
    return found


def boots(database: str) -> dict[str, str]:
    return {str(name): str(boot) for name, boot in query(database, "SELECT name, boot FROM node")}


def of_node(name: str) -> str:
    return f"SELECT count(*) FROM session WHERE disconnected_at IS NULL AND node = '{name}'"


def until_counted(database: str, statement: str, count: int) -> None:
    wait_until(lambda: query(database, statement) == [(count,)], what=statement)


def leaving(name: str) -> Callable[[Message], bool]:
    return lambda event: event["event"] == "left" and event["name"] == name


class PacedTalker(Talker):
    """Sends so fast that those who listen in the same test can follow."""

    def _post(self, id: str) -> int:
        time.sleep(0.01)
        return super()._post(id)


class Crowd:
    """At each node somebody who talks without pause, and somebody who listens."""

    def __init__(self, database: str, nodes: list[ChatServer], connect: Connect) -> None:
        self.database = database
        self.nodes = nodes
        self._connect = connect
        self.listeners: list[JsonClient] = []
        self.talkers: list[Talker] = []
        self.ended: list[Talker] = []
        for number in range(len(nodes)):
            self.add(number)
        wait_for_load(self.talkers, 30)

    def add(self, number: int) -> None:
        """Two more, at the node with this number."""
        ear, mouth = (self._connect(self.nodes[number], JsonClient) for _ in range(2))
        ear.register(f"ear{number}")
        mouth.register(f"mouth{number}")
        self.listeners.append(ear)
        self.talkers.append(PacedTalker(mouth, f"t{number}", ["general"]).start())

    def come_back(self, number: int) -> None:
        """After the node has started again."""
        self.ended.append(self.talkers[number])
        self.listeners[number] = self._connect(self.nodes[number], JsonClient)
        self.listeners[number].login(f"ear{number}")
        client = self._connect(self.nodes[number], JsonClient)
        client.login(f"mouth{number}")
        self.talkers[number] = PacedTalker(client, f"u{len(self.ended)}", ["general"]).start()

    def last_of(self, number: int) -> int:
        """The last stored entry of the talkers at that node."""
        author = f"(SELECT id FROM account WHERE name = 'mouth{number}')"
        [(seq,)] = query(self.database, f"SELECT max(seq) FROM entry WHERE author_id = {author}")
        assert isinstance(seq, int)
        return seq

    def hears(self, seq: int, *numbers: int) -> None:
        """The listeners at these nodes have everything up to there."""
        for number in numbers:
            self.listeners[number].wait_seq("general", seq)

    def check(self) -> None:
        """Everybody stops talking; nothing that was acknowledged is lost or stored twice, and everybody has heard the
        same in the same order."""
        for talker in self.talkers:
            talker.stop()
        [(head,)] = query(self.database, "SELECT last_seq FROM room WHERE name = 'general'")
        for listener in self.listeners:
            listener.wait_seq("general", int(str(head)))
        ears = [Talker(listener, "", []) for listener in self.listeners]
        check_kept(self.database, [*self.ended, *self.talkers, *ears])


@pytest.fixture
def seconds(record_property: Callable[[str, object], None]) -> Callable[[str, float], None]:
    def tell(what: str, since: float) -> None:
        took = round(time.monotonic() - since, 2)
        print(f"{what}: {took} s")
        record_property(what, took)

    return tell


def test_a_node_that_is_killed(
    postgres_url: str, server: StartServer, connect: Connect, seconds: Callable[[str, float], None]
) -> None:
    """After `kill -9` of a node under load the others soon have everything that it stored. Its guests leave, and its
    sessions are closed; it can come back at once."""
    nodes = start(server, postgres_url, *NAMES)
    crowd = Crowd(postgres_url, nodes, connect)
    for number in (2, 0):
        others = [one for one in range(3) if one != number]
        guest = connect(nodes[number], JsonClient)
        name = guest.ok("guest")["name"]
        recorded = of_node(NAMES[number])
        until_counted(postgres_url, recorded, 3)
        crowd.hears(crowd.last_of(number), *others)  # so that they have little to read
        killed = time.monotonic()
        nodes[number].kill()
        time.sleep(0.05)  # a statement under way is finished by its backend
        crowd.hears(crowd.last_of(number), *others)
        seconds("the others have everything", killed)
        for one in others:
            crowd.listeners[one].wait_event(leaving(name))
        seconds("its guest has left", killed)
        assert query(postgres_url, recorded) == [(0,)]
        assert boots(postgres_url)[NAMES[number]] == ""
        assert query(postgres_url, f"SELECT disabled_at IS NULL FROM account WHERE name = '{name}'") == [(False,)]
        wait_for_load([crowd.talkers[one] for one in others], 30)
        nodes[number].start()
        crowd.come_back(number)
        wait_for_load(crowd.talkers, 30)
    crowd.check()
    buried = [node.log.count("is dead: it does not run any more") for node in nodes]
    assert sum(buried) == 2, buried


def test_a_node_that_comes_back_at_once(postgres_url: str, server: StartServer, connect: Connect) -> None:
    """A node that was killed and starts again before the others notice buries itself: its guests leave, which people at
    the others hear once, and those of the others stay."""
    one, two = start(server, postgres_url, "one", "two")
    bob, gone, stays = connect(two, JsonClient), connect(one, JsonClient), connect(two, JsonClient)
    bob.register("bob")
    name, other = gone.ok("guest")["name"], stays.ok("guest")["name"]
    for node, count in (("one", 1), ("two", 2)):
        until_counted(postgres_url, of_node(node), count)
    two.signal(signal.SIGSTOP)
    try:
        one.kill()
        one.start()
    finally:
        two.signal(signal.SIGCONT)
    bob.wait_event(leaving(name))
    bob.say("general", "and that was all")
    assert sum(event["event"] == "left" for event in bob.events) == 1
    assert other in str(bob.ok("members", room="general"))
    assert query(postgres_url, "SELECT count(*) FROM session WHERE reason = 'crash'") == [(1,)]


@contextmanager
def held(database: str, rows: str) -> Iterator[None]:
    """Somebody's transaction has locked these rows."""
    holder = psycopg2.connect(database.replace("+psycopg2", ""), options=OPTION)
    try:
        with holder.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {rows} FOR UPDATE")
        yield
    finally:
        holder.close()


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def test_a_commit_after_the_death(postgres_url: str, server: StartServer, connect: Connect) -> None:
    """Messages that the database stores for a node after its death are heard at the others within moments."""
    one, two = start(server, postgres_url, "one", "two")
    bob = connect(two, JsonClient)
    bob.register("bob")
    for attempt in range(10):  # the statement waits for a lock no longer than a third of a second
        ana = connect(one, JsonClient)
        ana.ok("register" if attempt == 0 else "login", name="ana", password="s3cret-words")
        with held(postgres_url, "room WHERE name = 'general'"):
            ana.post("say", room="general", text=f"late {attempt}")
            wait_until(lambda: query(postgres_url, WAITING) == [(1,)], what="a statement waits")
            one.kill()
        wait_until(lambda: query(postgres_url, WAITING) == [(0,)], what="it is over")
        if query(postgres_url, f"SELECT 1 FROM entry WHERE text = 'late {attempt}'"):
            bob.hears(f"late {attempt}", 8)
            return
        one.start()
    pytest.skip("This machine is too slow: each statement has ended before the node was killed.")


def test_a_transaction_of_a_node_that_dies(postgres_url: str, server: StartServer, connect: Connect) -> None:
    """A node that is killed in the middle of a transaction leaves nothing of it, and no lock: what it had begun can be
    done again at another node at once."""
    one, two = start(server, postgres_url, "one", "two")
    ana, again = connect(one, JsonClient), connect(two, JsonClient)
    ana.register("ana")
    again.login("ana")
    with held(postgres_url, "account WHERE name = 'ana'"):
        ana.post("create", room="books", topic="by the one")
        wait_until(lambda: query(postgres_url, WAITING) == [(1,)], what="the transaction waits")
        one.kill()
    again.ok("create", room="books", topic="by the other")
    assert query(postgres_url, "SELECT topic FROM room WHERE name = 'books'") == [("by the other",)]


def test_a_node_that_was_stopped(
    postgres_url: str, server: StartServer, connect: Connect, seconds: Callable[[str, float], None]
) -> None:
    """A node that does not run for 15 seconds is buried by the others. When it runs again it ends all connections and
    serves with a new boot, under its own name; it hears the others and they hear it, and nobody is there as a ghost."""
    nodes = start(server, postgres_url, *NAMES)
    crowd = Crowd(postgres_url, nodes, connect)
    guest = connect(nodes[2], JsonClient)
    name = guest.ok("guest")["name"]
    until_counted(postgres_url, of_node("three"), 3)
    before = boots(postgres_url)
    stopped = time.monotonic()
    nodes[2].signal(signal.SIGSTOP)
    try:
        crowd.listeners[0].wait_event(leaving(name), 15)
        seconds("its guest has left", stopped)
        assert boots(postgres_url)["three"] == ""
        time.sleep(max(stopped + 15 - time.monotonic(), 0))
    finally:
        nodes[2].signal(signal.SIGCONT)
    assert crowd.listeners[2].wait_closing(20)["reason"] == "fenced"
    nodes[2].wait_log("has the lease again")
    now = boots(postgres_url)
    assert now["three"] not in ("", before["three"])
    assert (now["one"], now["two"]) == (before["one"], before["two"])
    crowd.listeners[2].drain(10)
    crowd.come_back(2)
    wait_for_load(crowd.talkers, 30)
    crowd.hears(crowd.last_of(2), 0, 1)
    crowd.hears(crowd.last_of(0), 2)
    crowd.check()
    opened = "SELECT node, count(*) FROM session WHERE disconnected_at IS NULL GROUP BY node ORDER BY node"
    wait_until(lambda: query(postgres_url, opened) == [("one", 2), ("three", 2), ("two", 2)], what="no ghosts")


def test_logins_at_a_node_that_is_stopped(postgres_url: str, server: StartServer, connect: Connect) -> None:
    """A login that is under way when a node is stopped for longer than its lease, or begins meanwhile, is answered, or
    the client learns why its connection ends."""
    one, two = start(server, postgres_url, "one", "two")
    people = [connect(two, JsonClient) for _ in range(20)]
    for number, person in enumerate(people):
        person.register(f"p{number}")
    arriving: list[tuple[JsonClient, int]] = []

    def arrive() -> None:
        for number in range(len(people)):
            client = connect(one, JsonClient)
            arriving.append((client, client.post("login", name=f"p{number}", password="s3cret-words")))

    arrive()
    one.signal(signal.SIGSTOP)
    try:
        arrive()
        time.sleep(LAPSE_SECONDS + 2)
    finally:
        one.signal(signal.SIGCONT)
    for client, tag in arriving:
        try:
            assert client.answer(tag, 30)["ok"]
        except Ended:
            assert client.wait_closing()["reason"] == "fenced"


def test_a_node_that_is_cut_off(postgres_url: str, server: StartServer, connect: Connect) -> None:
    """A node that alone does not reach the database is buried by the others after a while. Once it reaches it again, it
    ends all connections, since it knows nothing of what happened meanwhile, and serves with a new boot."""
    where = make_url(postgres_url)
    relay = Relay(lambda: (str(where.host), where.port or 5432), random.Random(1))
    host, port = relay.address
    try:
        one = server(postgres_url, config=config("one"))
        two = server(where.set(host=host, port=port).render_as_string(hide_password=False), config=config("two"))
        one.wait_log("Node two is there")
        ana, bob, guest = connect(one, JsonClient), connect(two, JsonClient), connect(two, JsonClient)
        ana.register("ana")
        bob.register("bob")
        name = guest.ok("guest")["name"]
        until_counted(postgres_url, of_node("two"), 2)
        before = boots(postgres_url)
        relay.closed = True
        relay.cut(1.0, 1)
        ana.wait_event(leaving(name), LAPSE_SECONDS + 10)
        ana.say("general", "meanwhile")
        assert not bob.ended
        relay.closed = False
        assert bob.wait_closing(20)["reason"] == "fenced"
        two.wait_log("has the lease again")
        bob = connect(two, JsonClient)
        bob.login("bob")
        ana.say("general", "hello")
        bob.hears("hello")
        bob.say("general", "hello back")
        ana.hears("hello back")
        assert before["two"] != boots(postgres_url)["two"] != ""
        assert before["one"] == boots(postgres_url)["one"]
        until_counted(postgres_url, of_node("two"), 1)
    finally:
        relay.close()


@pytest.fixture(params=["postgres", "valkey"])
def bus(request: pytest.FixtureRequest) -> Iterator[str]:
    """The settings of a bus."""
    if request.param == "postgres":
        yield BUS
    else:
        with Valkey() as valkey:
            yield f'[bus]\nurl = "{valkey.url}"\n'


def test_a_node_that_keeps_the_bus(postgres_url: str, server: StartServer, connect: Connect, bus: str) -> None:
    """A node that loses the database and not the bus tells nobody anything more once its lease has lapsed, since it
    cannot know who was disabled meanwhile. Its sessions end as fenced when the database answers, and resume elsewhere
    or there without a hole."""
    where = make_url(postgres_url)
    relay = Relay(lambda: (str(where.host), where.port or 5432), random.Random(1))
    host, port = relay.address
    try:
        past = where.set(host=host, port=port).render_as_string(hide_password=False)
        one, two, three = (
            server(url, config=f'{QUICK}{bus}[server]\nnode = "{name}"\n')
            for name, url in zip(NAMES, (postgres_url, past, postgres_url), strict=True)
        )
        for node in (two, three):
            one.wait_log(f"Node {NAMES[(one, two, three).index(node)]} is there")
            node.wait_log("Node one is there")
        ana, bob, cai, dee = (connect(node, JsonClient) for node in (one, two, two, three))
        for client, name in ((ana, "ana"), (bob, "bob"), (cai, "cai"), (dee, "dee")):
            client.register(name)
        ana.say("general", "hello")
        for client in (bob, cai, dee):
            client.hears("hello")
        relay.flows.clear()
        lapsed = time.monotonic() + LAPSE_SECONDS + BEAT_SECONDS
        while time.monotonic() < lapsed:
            ana.say("general", "before")
            time.sleep(0.1)
        Chatctl(postgres_url)("user", "disable", "bob")
        for number in range(20):
            ana.say("general", f"secret {number}")
            dee.hears(f"secret {number}")
        bob.post("ping")
        cai.post("ping")
        time.sleep(1)
        relay.flows.set()
        assert bob.wait_closing(20)["reason"] in ("fenced", "disabled")
        assert cai.wait_closing(20)["reason"] == "fenced"
        for client in (bob, cai):
            client.drain(10)
            assert not [event for event in client.events if "secret" in event.get("text", "")]
        seq = max(event["seq"] for event in cai.events if event["event"] == "message")
        two.wait_log("has the lease again")
        again = connect(two, JsonClient)
        again.login("cai", resume={"general": seq})
        ana.say("general", "and on")
        again.hears("and on")
        seqs = [event["seq"] for event in again.events if event["event"] in ("message", "joined")]
        assert seqs == list(range(seq + 1, seqs[-1] + 1))
    finally:
        relay.close()


def test_a_restart_of_the_database(postgres_server: PostgresServer, server: StartServer, connect: Connect) -> None:
    """PostgreSQL crashes and comes back after longer than a lease lasts: nobody is taken for dead, and nobody's
    connection ends."""
    database = postgres_server.create_migrated()
    nodes = start(server, database, *NAMES)
    crowd = Crowd(database, nodes, connect)
    before = boots(database)
    postgres_server.stop()
    wait_until(lambda: all(talker.unavailable for talker in crowd.talkers), what="every talker has been refused")
    time.sleep(LAPSE_SECONDS + 1)
    postgres_server.start()
    wait_for_load(crowd.talkers, 30)
    time.sleep(LAPSE_SECONDS + 3)  # dead nodes are known to be dead by then
    wait_for_load(crowd.talkers, 30)
    assert boots(database) == before
    crowd.check()
    for node in nodes:
        assert "is dead" not in node.log
        assert "is gone" not in node.log
    assert not any(client.ended for client in crowd.listeners)


def test_names_that_nodes_take(postgres_url: str, server: StartServer, connect: Connect, tmp_path: Path) -> None:
    """A node without a name is called as its host is, with a number if a living one has that name; after a crash the
    name is free. A server with a given name that is taken does not start."""
    host = socket.gethostname()
    first, second = server(postgres_url, config=QUICK + BUS), server(postgres_url, config=QUICK + BUS)
    assert {name for name, boot in boots(postgres_url).items() if boot} == {host, f"{host}-2"}
    ana = connect(second, JsonClient)
    ana.register("ana")
    wait_until(lambda: query(postgres_url, "SELECT node FROM session") == [(f"{host}-2",)], what="its session")
    first.kill()
    third = server(postgres_url, config=QUICK + BUS, env={"CHATSERVER_NODE": "third"})
    first.start()
    assert set(boots(postgres_url)) == {host, f"{host}-2", "third"}
    assert first.running
    assert third.running
    (tmp_path / "taken.toml").write_text(BUS)
    done = run_chatserver(
        "--database", postgres_url, "--listen", LOOPBACK, "--config", str(tmp_path / "taken.toml"),
        cwd=tmp_path, env={"CHATSERVER_NODE": "third"},
    )  # fmt: skip
    assert done.returncode == 1
    assert f"as node third (process {third.pid} on {host}" in done.stdout
    assert "Traceback" not in done.stdout


def test_nodes_that_start_at_the_same_moment(postgres_url: str, server: StartServer) -> None:
    """Four nodes without names start at the same moment on a database that no server has used: each serves, with a name
    of its own, and there is one default room."""
    starting = [Thread(target=server, args=(postgres_url,), kwargs={"config": QUICK + BUS}) for _ in range(4)]
    for thread in starting:
        thread.start()
    for thread in starting:
        thread.join(60)
    host = socket.gethostname()
    assert {name for name, boot in boots(postgres_url).items() if boot} == {host, *(f"{host}-{n}" for n in (2, 3, 4))}
    assert query(postgres_url, "SELECT name FROM room") == [("general",)]
