"""Notifications to systemd."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock

from chatserver.operation.systemd.notify import STATUS_SECONDS, SystemdNotify, address_from_environment, notify
from chatserver.settings.tables import Settings, Shutdown
from tests.support.systemd import Systemd


@pytest.fixture(params=["a path", "an abstract name"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    with Systemd(tmp_path, abstract=request.param == "an abstract name") as systemd:
        monkeypatch.setitem(os.environ, "NOTIFY_SOCKET", systemd.environment["NOTIFY_SOCKET"])
        address_from_environment.cache_clear()
        yield systemd
    address_from_environment.cache_clear()


def test_one_message(systemd: Systemd) -> None:
    """Several lines are one message, to a path or to an abstract name."""
    notify("READY=1", "STATUS=Serving")
    assert systemd.hears("READY") == "READY=1\nSTATUS=Serving"


def test_no_child_speaks_for_the_server(systemd: Systemd) -> None:
    """The variable is taken out of the environment when it is first read, and remembered."""
    notify("READY=1")
    code = "import os; print(os.environ.get('NOTIFY_SOCKET'))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "None"
    notify("STATUS=still heard")
    systemd.hears("still heard")


@pytest.mark.parametrize("name", ["", "nowhere", "/no/such/socket", "@nobody-listens-here"])
def test_nobody_listens(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no error: nothing is sent."""
    monkeypatch.setitem(os.environ, "NOTIFY_SOCKET", name)
    address_from_environment.cache_clear()
    notify("READY=1")
    address_from_environment.cache_clear()


def test_the_life_of_a_server(systemd: Systemd) -> None:
    """READY once the reactor runs, STATUS only when it has changed, and STOPPING with the time that it may take."""
    clock: Any = Clock()
    begin: list[Any] = []
    clock.callWhenRunning = begin.append
    people: set[int] = set()
    heads: dict[int, int] = {}
    running: Any = SimpleNamespace(
        reactor=clock,
        settings=Settings(shutdown=Shutdown(drain_seconds=20, flush_seconds=30)),
        connections=SimpleNamespace(open=people),
        registry=SimpleNamespace(rooms=SimpleNamespace(heads=lambda: heads)),
    )
    companion = SystemdNotify(running)
    companion.started()
    notify("the reactor does not run yet")
    [ready] = begin
    ready()
    clock.pump([STATUS_SECONDS] * 3)
    people.add(1)
    heads.update({1: 1, 2: 1})
    clock.pump([STATUS_SECONDS] * 3)
    companion.stopping()
    clock.pump([STATUS_SECONDS] * 3)
    notify("the end")
    told = []
    while (message := systemd.hears("")) != "the end":
        told.append(message)
    assert told == [
        "the reactor does not run yet",
        "READY=1\nSTATUS=Serving 0 connections in 0 rooms",
        "STATUS=Serving 1 connection in 2 rooms",
        "STOPPING=1\nSTATUS=Stopping, with 1 connection\nEXTEND_TIMEOUT_USEC=60000000",
    ]
