"""Starts several nodes and a PostgreSQL on loopback, to try a cluster by hand. `make cluster N=3` runs it.

Ctrl-C ends everything, and nothing is left behind. Needs no PostgreSQL on the machine: it is that of the tests.
"""

import argparse
import signal
from contextlib import ExitStack
from string import ascii_lowercase
from threading import Event
from types import FrameType
from typing import Final

from tests.support.postgres import FAST_SETTINGS, PostgresServer
from tests.support.process import ChatServer

MOST: Final = len(ascii_lowercase)
SETTINGS: Final = """
[server]
node = "{node}"
name = "node {node}"
guests = true

[bus]
url = "{bus}"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nodes", type=int, choices=range(1, MOST + 1), metavar=f"1-{MOST}")
    parser.add_argument("--bus", default="postgres", help='"postgres" or valkey://HOST:PORT')
    arguments = parser.parse_args()
    asked = Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # what is ending ends in any case

    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer(FAST_SETTINGS))
        database = postgres.create_migrated()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, ask)
        print(f"chatctl --database {database} node list", flush=True)
        nodes = []
        for node in ascii_lowercase[: arguments.nodes]:
            if not asked.is_set():
                config = SETTINGS.format(node=node, bus=arguments.bus)
                nodes.append(stack.enter_context(ChatServer(database, config=config, limits="default")))
                print(f"nc {nodes[-1].address[0]} {nodes[-1].port}    # node {node}", flush=True)
        print("Ctrl-C ends all.", flush=True)
        asked.wait()
        for chat in nodes:
            chat.signal(signal.SIGTERM)
        for chat in nodes:
            chat.wait()


if __name__ == "__main__":
    main()
