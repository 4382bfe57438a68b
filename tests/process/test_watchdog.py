"""A real server and systemd's watchdog: it is fed through an outage of the database, and starves if the server
hangs, which a restart mends."""

import signal
from pathlib import Path

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.client import JsonClient
from tests.support.hanging import stopped
from tests.support.postgres import PostgresServer
from tests.support.systemd import Systemd

CONFIG = QUICK + "[pipeline]\ndatabase_seconds = 0.5\nread_seconds = 0.4\n"
WAITS = 3.0
"""WatchdogSec of these tests."""

FAULTS = {
    "the reactor": "import time; time.sleep(1000)",
    "the store's threads": "from chatserver.store.db.threads import Workers; Workers.submit = lambda self, call: None",
    "a lane": "from chatserver.pipeline.lanes import Lane; Lane.put = lambda self, session: None",
}
"""Names of parts, and the Python that stops each in the server on SIGUSR2."""


@pytest.mark.slow
@pytest.mark.parametrize("what", FAULTS)
def test_a_server_that_hangs(what: str, server: StartServer, connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        f"import signal\nsignal.signal(signal.SIGUSR2, lambda *_: exec({FAULTS[what]!r}))\n", encoding="utf-8"
    )
    with Systemd(tmp_path, WAITS) as systemd:
        chat = server(config=CONFIG, env=systemd.environment | {"PYTHONPATH": str(tmp_path)})
        systemd.hears("READY=1")
        connect(chat, JsonClient).register("ana")
        systemd.is_fed(3)
        chat.signal(signal.SIGUSR2)
        systemd.starves()
        chat.kill()


@pytest.mark.slow
def test_a_database_that_hangs(
    postgres_server: PostgresServer, server: StartServer, connect: Connect, tmp_path: Path
) -> None:
    """Clients are refused, and the watchdog is fed, however many commands wait; afterwards everything goes on."""
    with Systemd(tmp_path, WAITS) as systemd:
        chat = server(postgres_server.create_database(), config=CONFIG, env=systemd.environment)
        people = [connect(chat, JsonClient) for _ in range(20)]
        for number, client in enumerate(people):
            client.register(f"user{number}x")
        with stopped(postgres_server):
            first = people[0].post("say", room="general", text="hi")
            for client in people:
                for number in range(10):
                    client.post("create", room=f"room-{number}")
                    client.post("members", room="general")
            systemd.is_fed(9)
            assert people[0].answer(first)["error"] == "unavailable"
        chat.wait_log("The database answers again")
        systemd.is_fed(3)
