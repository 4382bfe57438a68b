"""Clients that read slowly, or send faster than they read: they lose nothing, and nobody else waits."""

import socket

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, check_heard, lines, say_often, send_later
from tests.support.client import JsonClient, Message, Raw

SLOW = 5
MESSAGES = 8000
TEXT = "x" * 1000
MEGABYTE = 1 << 20


@pytest.mark.slow
def test_readers_that_stop_reading(server: StartServer, connect: Connect) -> None:
    """Clients that stop reading and continue later receive everything in order; meanwhile others receive everything,
    and the server buffers nothing for those that do not read."""
    chat = server(config=QUICK)
    ana, bob = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bob.register("bob")
    slow = [connect(chat, JsonClient, receive_buffer=4096) for _ in range(SLOW)]
    for number, client in enumerate(slow):
        client.register(f"slow{number}")
    person = connect(chat, Raw, receive_buffer=4096)
    person.send(b"/register person s3cret-words\n")
    while not person.read_line().startswith(b"* Hello person"):
        pass

    def talk(count: int) -> int:
        seq = say_often(ana, TEXT, count)
        bob.wait_seq("general", seq)
        return seq

    talk(1000)  # the transports' buffers are full
    before = chat.rss_bytes()
    head = talk(MESSAGES)
    grown = chat.rss_bytes() - before
    assert grown < 10 * MEGABYTE < SLOW * MESSAGES * len(TEXT) / 3
    check_heard(bob.rooms["general"])
    for client in slow:
        log = client.wait_seq("general", head, 30)
        check_heard(log)
        assert len(log) >= MESSAGES
    ana.say("general", "the end")
    shown = [person.read_line(30)]
    while not shown[-1].endswith(b"ana: the end"):
        shown.append(person.read_line(30))
    assert sum(b"ana: " in line for line in shown) == 1000 + MESSAGES + 1


@pytest.mark.slow
def test_a_sender_that_does_not_read(server: StartServer, connect: Connect) -> None:
    """The server stops reading from a client that does not read its answers; once the client reads, all commands are
    answered in order."""
    chat = server(config=QUICK)
    ana, bob = connect(chat, JsonClient, receive_buffer=4096), connect(chat, JsonClient)
    ana.register("ana")
    bob.register("bob")
    words: list[Message] = []
    for n in range(1000):
        words += [
            {"cmd": "say", "room": "general", "text": f"{n} {TEXT}", "tag": f"say {n}"},
            {"cmd": "history", "room": "general", "limit": 5, "tag": f"history {n}"},
            {"cmd": "ping", "tag": f"ping {n}"},
        ]
    before = chat.rss_bytes()
    ana.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    sender = send_later(ana, lines(*words))
    assert bob.say("general", "and I?")["ok"]
    sender.join(0.5)
    assert sender.is_alive()  # it cannot end before ana reads
    assert chat.rss_bytes() - before < 10 * MEGABYTE
    for word in words:
        assert ana.answer(str(word["tag"]), 60)["ok"] is True
    sender.join(10)
    assert ana.order[1:] == [word["tag"] for word in words]
    said = [e["text"].split(" ")[0] for e in ana.rooms["general"] if e["event"] == "message" and e["from"] == "ana"]
    assert said == [str(n) for n in range(1000)]
    check_heard(ana.rooms["general"])
