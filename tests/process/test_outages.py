"""Outages: the database becomes unreachable, and comes back."""

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, Talker, check_kept, wait_for_load
from tests.support.client import JsonClient, TextClient
from tests.support.postgres import PostgresServer
from tests.support.process import wait_until


@pytest.fixture
def database(postgres_server: PostgresServer) -> str:
    return postgres_server.create_database()


def test_an_outage_under_load(
    postgres_server: PostgresServer, database: str, server: StartServer, connect: Connect
) -> None:
    """During an outage, commands are refused as `unavailable` with `retry`, and connections stay open; afterwards
    everything continues by itself, and retried messages are stored once."""
    chat = server(database, config=QUICK)
    ana, bob, cai = (connect(chat, JsonClient) for _ in range(3))
    for name, client in (("ana", ana), ("bob", bob), ("cai", cai)):
        client.register(name)
    talkers = [Talker(ana, "t0", ["general"]), Talker(bob, "t1", ["general", "@ana"])]
    for talker in talkers:
        talker.start()
    wait_for_load(talkers, 50)

    postgres_server.stop()
    wait_until(lambda: all(talker.unavailable for talker in talkers), what="every talker has been refused")
    assert all(answer["retry"] is True for talker in talkers for answer in talker.unavailable)
    for word, fields in (("history", {"room": "general"}), ("join", {"room": "general"}), ("unread", {})):
        answer = cai.cmd(word, **fields)
        assert (answer["error"], answer.get("retry")) == ("unavailable", True), word
    assert cai.ok("ping")
    newcomer, person = connect(chat, JsonClient), connect(chat, TextClient)
    assert newcomer.refused("login", name="ana", password="s3cret-words") == "unavailable"
    person.type("ana")
    person.expect("! The server cannot reach its database. Try again in a moment.\n")

    postgres_server.start()
    wait_for_load(talkers, 50)
    for talker in talkers:
        talker.stop()
    newcomer.login("ana")
    person.type("ana")
    person.expect("* Hello ana.")
    head = cai.ok("history", room="general", limit=1)["entries"][-1]["seq"]
    cai.wait_seq("general", head)
    for client in (ana, bob):
        client.wait_seq("general", head)
    assert not any(client.ended for client in (ana, bob, cai, newcomer, person))
    check_kept(database, [*talkers, Talker(cai, "cai", [])])
    assert "The database does not answer" in chat.log
    assert "The database answers again." in chat.log


def test_sessions_that_end_during_an_outage_are_recorded(
    postgres_server: PostgresServer, database: str, server: StartServer, connect: Connect
) -> None:
    """The row of a session that ends during an outage is closed once the database is back."""
    chat = server(database, config=QUICK)
    ana, bob = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bob.register("bob")
    postgres_server.stop()
    assert bob.refused("unread") == "unavailable"
    ana.ok("quit")
    ana.drain()
    postgres_server.start()
    wait_until(lambda: bob.cmd("unread")["ok"] is True, what="the server uses the database again")

    def last_seen() -> bool:
        [user] = bob.ok("who", name="ana")["users"]
        return user["online"] is False and user["last_seen"] > bob.ok("who", name="bob")["users"][0]["last_seen"]

    wait_until(last_seen, what="the end of ana's session is recorded")
