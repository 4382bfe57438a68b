"""Guessing over real sockets, against the limits that a newcomer gets."""

import json
from contextlib import ExitStack

import pytest

from chatserver.login.guess_delays import AHEAD, NAME_FAILURES
from tests.conftest import Connect, StartServer
from tests.support.client import JsonClient, Raw
from tests.support.elsewhere import connected_from
from tests.support.process import wait_until

PASSWORD = "s3cret-words"
CHEAP = "[passwords]\nmemory_kib = 1024\ntime_cost = 1\n"
SOURCES = [f"127.0.0.{number}" for number in range(20, 30)]
CONNECTIONS, EACH = 25, 2  # of each source; guesses on each connection


@pytest.mark.slow
def test_500_guesses(server: StartServer, connect: Connect) -> None:
    """While 500 guesses at her name come from ten addresses, the owner logs in with her password from where she has
    before, and with a token from anywhere. All addresses together get a few of their guesses checked; the others are
    told when to come back."""
    chat = server(config=CHEAP, limits="default")
    ana = connect(chat, JsonClient)
    ana.ok("register", name="ana", password=PASSWORD)
    token = ana.ok("token", label="bot", password=PASSWORD)["token"]
    with ExitStack() as stack:
        thieves = []
        for number in range(CONNECTIONS):
            for source in SOURCES:
                thief = stack.enter_context(connected_from(Raw, chat.address, source))
                for guess in range(EACH):
                    line = {"cmd": "login", "name": "ana", "password": f"guess {number}-{guess}"}
                    thief.send(json.dumps(line).encode() + b"\n")
                thieves.append(thief)
        owner = connect(chat, JsonClient)
        assert owner.ok("login", name="ana", password=PASSWORD)["name"] == "ana"
        bot = stack.enter_context(connected_from(JsonClient, chat.address, SOURCES[0]))
        assert bot.ok("login", token=token)["name"] == "ana"
        for thief in thieves:
            assert thief.read_line().startswith(b"* Welcome")
        answers = [json.loads(thief.read_line()) for thief in thieves]
        assert {answer["error"] for answer in answers} <= {"bad-credentials", "slow-down"}
        told = [answer["retry"] for answer in answers if answer["error"] == "slow-down"]
        assert len(told) >= len(thieves) - NAME_FAILURES - 2 * AHEAD - 3
        assert all(isinstance(retry, int) for retry in told)
    failed = [line for line in chat.log.splitlines() if "failed-login" in line]
    assert NAME_FAILURES <= len(failed) <= NAME_FAILURES + 2 * AHEAD + 3
    assert all("name=ana why=password" in line for line in failed)
    assert "guess " not in chat.log


def test_300_logins_at_once(server: StartServer, connect: Connect) -> None:
    """They all succeed, though they come from one address."""
    chat = server(
        config=CHEAP + "[limits]\npending_per_address = 0\npending_per_network = 0\nconnections_per_address = 0\n"
        "connections_per_minute = 0\nregistrations_per_hour = 0\nconnections_per_account = 0\n",
        limits="default",
    )
    connect(chat, JsonClient).ok("register", name="ana", password=PASSWORD)
    clients = [connect(chat, JsonClient) for _ in range(300)]
    tags = [client.post("login", name="ana", password=PASSWORD) for client in clients]
    assert all(client.answer(tag)["ok"] for client, tag in zip(clients, tags, strict=True))
    wait_until(lambda: chat.log.count("how=password") == 301, what="all logins are logged")
