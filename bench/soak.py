"""Does a server that runs for long keep growing? `python -m bench.soak --minutes 60 --rate 500`

People in ten rooms talk at a steady rate, in a process of their own, and every second a few of them leave and come back
by token. The server's memory, threads and descriptors are read every few seconds, and the first and the last quarter of
the run are compared. Every answer and every entry is checked: no number is missing, none comes twice.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

from bench.machine import exclusive, raise_file_limit, resident_kib
from bench.tables import table
from tests.support.process import ChatServer

ROOMS = 10
MEMBERS = 20
LEAVING_PER_SECOND = 5
SAMPLE_SECONDS = 5.0
PASSWORD = "a-long-passphrase"
ENTRIES = ("message", "joined", "left")

Sample = tuple[float, int, int, int]
"""Seconds, KiB of memory, threads, descriptors."""


class Person:
    """A member of one room, who resumes where it was when it comes back."""

    def __init__(self, port: int, name: str, room: str) -> None:
        self._port = port
        self._name = name
        self._room = room
        self._token = ""
        self._ids = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._epoch: str | None = None
        self.position = 0
        self.heard = 0
        self.faults: list[str] = []

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        self._task = asyncio.create_task(self._read())
        if self._token:
            await self.ask(cmd="login", token=self._token, resume={self._room: self.position}, epoch=self._epoch)
            return
        await self.ask(cmd="register", name=self._name, password=PASSWORD)
        self._token = (await self.ask(cmd="token", label="soak", password=PASSWORD))["token"]

    async def ask(self, **command: Any) -> dict[str, Any]:
        tag = next(self._ids)
        self._answers[tag] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps({**command, "tag": tag}).encode() + b"\n")
        answer = await asyncio.wait_for(self._answers[tag], 60)
        if not answer["ok"]:
            self.faults.append(f"{command['cmd']} was refused: {answer['text']}")
        return answer

    async def say(self) -> None:
        await self.ask(cmd="say", room=self._room, text="The quick brown fox jumps over the lazy dog.")

    async def leave(self) -> None:
        await self.ask(cmd="quit")
        assert self._task is not None
        await self._task
        self._writer.close()

    async def _read(self) -> None:
        while line := await self._reader.readline():
            if not line.startswith(b"{"):
                continue
            message = json.loads(line)
            self._epoch = message.get("epoch", self._epoch)
            if "event" not in message:
                self._answers.pop(message["tag"]).set_result(message)
            elif message["event"] in ENTRIES and message["room"] == self._room:
                if self.position and message["seq"] != self.position + 1:
                    self.faults.append(f"{self._name} had {self.position}, then {message['seq']}")
                self.position = message["seq"]
                self.heard += 1


async def talk(port: int, rate: float, seconds: float) -> tuple[int, int, list[str]]:
    """How many messages were said, how many entries were heard, and what went wrong."""
    people = [Person(port, f"p{number}x", f"room{number % ROOMS}") for number in range(ROOMS * MEMBERS)]
    for number, person in enumerate(people):
        await person.connect()
        await person.ask(cmd="create" if number < ROOMS else "join", room=f"room{number % ROOMS}")
    chance = random.Random(13)
    away: set[Person] = set()
    said = 0
    work: set[asyncio.Task[None]] = set()

    def start(what: Any) -> None:
        task = asyncio.create_task(what)
        work.add(task)
        task.add_done_callback(work.discard)

    async def pause(person: Person) -> None:
        away.add(person)
        await person.leave()
        await asyncio.sleep(chance.random() * 3)
        await person.connect()
        away.discard(person)

    async def speak(person: Person) -> None:
        nonlocal said
        await person.say()
        said += 1

    began = time.monotonic()
    for number in count(1):
        due = began + number / rate
        if due > began + seconds:
            break
        await asyncio.sleep(max(due - time.monotonic(), 0))
        person = chance.choice(people)
        if person not in away:
            start(pause(person) if chance.random() < LEAVING_PER_SECOND / rate else speak(person))
    while work:
        await asyncio.wait(set(work))
    return said, sum(person.heard for person in people), [fault for person in people for fault in person.faults]


def _talk(port: int, rate: float, seconds: float, results: Any) -> None:
    raise_file_limit()
    try:
        results.put(asyncio.run(talk(port, rate, seconds)))
    except BaseException as error:
        results.put((0, 0, [f"The load failed: {error!r}"]))


def sample(pid: int, began: float) -> Sample:
    proc = Path(f"/proc/{pid}")
    return (
        time.monotonic() - began,
        resident_kib(pid),
        len(list((proc / "task").iterdir())),
        len(list((proc / "fd").iterdir())),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=500, help="messages per second, of all rooms together")
    parser.add_argument("--database", help="default: a new SQLite file")
    chosen = parser.parse_args()
    samples: list[Sample] = []
    results: Any = multiprocessing.Queue()
    with exclusive(), tempfile.TemporaryDirectory() as folder:
        database = chosen.database or f"sqlite:///{Path(folder) / 'soak.db'}"
        with ChatServer(database, options=["--migrate"]) as server:
            load = multiprocessing.Process(target=_talk, args=(server.port, chosen.rate, chosen.minutes * 60, results))
            load.start()
            began = time.monotonic()
            while load.is_alive() and results.empty():
                samples.append(sample(server.pid, began))
                time.sleep(SAMPLE_SECONDS)
            said, heard, faults = results.get()
            load.join()
    if not said or len(samples) < 4:
        sys.exit("\n".join(faults[:20]) or "The run was too short: give it a minute.")
    quarter = len(samples) // 4
    rows = []
    for name, column in (("memory, KiB", 1), ("threads", 2), ("descriptors", 3)):
        first, last = ([one[column] for one in part] for part in (samples[quarter : 2 * quarter], samples[-quarter:]))
        rows.append([name, f"{statistics.median(first):,.0f}", f"{statistics.median(last):,.0f}"])
    print(f"{chosen.minutes:g} minutes, {said:,} messages said, {heard:,} entries heard, {len(faults)} faults\n")
    print(table(["", "second quarter", "last quarter"], rows))
    if faults:
        sys.exit("\n".join(faults[:20]))


if __name__ == "__main__":
    main()
