"""Outages: the database becomes unreachable or hangs, and comes back."""

import time

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, Talker, check_kept, stored, under_load, wait_for_load
from tests.support.client import JsonClient, TextClient
from tests.support.hanging import stopped
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
    talkers = under_load(ana, bob, cai)

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


@pytest.mark.slow
def test_what_people_say_during_an_outage(
    postgres_server: PostgresServer, database: str, server: StartServer, connect: Connect
) -> None:
    """After kill -9 of the database in the middle of what a person types, /retry sends what was refused: everything is
    stored and heard once, in the order in which it was typed. Who was told of the outage is told of its end, once."""
    chat = server(database, config=QUICK)
    ana, cai, bob = connect(chat, TextClient), connect(chat, TextClient), connect(chat, JsonClient)
    ana.register("ana")
    cai.register("cai")
    bob.register("bob")
    lines = [f"line {number}" for number in range(20)]
    for line in lines[:5]:
        ana.type(line)
    bob.hears(lines[4])
    ana.send("".join(f"{line}\n" for line in lines[5:10]).encode())
    postgres_server.kill()
    for line in lines[10:]:
        ana.type(line)
    cai.type("/unread")
    cai.expect("! The server cannot reach its database.")
    ana.type("/ping")
    ana.expect("* The server is here.")
    kept = ana.seen.replace("\n   | ", " ").count("Your line is kept: /retry sends it again.")
    assert 10 <= kept <= 15

    postgres_server.start()
    ana.expect(f"* The database is back. /retry sends what you said meanwhile: {kept} lines.\n")
    cai.expect("* The database is back.\n")
    ana.send(b"/retry\nlast\n")
    bob.hears("last")
    said = [event["text"] for event in bob.rooms["general"] if event["event"] == "message"]
    assert said == [*lines, "last"]
    assert [words for _, kind, words, _ in stored(database)["general"] if kind == "message"] == said
    ana.type("/retry")
    ana.expect("* There is nothing to send again.")
    cai.type("/quit")
    assert (ana.seen + cai.rest()).count("The database is back.") == 1


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


@pytest.mark.slow
def test_a_database_that_hangs(
    postgres_server: PostgresServer, database: str, server: StartServer, connect: Connect
) -> None:
    """While all processes of PostgreSQL are stopped, every command is refused as `unavailable` by the deadline, in
    order, and the log says why; afterwards everything continues, and retried messages are stored once."""
    chat = server(database, config=QUICK + "[pipeline]\ndatabase_seconds = 2\n")
    ana, bob, cai = (connect(chat, JsonClient) for _ in range(3))
    talkers = under_load(ana, bob, cai)

    with stopped(postgres_server):
        begun = time.monotonic()
        answers = [cai.post(word, room="general") for word in ("history", "join", "members", "leave")]
        assert [cai.answer(tag)["error"] for tag in answers] == ["unavailable"] * 4
        assert time.monotonic() - begun < 15
        newcomer = connect(chat, JsonClient)
        begun = time.monotonic()
        assert newcomer.refused("login", name="ana", password="s3cret-words") == "unavailable"
        assert time.monotonic() - begun < 5
        wait_until(lambda: all(talker.unavailable for talker in talkers), what="every talker has been refused")
        chat.wait_log(r"The database does not answer \(no answer for 2 s\)")

    wait_for_load(talkers, 50)
    for talker in talkers:
        talker.stop()
    newcomer.login("ana")
    head = cai.ok("history", room="general", limit=1)["entries"][-1]["seq"]
    for client in (ana, bob):
        client.wait_seq("general", head)
    check_kept(database, talkers)
    chat.wait_log(r"The database answers again\.")
    # Once, not for each command; on a busy machine the database may be slow once more when it wakes up.
    count = chat.log.count
    wait_until(lambda: count("does not answer") == count("answers again") <= 2, what="one line for each outage")


@pytest.mark.slow
def test_stopping_while_the_database_hangs(
    postgres_server: PostgresServer, database: str, server: StartServer, connect: Connect
) -> None:
    """SIGTERM ends the server within its time, with status 0, although calls are in progress."""
    chat = server(database, config=QUICK)
    ana = connect(chat, JsonClient)
    ana.register("ana")
    with stopped(postgres_server):
        for _ in range(4):
            ana.post("say", room="general", text="lost?")
        connect(chat, JsonClient).post("login", name="ana", password="s3cret-words")
        time.sleep(0.5)
        begun = time.monotonic()
        assert chat.stop() == 0
        assert time.monotonic() - begun < 13
