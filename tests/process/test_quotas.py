"""Quotas of connections, over real sockets: strangers make way for one another, and never keep a member out."""

import select
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.certificate import write_certificate
from tests.support.client import JsonClient, Raw, TextClient
from tests.support.elsewhere import connected_from, silent_crowd
from tests.support.process import wait_until

FLOODERS = [f"127.0.0.{n}" for n in range(2, 6)]


def ended(crowd: list[socket.socket]) -> int:
    """How many of them the server has ended."""
    poll = select.poll()
    for one in crowd:
        poll.register(one, select.POLLRDHUP)
    return len(poll.poll(0))


@pytest.mark.slow
@pytest.mark.parametrize("door", ["", "ws:"])
def test_two_thousand_silent_connections(server: StartServer, door: str) -> None:
    """With the default limits they keep out no member of the same network, not even at one of their addresses; most of
    them are ended, at the WebSocket door too."""
    chat = server(limits="default", listen=["tcp:0:interface=127.0.0.1", f"{door}tcp:0:interface=127.0.0.1"])
    with ExitStack() as stack:
        for number, source in enumerate(("127.0.0.9", FLOODERS[0])):
            stack.enter_context(connected_from(JsonClient, chat.address, source)).register(f"user{number}")
        crowd = silent_crowd(stack, chat.addresses[1], FLOODERS, 500)
        for number, source in enumerate(("127.0.0.9", FLOODERS[0])):
            member = stack.enter_context(connected_from(JsonClient, chat.address, source))
            member.login(f"user{number}")
            member.ok("ping")
        wait_until(lambda: ended(crowd) >= len(crowd) - 256, what="the oldest have made way")
        assert ended(crowd) <= len(crowd) - 200


def test_three_hundred_logins_at_once(server: StartServer) -> None:
    """With the default limits nobody of one address is refused or makes way because others wait for the check too."""
    chat = server(limits="default", config=QUICK)
    for number in range(15):  # an account has 20 connections at most
        with connected_from(JsonClient, chat.address) as client:
            client.register(f"user{number}")
    with ExitStack() as stack:
        logins = []
        for number in range(300):
            login = f'{{"cmd":"login","name":"user{number % 15}","password":"s3cret-words","tag":1}}\n'.encode()
            logins.append(stack.enter_context(connected_from(JsonClient, chat.address, "127.0.0.7", first=login)))
        for client in logins:
            answer = client.answer(1, 60)
            assert answer["ok"], answer


def test_words_for_those_who_make_way(server: StartServer, connect: Connect) -> None:
    """A connection that makes way is told why and when to come back, and the newcomer is admitted; so is one that
    leaves no room for another."""
    chat = server(config=QUICK + "[limits]\npending_per_address = 2\nconnections = 4\n")
    ana = connect(chat, JsonClient)
    ana.register("ana")
    person, program = connect(chat, TextClient), connect(chat, JsonClient)
    program.ok("ping")
    connect(chat, Raw).read_line()
    assert "made way for a newer one" in person.rest()
    for _ in range(3):
        connect(chat, Raw).read_line()
    program.post("ping")
    silent = [connect(chat, Raw) for _ in range(3)]
    assert [one.read_line()[:9] for one in silent] == [b"* Welcome"] * 3
    ana.ok("ping")


@pytest.mark.parametrize("limit", ["connections_per_address", "connections"])
def test_too_many_members(server: StartServer, connect: Connect, limit: str) -> None:
    """Once members have all connections, a further one is told why and when to come back."""
    chat = server(config=QUICK + f"[limits]\n{limit} = 2\n")
    clients = [connect(chat, JsonClient) for _ in range(2)]
    clients[0].register("ana")
    clients[1].register("bob")
    refused = connect(chat, Raw).eof()
    assert refused.startswith(b"! ")
    assert refused.endswith(b"Try again in 10 seconds. (too-many-connections)\r\n* Press Enter to leave.\r\n")
    clients[1].ok("quit")
    clients[1].close()
    wait_until(lambda: connect(chat, Raw).read_line().startswith(b"* Welcome"), what="another connection is accepted")


def test_an_offending_address(server: StartServer, connect: Connect) -> None:
    """An address that sends other protocols repeatedly is slowed, then refused for a while; its sessions stay
    connected, and other addresses are not slowed."""
    chat = server(config=QUICK + "[limits]\noffences_per_address = 2\n")
    ana = connect(chat, JsonClient)
    ana.register("ana")

    others = [connect(chat, Raw) for _ in range(20)]
    for other in others:
        other.read_line()

    def offend(client: Raw) -> None:
        client.send(b"GET / HTTP/1.1\r\n")
        assert b"another protocol" in client.eof()

    for other in others[:2]:
        offend(other)
    slow, distant = connect(chat, Raw), connected_from(Raw, chat.address, "127.0.0.2")
    assert distant.read_line().startswith(b"* Welcome")
    distant.close()
    assert slow.read_line().startswith(b"* Welcome")
    for other in others[2:]:
        offend(other)
    assert b"too many failed attempts" in connect(chat, Raw).eof()
    chat.wait_log(r"audit: refused address=127\.0\.0\.1 why=offences")
    ana.ok("ping")


@pytest.mark.slow
def test_unfinished_tls_handshakes(server: StartServer, tmp_path: Path) -> None:
    """A connection that never completes its TLS handshake counts, and makes way; one that is slowed completes it
    later."""
    key, certificate = write_certificate(tmp_path)
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    chat = server(config=QUICK + "[limits]\npending_per_address = 2\nconnections_per_minute = 5\n", listen=[endpoint])
    with ExitStack() as stack:
        crowd = silent_crowd(stack, chat.address, ["127.0.0.1"], 5)
        ana = stack.enter_context(connected_from(JsonClient, chat.address, tls=True))
        ana.register("ana")
        wait_until(lambda: ended(crowd) == 3, what="the oldest have made way")
        ana.ok("ping")
