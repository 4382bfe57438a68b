"""Runs chatserver under twistd, with clocks at the stations on a message's path. `bench/where.py` starts it.

Takes twistd's arguments. When it exits, it writes all samples as JSON to the file named by BENCH_TIMED.
"""

import atexit
import gc
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.scripts.twistd import run

from chatserver.delivery.order import Order
from chatserver.net.doors.line import LineDoor
from chatserver.pipeline.takes import Takes
from chatserver.store.db import threads
from chatserver.store.db.transactions import Statements, transact

SAMPLES: dict[str, list[tuple[float, float]]] = defaultdict(list)
"""By station: elapsed seconds, and seconds of the thread's own CPU time."""


def timed(station: str, work: Callable[..., Any]) -> Callable[..., Any]:
    def clocked(*args: Any, **kwargs: Any) -> Any:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return work(*args, **kwargs)
        finally:
            SAMPLES[station].append((time.perf_counter() - wall, time.thread_time() - cpu))

    return clocked


def timed_store(append: Callable[..., Any]) -> Callable[..., Any]:
    """Also records how many messages each take contains, as if the number were microseconds."""

    async def clocked(self: threads.Store, work: Any, drafts: Any, at: Any) -> Any:
        wall = time.perf_counter()
        verdicts = await append(self, work, drafts, at)
        SAMPLES["store"].append((time.perf_counter() - wall, 0.0))
        SAMPLES["messages"].append((len(drafts) / 1e6, 0.0))
        return verdicts

    return clocked


class Garbage:
    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            SAMPLES[f"garbage {info['generation']}"].append((time.perf_counter() - self._began, 0.0))


def write() -> None:
    with Path(os.environ["BENCH_TIMED"]).open("w") as file:
        json.dump(SAMPLES, file)


def main() -> None:
    methods: list[tuple[str, type, Callable[..., Any]]] = [
        ("read", LineDoor, LineDoor.dataReceived),
        ("tell", Takes, Takes._deliver),
        ("publish", Order, Order.announce),
    ]
    for station, kind, method in methods:
        setattr(kind, method.__name__, timed(station, method))
    setattr(threads.Store, "append", timed_store(threads.Store.append))  # noqa: B010 - mypy forbids the other way
    setattr(threads, "transact", timed("transaction", transact))  # noqa: B010
    setattr(Statements, "run", timed("transaction", Statements.run))  # noqa: B010
    gc.callbacks.append(Garbage())
    atexit.register(write)
    sys.argv[0] = "twistd"
    run()


if __name__ == "__main__":
    main()
