"""Restarts under load, with programs that come again as they are told, and resume."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.process.load import QUICK, stored
from tests.support.process import ChatServer

PROGRAMS = 24
RESTARTS = 5
PASSWORD = "s3cret-words"
PACE_SECONDS = 0.05
"""Interval between two messages of a program."""
ROOM = "general"


class Program:
    """Says numbered messages, and keeps the log of a room over many connections. What was not acknowledged is said
    again, with the same id."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log: list[dict[str, Any]] = []
        self.unsent: dict[str, str] = {}
        self.acknowledged: set[str] = set()
        self.retries: list[int] = []
        self.logins = 0
        self._said = 0
        self._address = ("", 0)

    @property
    def position(self) -> int:
        return int(self.log[-1]["seq"]) if self.log else 0

    async def run(self, address: tuple[str, int], over: asyncio.Event) -> None:
        """Until nothing more is to be said, and everything that was said is acknowledged."""
        while not over.is_set() or self.unsent:
            try:
                await self._visit(*address, over)
            except OSError:
                pass
            await asyncio.sleep(0.05)  # sooner than it was told: a test has no time

    async def _visit(self, host: str, port: int, over: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        word = "login" if self.logins else "register"
        hello: dict[str, Any] = {"cmd": word, "name": self.name, "password": PASSWORD, "tag": "hello"}
        if self.log:
            hello["resume"] = {ROOM: self.position}
        self._post(writer, hello)
        talking: asyncio.Task[None] | None = None
        try:
            while line := await reader.readline():
                if not line.startswith(b"{"):
                    continue
                message = json.loads(line)
                if message.get("tag") == "hello":
                    assert message["ok"] is True or message["error"] in ("name-taken", "slow-down"), message
                    self.logins += 1
                    if message["ok"] is True:
                        talking = asyncio.create_task(self._talk(writer, over))
                    else:
                        return
                elif message.get("event") == "closing":
                    self.retries.append(message["retry"])
                elif message.get("event") and message.get("room") == ROOM and "seq" in message:
                    if message["event"] != "live":
                        self.log.append(message)
                elif message.get("ok") is True and message.get("tag") in self.unsent:
                    self.acknowledged.add(message["tag"])
                    del self.unsent[message["tag"]]
                    if over.is_set() and not self.unsent:
                        return
        finally:
            if talking is not None:
                talking.cancel()
            writer.close()

    async def _talk(self, writer: asyncio.StreamWriter, over: asyncio.Event) -> None:
        for id, text in list(self.unsent.items()):
            self._say(writer, id, text)
        while not over.is_set():
            id = f"{self.name}-{self._said}"
            self._said += 1
            self.unsent[id] = f"text of {id}"
            self._say(writer, id, self.unsent[id])
            await asyncio.sleep(PACE_SECONDS)
        if not self.unsent:
            writer.close()

    def _say(self, writer: asyncio.StreamWriter, id: str, text: str) -> None:
        self._post(writer, {"cmd": "say", "room": ROOM, "text": text, "id": id, "tag": id})

    def _post(self, writer: asyncio.StreamWriter, command: dict[str, Any]) -> None:
        if not writer.is_closing():
            writer.write(json.dumps(command).encode() + b"\n")


async def restart_under(chat: ChatServer, programs: list[Program]) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    running = [asyncio.create_task(program.run(chat.address, over)) for program in programs]
    for number in range(RESTARTS):
        while any(program.logins <= number or len(program.acknowledged) < 5 * (number + 1) for program in programs):
            await asyncio.sleep(0.02)
            for task in running:
                if task.done():
                    task.result()
        assert await loop.run_in_executor(None, chat.stop) == 0
        chat.start()  # in this thread: the server ends with the thread that starts it
    over.set()
    await asyncio.gather(*running)


@pytest.mark.slow
def test_every_number_once(database_url: str, server: StartServer, tmp_path: Path) -> None:
    """However often the server restarts, each program receives every number of the room exactly once, from the first
    one that it saw on, and everything that was acknowledged is stored exactly once. All are told each time."""
    chat = server(database_url, config=QUICK)
    programs = [Program(f"p{number}x") for number in range(PROGRAMS)]
    asyncio.run(restart_under(chat, programs))
    for program in programs:
        numbers = [entry["seq"] for entry in program.log]
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), program.name
        assert len(program.retries) == RESTARTS
        assert all(retry >= 2 for retry in program.retries)
    texts = [text for _, kind, text, _ in stored(database_url)[ROOM] if kind == "message"]
    said = [text for program in programs for text in (f"text of {id}" for id in program.acknowledged)]
    assert sorted(texts) == sorted(said)
