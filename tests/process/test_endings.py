"""How the server and sessions end, and what is stored afterwards."""

import json
import signal

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, Talker, check_kept, lines, query, send_later, stored, wait_for_load
from tests.support.client import JsonClient, Raw, TextClient
from tests.support.process import ChatServer, wait_until

Connections = list[tuple[object, ...]]


def talkers(chat: ChatServer, connect: Connect) -> list[Talker]:
    """Three clients that send messages to two rooms at once."""
    people = [connect(chat, JsonClient) for _ in range(3)]
    for number, client in enumerate(people):
        client.register(f"talker{number}")
        client.ok("join" if number else "create", room="books")
    return [Talker(client, f"t{number}", ["general", "books"]).start() for number, client in enumerate(people)]


def sessions(chat: ChatServer) -> Connections:
    return query(
        chat.database,
        "SELECT account.name, reason, disconnected_at IS NOT NULL FROM session JOIN account ON account.id = account_id "
        "ORDER BY connected_at, session.id",
    )


def test_a_kill_loses_nothing(database_url: str, server: StartServer, connect: Connect) -> None:
    """After kill -9 under load every acknowledged message is stored, and the restarted server continues from there."""
    chat = server(database_url, config=QUICK)
    people = talkers(chat, connect)
    wait_until(lambda: len(sessions(chat)) == 3, what="the logins are recorded")
    wait_for_load(people, 100)
    chat.kill()
    for talker in people:
        talker.join()
    check_kept(database_url, people)
    assert {reason for _, reason, _ in sessions(chat)} == {None}

    chat.start()
    crashed: Connections = [(f"talker{n}", "crash", True) for n in range(3)]
    wait_until(lambda: sessions(chat) == crashed, what="the sessions are closed")
    ana = connect(chat, JsonClient)
    login = ana.login("talker0")
    head = {room["room"]: room["seq"] for room in login["rooms"]}
    assert head == {room: len(log) for room, log in stored(database_url).items()}
    assert ana.say("books", "on we go")["seq"] == head["books"] + 1
    id, (room, seq) = next(iter(people[0].acknowledged.items()))
    assert ana.say(room, f"text of {id}", id)["seq"] == seq


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_under_load(database_url: str, server: StartServer, connect: Connect, number: signal.Signals) -> None:
    """On SIGTERM or Ctrl-C every client is notified, every message acknowledged or received is stored, and the exit
    status is 0."""
    chat = server(database_url, config=QUICK)
    people = talkers(chat, connect)
    person = connect(chat, TextClient)
    stranger = connect(chat, Raw)
    person.register("reader")
    stranger.read_line()
    wait_for_load(people, 100)
    chat.signal(number)
    with person, stranger:
        assert person.rest().endswith("* The server is restarting; nothing is lost. Press Enter, then connect again.\n")
        program, line, _ = stranger.eof().split(b"\r\n")  # it may be either
        assert json.loads(program)["reason"] == "shutdown"
        assert line == b"* The server is restarting; nothing is lost. Press Enter, then connect again."
    assert chat.wait(10) == 0
    for talker in people:
        talker.join()
        [closing] = [event for event in talker.client.events if event["event"] == "closing"]
        assert talker.client.events[-1] is closing
        assert closing["reason"] == "shutdown"
        assert closing["retry"] > 0
    check_kept(database_url, people)
    assert {(reason, closed) for _, reason, closed in sessions(chat)} == {("shutdown", True)}


def test_commands_read_before_a_shutdown_are_executed(server: StartServer, connect: Connect) -> None:
    """Every command read before the shutdown is answered: exactly the acknowledged messages are stored."""
    chat = server(config=QUICK)
    ana = connect(chat, JsonClient)
    ana.register("ana")
    count = 3000
    sender = send_later(
        ana, lines(*({"cmd": "say", "room": "general", "text": f"{n}", "tag": n} for n in range(1, count + 1)))
    )
    ana.wait_seq("general", 5)
    chat.signal(signal.SIGTERM)
    ana.drain()
    ana.close()
    assert chat.wait() == 0
    sender.join(10)
    answered = [tag for tag in ana.order if isinstance(tag, int)][1:]
    assert answered == list(range(1, len(answered) + 1))
    said = [text for _, kind, text, _ in stored(chat.database)["general"] if kind == "message"]
    assert said == [f"{n}" for n in answered]


def test_a_stalled_client_does_not_delay_a_shutdown(server: StartServer, connect: Connect) -> None:
    """The server waits `flush_seconds` for a client that does not read; the others are notified, and the exit status is
    0."""
    chat = server(config=QUICK + "[shutdown]\nflush_seconds = 0.5\n")
    ana, stuck = connect(chat, JsonClient), connect(chat, JsonClient, receive_buffer=4096)
    ana.register("ana")
    stuck.register("stuck")
    for seq in range(200, 1001, 200):
        for _ in range(200):
            ana.post("say", room="general", text="x" * 4000)
        ana.wait_seq("general", seq)
    chat.signal(signal.SIGTERM)
    ana.wait_closing()
    ana.close()
    assert chat.wait(10) == 0
    assert {reason for _, reason, _ in sessions(chat)} == {"shutdown"}


def test_a_second_signal(server: StartServer, connect: Connect) -> None:
    """A second SIGTERM ends the server at once, even if it still waits for a client that does not read."""
    chat = server(config=QUICK + "[shutdown]\nflush_seconds = 100\n")
    ana, stuck = connect(chat, JsonClient), connect(chat, JsonClient, receive_buffer=4096)
    ana.register("ana")
    stuck.register("stuck")
    for _ in range(200):
        ana.post("say", room="general", text="x" * 4000)
    ana.wait_seq("general", 200)
    chat.signal(signal.SIGTERM)
    ana.wait_closing()
    assert chat.running
    chat.signal(signal.SIGTERM)
    assert chat.wait(10) == -signal.SIGTERM


def test_how_sessions_end(server: StartServer, connect: Connect) -> None:
    """Each session has a row with its start, its end and the reason for the end."""
    chat = server(config=QUICK)
    clients = {word: connect(chat, JsonClient) for word in ("quit", "logout", "eof", "lost", "open")}
    for word, client in clients.items():
        client.register(word)
    clients["quit"].ok("quit")
    clients["logout"].ok("logout")
    clients["eof"].half_close()
    clients["lost"].abort()
    expected: Connections = [(word, word, True) for word in ("quit", "logout", "eof", "lost")]
    wait_until(lambda: sessions(chat) == [*expected, ("open", None, False)], what="the rows are written")
    assert clients["logout"].wait_closing()["reason"] == "logout"
    for word in ("quit", "eof"):
        clients[word].drain()
        assert all(event["event"] != "closing" for event in clients[word].events)
