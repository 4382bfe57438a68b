"""Slow queries."""

from sqlalchemy import Connection, text

from chatserver.store.db.engine import open_engine, parse_url
from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.client import JsonClient
from tests.support.process import wait_until

READERS = 6
"""Number of queries: more than there are lanes and threads for reading."""


def waiting(db: Connection) -> int:
    """How many queries wait for the table that the test has locked."""
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'account'::regclass"
    return int(db.execute(text(query)).scalar() or 0)


def test_commands_of_a_vanished_client(postgres_url: str, server: StartServer, connect: Connect) -> None:
    """Commands that wait behind a slow one are executed, even if the client is gone when their turn comes."""
    chat = server(postgres_url, config=QUICK + "[limits]\npresence_seconds = 0.1\n")
    ana, bob = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bob.register("bob")
    engine = open_engine(parse_url(postgres_url))
    with engine.begin() as db:
        db.execute(text("LOCK TABLE account IN ACCESS EXCLUSIVE MODE"))
        bob.post("history", room="general")
        for n in range(5):
            bob.post("say", room="general", text=f"{n}")
        bob.post("ping")
        wait_until(lambda: waiting(db) >= 1, what="the query waits")
        bob.abort()
        ana.wait_event(lambda event: event["event"] == "presence" and not event["online"])
        assert [event["text"] for event in ana.events if event["event"] == "message"] == []
    engine.dispose()
    ana.hears("4")
    assert [event["text"] for event in ana.events if event["event"] == "message"] == [f"{n}" for n in range(5)]


def test_a_slow_query_delays_nobodys_messages(postgres_url: str, server: StartServer, connect: Connect) -> None:
    """While every reader waits for the database, messages are still delivered; the readers' own follow, in order."""
    chat = server(postgres_url, config=QUICK)
    ana, bob = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bob.register("bob")
    readers = [connect(chat, JsonClient) for _ in range(READERS)]
    for number, reader in enumerate(readers):
        reader.register(f"reader{number}")
    engine = open_engine(parse_url(postgres_url))
    with engine.begin() as db:
        db.execute(text("LOCK TABLE account IN ACCESS EXCLUSIVE MODE"))  # only readers look up names
        histories = [reader.post("history", room="general", limit=500) for reader in readers]
        own = [reader.post("say", room="general", text="mine") for reader in readers]
        wait_until(lambda: waiting(db) >= 2, what="the readers wait")
        for n in range(100):
            seq = ana.say("general", f"{n}")["seq"]
        for client in (bob, *readers):
            client.wait_seq("general", seq)
        assert all(set(reader.order) == {1} for reader in readers)
    engine.dispose()
    for reader, history, say in zip(readers, histories, own, strict=True):
        assert reader.answer(history)["entries"][-1]["seq"] >= seq
        assert reader.answer(say)["seq"] > seq
        assert reader.order == [1, history, say]


def test_a_query_that_takes_too_long(postgres_url: str, server: StartServer, connect: Connect) -> None:
    """It is refused with `slow-down`, and does not count as an outage of the database."""
    chat = server(postgres_url, config=QUICK + "[pipeline]\nread_seconds = 0.5\n")
    ana = connect(chat, JsonClient)
    ana.register("ana")
    engine = open_engine(parse_url(postgres_url))
    with engine.begin() as db:
        db.execute(text("LOCK TABLE account IN ACCESS EXCLUSIVE MODE"))
        refused = ana.cmd("history", room="general")
        assert (refused["error"], refused["retry"]) == ("slow-down", 1)
        ana.say("general", "still here")
    engine.dispose()
    assert ana.ok("history", room="general")["entries"][-1]["text"] == "still here"
    assert "does not answer" not in chat.log
