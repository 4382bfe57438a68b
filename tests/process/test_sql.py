"""SQL as an interface, with a real server and a role that may do nothing else."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg2
import pytest
from sqlalchemy import make_url

from chatserver.store.db.engine import open_engine, parse_url
from chatserver.sync.change_feed import ChangeFeed
from tests.conftest import Connect, StartServer
from tests.support.client import JsonClient, TextClient
from tests.support.hall import Hall
from tests.support.process import wait_until

PROMISED_SECONDS = 1.0
"""docs/sql.md: so long after a commit, at most, everybody has seen a post."""
EXAMPLE = Path(__file__).parents[2] / "examples" / "orders.py"


class Shop:
    """An application with a role of its own."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self.name = f"shop_{self._url.database}"

    @property
    def dsn(self) -> str:
        return f"host={self._url.host} port={self._url.port} dbname={self._url.database} user={self.name}"

    def connect(self) -> Any:
        return psycopg2.connect(self.dsn)

    def admit(self, db: Any) -> None:
        for statement in (
            f"CREATE ROLE {self.name} LOGIN",
            f"GRANT USAGE ON SCHEMA chat_v1 TO {self.name}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA chat_v1 TO {self.name}",
            f"GRANT EXECUTE ON FUNCTION chat_v1.post(text, text, text, text) TO {self.name}",
            f"CREATE SCHEMA shop AUTHORIZATION {self.name}",
        ):
            db.exec_driver_sql(statement)

    def post(self, said: str, id: str | None = None, room: str = "general") -> int:
        connection = self.connect()
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT chat_v1.post(%s, 'bot', %s, %s)", (room, said, id))
            (seq,) = cursor.fetchone()
        connection.close()
        return int(seq)

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """The example, as docs/sql.md shows it."""
        command = [sys.executable, str(EXAMPLE), self.dsn, *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def shop(postgres_url: str) -> Iterator[Shop]:
    """To be admitted once the database is migrated."""
    shop = Shop(postgres_url)
    yield shop
    engine = open_engine(parse_url(postgres_url))
    with engine.begin() as db:
        db.exec_driver_sql(f"DROP OWNED BY {shop.name} CASCADE")
        db.exec_driver_sql(f"DROP ROLE {shop.name}")
    engine.dispose()


def admit(shop: Shop, url: str) -> None:
    engine = open_engine(parse_url(url))
    with engine.begin() as db:
        shop.admit(db)
    engine.dispose()


def test_the_example(postgres_url: str, shop: Shop, server: StartServer, connect: Connect) -> None:
    """An order and its message come together; people and programs see the message; the same order again changes
    nothing; and an order whose message is refused is not stored."""
    chat = server(postgres_url)
    admit(shop, postgres_url)
    bot, ana = connect(chat, JsonClient), connect(chat, TextClient)
    bot.register("bot")
    ana.register("ana")
    done = shop.run("book", "2")
    assert done.stdout == "Order 1 is message 3 in #general.\n", done.stderr
    ana.expect("bot: Order 1: 2 x book")
    assert bot.hears("Order 1: 2 x book")["seq"] == 3
    assert bot.refused("say", room="general", text="else", id="order-1") == "id-conflict"
    assert shop.run("book", "2", "--order", "1").stdout == done.stdout
    refused = shop.run("pen", "1", "--room", "nowhere")
    assert (refused.returncode, refused.stderr) == (
        1, "no-such-room: there is no room nowhere. Create it, or correct the name.\n",
    )  # fmt: skip
    connection = shop.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT item, pieces, seq FROM shop.orders")
        assert cursor.fetchall() == [("book", 2, 3)]
        cursor.execute("SELECT sender, text FROM chat_v1.messages WHERE room = 'general'")
        assert cursor.fetchall() == [("bot", "Order 1: 2 x book")]
        cursor.execute("SELECT name FROM chat_v1.sessions WHERE disconnected_at IS NULL ORDER BY name")
        assert cursor.fetchall() == [("ana",), ("bot",)]
    connection.close()
    assert bot.say("general", "next")["seq"] == 4


def test_within_a_second(postgres_url: str, shop: Shop, server: StartServer, connect: Connect, tmp_path: Path) -> None:
    """Connected clients see a post within a second of its commit, wherever it falls between two looks at the
    database; and so does a client of a real server."""
    chat = server(postgres_url)
    admit(shop, postgres_url)
    bot, ana = connect(chat, JsonClient), connect(chat, JsonClient)
    bot.register("bot")
    ana.register("ana")
    waits = []
    for number in range(4):
        shop.post(f"real {number}")
        begun = monotonic()
        ana.hears(f"real {number}")
        waits.append(monotonic() - begun)
    # Each post but the first comes right after a look, and waits for the whole time until the next one. The shortest
    # wait is the one that a busy machine has disturbed the least.
    assert min(waits[1:]) < PROMISED_SECONDS
    engine = open_engine(parse_url(postgres_url))
    hall = Hall(tmp_path, engine=engine)
    store: Any = hall.inline
    change_feed = ChangeFeed(
        hall.clock, store, hall.registry, hall.roster, hall.reconciler, hall.session_rows, hall.rewind
    )
    change_feed.start()
    eve = hall.program("eve")
    for number in range(5):
        hall.passes(number / 10)
        shop.post(f"post {number}")
        hall.passes(PROMISED_SECONDS)
        assert eve.said[-1:] == [f"post {number}"]
    change_feed.stop()
    hall.close()


def test_listening(postgres_url: str, shop: Shop, server: StartServer, connect: Connect) -> None:
    """An application that listens is notified of what clients say and of what is posted, in no words: it asks for
    what is new."""
    chat = server(postgres_url)
    admit(shop, postgres_url)
    bot, ana = connect(chat, JsonClient), connect(chat, JsonClient)
    bot.register("bot")
    ana.register("ana")
    connection = shop.connect()
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("LISTEN chat_v1")

    def new(text: str) -> Callable[[], bool]:
        """Whether a notification has come after which the views have this message."""

        def look() -> bool:
            connection.poll()
            heard = [(one.channel, one.payload) for one in connection.notifies]
            connection.notifies.clear()
            assert set(heard) <= {("chat_v1", "")}
            cursor.execute("SELECT count(*) FROM chat_v1.messages WHERE text = %s", (text,))
            return bool(heard) and cursor.fetchone() == (1,)

        return look

    ana.say("general", "from a client")
    wait_until(new("from a client"), what="the application learns of it")
    shop.post("from the shop")
    wait_until(new("from the shop"), what="the application learns of it")
    connection.close()


def test_to_one_person(postgres_url: str, shop: Shop, server: StartServer, connect: Connect) -> None:
    """People who are connected hear a direct message of an application, also the first one, and can answer it."""
    chat = server(postgres_url)
    admit(shop, postgres_url)
    bot, ana, eve = connect(chat, JsonClient), connect(chat, TextClient), connect(chat, JsonClient)
    for client, name in ((bot, "bot"), (ana, "ana"), (eve, "eve")):
        client.register(name)
    assert shop.post("Your order is on its way.", room="@ana") == 1
    ana.expect("bot: Your order is on its way.")
    assert bot.hears("Your order is on its way.")["room"] == "@ana"
    ana.send(b"/msg bot thanks\n")
    assert bot.hears("thanks")["seq"] == 2
    assert shop.post("You are welcome.", room="@ana") == 3
    ana.expect("bot: You are welcome.")
    eve.ok("ping")
    assert all(event.get("room") != "@bot" for event in eve.events)


def test_a_long_transaction(postgres_url: str, shop: Shop, server: StartServer, connect: Connect) -> None:
    """A message to the room waits for the application, and comes behind its post; a room of another lane goes on."""
    chat = server(postgres_url)
    admit(shop, postgres_url)
    bot, ana = connect(chat, JsonClient), connect(chat, JsonClient)
    for client, name in ((bot, "bot"), (ana, "ana")):
        client.register(name)
    bot.ok("create", room="films")
    ana.ok("join", room="films")
    connection = shop.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT chat_v1.post('general', 'bot', 'from the shop', NULL)")
        tag = bot.post("say", room="general", text="behind it")
        assert ana.say("films", "meanwhile")["seq"] == 3
        assert tag not in bot.order
    connection.close()
    assert bot.answer(tag)["seq"] == 4
    heard = [message["text"] for message in ana.wait_seq("general", 4) if message.get("text")]
    assert heard[-2:] == ["from the shop", "behind it"]


@pytest.mark.slow
def test_a_transaction_that_does_not_end(postgres_url: str, shop: Shop, server: StartServer, connect: Connect) -> None:
    """People are told that the room is busy, not that the database is away, and their lines are kept; programs may try
    again. So is who would change the room."""
    chat = server(postgres_url)
    admit(shop, postgres_url)
    bot, ana, bob = connect(chat, JsonClient), connect(chat, TextClient), connect(chat, JsonClient)
    for client, name in ((bot, "bot"), (ana, "ana"), (bob, "bob")):
        client.register(name)
        client.timeout = 30.0
    connection = shop.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT chat_v1.post('general', 'bot', 'from the shop', NULL)")
        ana.send(b"hello\n")
        tag = bob.post("topic", room="general", text="a topic")
        ana.expect("! The room is busy: another program is changing it. Try again in a moment.")
        ana.expect("line is kept")
        answer = bob.answer(tag)
        assert (answer["error"], answer["text"]) == (
            "unavailable", "The room is busy: another program is changing it. Try again in a moment.",
        )  # fmt: skip
    connection.close()
    ana.send(b"/retry\n")
    assert bob.hears("hello")["from"] == "ana"
    assert "does not answer" not in chat.log
    assert "look for it in pg_stat_activity" in chat.log


def test_both_ways_at_once(postgres_url: str, shop: Shop, server: StartServer, connect: Connect) -> None:
    """While applications post and clients talk, everybody hears every message once and in the order of its number."""
    chat = server(postgres_url)
    admit(shop, postgres_url)
    bot, ana, late = connect(chat, JsonClient), connect(chat, JsonClient), connect(chat, JsonClient)
    for client, name in ((bot, "bot"), (ana, "ana"), (late, "late")):
        client.register(name)
    with ThreadPoolExecutor(3) as threads:
        posted = [threads.submit(shop.post, f"post {n}", f"id-{n % 20}") for n in range(20)]
        posted += [threads.submit(shop.post, f"post {n}", f"id-{n}") for n in range(20)]
        said = [ana.say("general", f"say {n}")["seq"] for n in range(30)]
        numbers = [future.result(60) for future in posted]
    assert numbers[:20] == numbers[20:]
    last = max(*said, *numbers)
    assert sorted([*said, *numbers[:20]]) == list(range(4, last + 1))
    for client in (bot, ana, late):
        heard = [event["seq"] for event in client.wait_seq("general", last)]
        assert heard == sorted(set(heard))
        assert set(heard) >= set(range(4, last + 1))


def test_a_held_room(postgres_url: str, shop: Shop, server: StartServer, connect: Connect) -> None:
    """While an application holds a room, messages to it wait, in their order, and all other rooms go on, also those
    that share its lane, whoever speaks."""
    chat = server(postgres_url)
    admit(shop, postgres_url)
    names = ("bot", "ana", "bob", "cleo")
    bot, ana, bob, cleo = (connect(chat, JsonClient) for _ in names)
    others = ["films", "books", "chess", "music"]
    for client, name in zip((bot, ana, bob, cleo), names, strict=True):
        client.register(name)
    for room in others:
        bot.ok("create", room=room)
        for client in (ana, bob, cleo):
            client.ok("join", room=room)
    connection = shop.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT chat_v1.post('general', 'bot', 'from the shop', NULL)")
        first = ana.post("say", room="general", text="one")
        for round in range(3):
            for room in others:
                assert cleo.say(room, f"{round}")["seq"] == 5 + round * 1
        second = bob.post("say", room="general", text="two")
        behind = [ana.post("say", room="films", text="behind one"), ana.post("say", room="general", text="three")]
        for room in others:
            cleo.say(room, "still")
        assert first not in ana.order
        assert second not in bob.order
    connection.close()
    seqs = [ana.answer(first)["seq"], bob.answer(second)["seq"], ana.answer(behind[1])["seq"]]
    assert ana.answer(behind[0])["ok"]
    assert seqs == [6, 7, 8]
    heard = [message["text"] for message in cleo.wait_seq("general", 8) if message.get("text")]
    assert heard[-4:] == ["from the shop", "one", "two", "three"]
    assert ana.order[-3:] == [first, *behind]
    assert "does not answer" not in chat.log
