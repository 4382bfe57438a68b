"""Fixtures: a browser for all tests of a worker, a server with the page, and people who open it."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from tests.conftest import StartServer
from tests.support.process import ChatServer
from tests.support.websocket import WebSocketClient
from tests.web.chromium import Chromium, Person

WEB = "web:tcp:0:interface=127.0.0.1"
QUICK = "[passwords]\nmemory_kib = 8\ntime_cost = 1\n"


class Open(Protocol):
    """The type of the fixture `person`."""

    def __call__(self, name: str = "", **keywords: Any) -> Person: ...


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """The browser that all tests of this worker share."""
    browser = Chromium()
    yield browser
    browser.close()


@pytest.fixture
def chat(chromium: Chromium, server: StartServer) -> ChatServer:
    """A server that serves the page. It may be killed and started again."""
    return server(config=QUICK, listen=[WEB], faultless=False)


@pytest.fixture
def person(chromium: Chromium, chat: ChatServer) -> Iterator[Open]:
    """Opens the page, and with a name creates an account: `person("ana")`. The console of all has to be silent."""
    opened: list[Person] = []

    def open_one(name: str = "", **keywords: Any) -> Person:
        opened.append(chromium.person(f"http://127.0.0.1:{chat.port}", **keywords))
        if name:
            opened[-1].register(name)
        return opened[-1]

    yield open_one
    said = [line for one in opened for line in one.console()]
    for one in opened:
        one.close()
    assert said == []


@pytest.fixture
def program(chat: ChatServer) -> Iterator[Callable[[str], WebSocketClient]]:
    """Connects programs at the same door: `program("bob")` creates the account, or logs in if there is one."""
    clients: list[WebSocketClient] = []

    def connect(name: str) -> WebSocketClient:
        client = WebSocketClient(chat.address)
        clients.append(client)
        if not client.cmd("register", name=name, password="s3cret-words")["ok"]:
            client.login(name)
        return client

    yield connect
    for client in clients:
        client.close()
