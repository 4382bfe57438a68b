"""How long nobody is served while the server restarts: `python -m bench.restart --connections 10000 --entries 1000000`.

Logged-in programs sit in rooms, the database has as many entries. Then the server gets SIGTERM, and is started again as
soon as its process has ended, as systemd does. The time runs from SIGTERM until a newcomer is logged in.
"""

import argparse
import asyncio
import json
import multiprocessing
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench import fill
from bench.machine import exclusive, raise_file_limit, resident_kib
from bench.tables import table
from chatserver.store.db.own_schema import OPTION
from tests.support.process import ChatServer, migrate

ROOMS_OF = 10
"""Members of a room."""
AT_ONCE = 500
"""Number of logins at the same time."""
STEPS = ("everybody was told", "the process had ended", "the port was open", "a newcomer was logged in")


class Idle(asyncio.Protocol):
    """Logs in by a token, and waits to be told that the server closes."""

    def __init__(self, name: str, told: Callable[[int], None], lost: Callable[[], None]) -> None:
        self._hello = json.dumps({"cmd": "login", "token": fill.token(name), "tag": 1}).encode() + b"\n"
        self._told = told
        self._lost = lost
        self._rest = b""
        self.admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if b'"tag":1' in line and not self.admitted.done():
                if line.startswith(b'{"ok":true'):
                    self.admitted.set_result(None)
                else:
                    self.admitted.set_exception(RuntimeError(line.decode()))
            elif line.startswith(b'{"event":"closing"'):
                self._told(int(json.loads(line).get("retry", 0)))

    def connection_lost(self, error: Exception | None) -> None:
        self._lost()


def crowd(port: int, count: int, news: "Connection[Any, Any]") -> None:
    """A process with all the programs. Sends when they are logged in, and then, for each restart, the moment at which
    the last one was told, and the times after which they are to come again."""
    asyncio.run(_crowd(port, count, news))


async def _crowd(port: int, count: int, news: "Connection[Any, Any]") -> None:
    loop = asyncio.get_running_loop()
    while True:
        visit = Visit(count)
        places = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*[_enter(port, number, places, visit) for number in range(count)])
        news.send("ready")
        await visit.over.wait()
        news.send((visit.last, visit.retries))
        if (await loop.run_in_executor(None, news.recv)) == "end":
            return


async def _enter(port: int, number: int, places: asyncio.Semaphore, visit: "Visit") -> None:
    async with places:
        source = (f"127.0.{1 + number // 250 % 250}.{1 + number % 250}", 0)
        _, idle = await asyncio.get_running_loop().create_connection(
            lambda: Idle(f"u{number}", visit.told, visit.lost), "127.0.0.1", port, local_addr=source
        )
        await idle.admitted


class Visit:
    """All programs from their logins to the end of the server."""

    def __init__(self, count: int) -> None:
        self.retries: list[int] = []
        self.last = 0.0
        self.over = asyncio.Event()
        self._left = count

    def told(self, retry: int) -> None:
        self.retries.append(retry)
        self.last = time.monotonic()

    def lost(self) -> None:
        self._left -= 1
        if not self._left:
            self.over.set()


def newcomer(port: int) -> None:
    """Returns once somebody has logged in."""

    async def enter() -> None:
        loop = asyncio.get_running_loop()
        transport, idle = await loop.create_connection(
            lambda: Idle("u0", lambda _: None, lambda: None), "127.0.0.1", port
        )
        await idle.admitted
        transport.abort()

    asyncio.run(enter())


def filled(database: str, people: fill.People) -> None:
    migrate(database)
    if database.startswith("sqlite"):
        fill.fill(fill.SqliteFill(Path(database.removeprefix("sqlite:///"))), people)
        return
    import psycopg2

    with closing(psycopg2.connect(database.replace("+psycopg2", "", 1), options=OPTION)) as connection:
        connection.autocommit = True

        def execute(statement: str) -> str:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return ""

        fill.fill(fill.PostgresFill(execute), people)


def measure(chat: ChatServer, news: "Connection[Any, Any]") -> tuple[list[float], list[int]]:
    """The seconds from SIGTERM to each of STEPS, and the times after which clients were told to come again."""
    port = chat.port
    began = time.monotonic()
    status = chat.stop(60, signal.SIGTERM)
    ended = time.monotonic()
    if status:
        raise SystemExit(f"the server ended with status {status}:\n{chat.log[-2000:]}")
    chat.start()
    opened = time.monotonic()
    newcomer(port)
    served = time.monotonic()
    last, retries = news.recv()
    return [moment - began for moment in (last, ended, opened, served)], retries


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--database", help="an empty PostgreSQL database; default: SQLite in a temporary folder")
    parser.add_argument("--times", type=int, default=3, help="restarts (3)")
    options = parser.parse_args()
    raise_file_limit()
    with exclusive(), tempfile.TemporaryDirectory(prefix="chatserver-bench-") as folder:
        database = options.database or f"sqlite:///{folder}/chat.db"
        print(f"Storing {options.entries:,} entries …", file=sys.stderr)
        count = options.connections
        filled(database, fill.People("", count, max(count // ROOMS_OF, 1), options.entries, "bench"))
        with ChatServer(database, start_seconds=120) as chat:
            here, there = multiprocessing.Pipe()
            clients = multiprocessing.get_context("spawn").Process(
                target=crowd, args=(chat.port, count, there), daemon=True
            )
            clients.start()
            rows, spread = [], Counter[int]()
            for number in range(options.times):
                print(f"{count:,} programs log in …", file=sys.stderr)
                assert here.recv() == "ready"
                print(f"The server uses {resident_kib(chat.pid) / 1024:,.0f} MiB. Restarting it …", file=sys.stderr)
                moments, retries = measure(chat, here)
                rows.append(moments)
                spread.update(retries)
                here.send("end" if number + 1 == options.times else "again")
            clients.join(30)
    print(table(["seconds from SIGTERM until", "median", "most"],
                [[step, f"{statistics.median(each):.2f}", f"{max(each):.2f}"]
                 for step, each in zip(STEPS, zip(*rows, strict=True), strict=True)]))  # fmt: skip
    print(f"\nClients were told to come again after {min(spread)} to {max(spread)} seconds.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
