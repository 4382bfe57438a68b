"""Measurements that need more than one load generator: long logs, resuming, members that never read, a huge room."""

import random
import statistics
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from bench import load, machine, postgres
from bench.client import Client
from bench.fill import token
from bench.load import Load
from bench.servers import OnPostgres, Server
from bench.tables import PLACES

Result = dict[str, Any]
STALLED = 1000
FILLING_SECONDS = 1.0
CHECKED = 3  # of the stalled members; these read everything at the end
PAGE = 50
PAGES = 300
BESIDE = Load("paced", clients=20, seconds=5, prefix="b")
"""The load on the small room next to a huge one."""


class Memory:
    """Records a server's memory at the start, and its peak, until the context ends."""

    def __init__(self, server: Server) -> None:
        self._pid = server.pids["server"]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Memory":
        self.first = self.most = machine.resident_kib(self._pid)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            self.most = max(self.most, machine.resident_kib(self._pid))

    @property
    def figures(self) -> dict[str, float]:
        return {"before_mib": self.first / 1024, "most_mib": self.most / 1024}


def stored(server: Server, what: Load) -> Result:
    """Sends messages to a long log, then reads pages of it."""
    result = load.run(server, what)
    last = result.get("sent", 0)
    with Client(server.port) as client:
        rooms = client.ask(cmd="login", token=token(f"{what.prefix}u0"))["rooms"]
        room, head = rooms[0]["room"], rooms[0]["seq"]
        if isinstance(server, OnPostgres) and postgres.statements_available():
            server.database.sql("SELECT pg_stat_statements_reset()", database="chat")
        result["pages_ms"] = {}
        for name, (low, high) in PLACES.items():
            times = []
            for _ in range(PAGES):
                before = max(PAGE + 1, random.randint(int(low * head), int(high * head)))
                start = time.perf_counter()
                answer = client.ask(cmd="history", room=room, before=before, limit=PAGE)
                times.append((time.perf_counter() - start) * 1000)
                if [entry["seq"] for entry in answer["entries"]] != list(range(before - PAGE, before)):
                    result["faults"].append(f"the page before {before} of {head} is wrong ({last} sent)")
            result["pages_ms"][name] = _spread(times)
        if isinstance(server, OnPostgres) and postgres.statements_available():
            result["database_ms"] = _page_statement(server)
    return result


def _page_statement(server: OnPostgres) -> dict[str, float]:
    """PostgreSQL's record of the statement that reads pages, in milliseconds."""
    row = server.database.sql(
        "SELECT mean_exec_time, max_exec_time FROM pg_stat_statements "
        f"WHERE query ~* 'from\\s+entry' AND query ~* 'order by' AND calls >= {PAGES} ORDER BY calls DESC LIMIT 1",
        database="chat",
    )
    return dict(zip(("mean", "max"), map(float, row.split("|")), strict=True)) if row else {}


def resume(server: Server, what: Load) -> Result:
    """Runs the live load alone, then together with a client that resumes from the beginning until the load ends."""
    alone = load.run(server, replace(what, seconds=what.seconds / 2))
    beside = load.Running(server, what)
    entries, seconds, times = 0, 0.0, 0
    try:
        beside.ready()
        with Memory(server) as memory:
            while not times or not beside.over:
                with Client(server.port) as client:
                    start = time.perf_counter()
                    client.send(cmd="login", token=token("au0"), resume={"ar0": 0})
                    entries += sum(client.entries(1, b'{"event":"live"'))
                    seconds += time.perf_counter() - start
                    times += 1
        result = beside.result()
    finally:
        if not beside.over:
            beside.kill()
    result["faults"] += alone["faults"]
    result["alone"] = alone
    result["resumed"] = {"times": times, "entries": entries, "entries_per_s": entries / seconds, **memory.figures}
    result["sent_before"] = alone.get("sent", 0)
    return result


def stalled(server: Server, what: Load) -> Result:
    """Runs the load alone, then with members that are logged in and never read: first while the kernel still buffers
    data for them, then when its buffers are full. At the end some of them read everything."""
    alone = load.run(server, what)
    with ExitStack() as stack:
        readers = [stack.enter_context(Client(server.port, receive_bytes=4096)) for _ in range(STALLED)]
        for number, reader in enumerate(readers):
            reader.send(cmd="login", token=token(f"su{number}"))
            if number % 50 == 49:  # no more concurrent logins than a server accepts
                reader.ask(cmd="ping")
        for reader in readers:
            reader.ask(cmd="ping")
        with Memory(server) as memory:
            filling = load.run(server, replace(what, seconds=FILLING_SECONDS))
            result = load.run(server, what)
        before = alone.get("sent", 0) + filling.get("sent", 0)
        for reader in readers[:CHECKED]:
            for _ in reader.entries(alone.get("sent", 0) + 1, before + result.get("sent", 0)):
                pass
    result["faults"] += alone["faults"] + filling["faults"]
    result["alone"] = alone
    result["filling"] = filling
    result["memory"] = memory.figures
    result["sent_before"] = before
    return result


def bigroom(server: Server, what: Load) -> Result:
    """Loads a huge room and, at the same time, a small one, whose latency must not suffer."""
    huge = load.Running(server, what)
    try:
        if not huge.ready():
            return huge.result()
        # This load ends before all members of the huge room leave at once.
        beside = load.run(server, replace(BESIDE, seconds=what.seconds - 2))
        result = huge.result()
    finally:
        if not huge.over:
            huge.kill()
    result["faults"] += beside["faults"]
    result["beside"] = beside
    result["sent_before"] = beside.get("sent", 0)
    return result


def _spread(times: list[float]) -> dict[str, float]:
    return {"p50": statistics.median(times), "p99": sorted(times)[int(len(times) * 0.99) - 1], "max": max(times)}
