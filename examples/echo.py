"""An echo bot: repeats what people say in its rooms, each message once, whatever is restarted meanwhile.

Needs nothing but Python's standard library (3.11 or newer). docs/programs.md explains it. The token is in the
environment:

    CHAT_TOKEN=ct_... python echo.py localhost 4000 --state echo.json
"""

import argparse
import asyncio
import hashlib
import json
import os
import random
import ssl
import sys
from collections import deque
from pathlib import Path

SILENT_SECONDS = 170
"""The server asks a silent client after 90 seconds whether it is there: who hears nothing for longer is cut off."""
LONGEST_LINE = 1 << 20
SAVE_SECONDS = 1.0
FINAL = {
    "banned", "disabled", "erased", "password", "token-revoked", "token-expired", "certificate-removed", "logout"
}  # fmt: skip
"""Reasons of `closing` after which coming back is of no use."""


class Again(Exception):
    """The connection ended, or is of no use any more: connect again, after this many seconds if they are given."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


class State:
    """The epoch, and for each room the number of the last entry that is dealt with: all that outlives the program.

    What is on disk may be older than what has happened. Then some messages are echoed again, with the ids that they had
    the first time, and the server stores nothing twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        kept = json.loads(path.read_text()) if path.exists() else {"epoch": None, "last": {}}
        self.epoch: str | None = kept["epoch"]
        self.last: dict[str, int] = kept["last"]
        self._saved = json.dumps(kept)

    def save(self) -> None:
        """Replaces the file, so that it is complete at any moment."""
        kept = json.dumps({"epoch": self.epoch, "last": self.last})
        if kept == self._saved:
            return
        new = self.path.with_name(self.path.name + ".new")
        with new.open("w") as file:
            file.write(kept)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
        self._saved = kept


class Session:
    """One connection, from its login to its end.

    It writes without waiting and always reads, so that neither side ever waits for the other.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: State) -> None:
        self.reader = reader
        self.writer = writer
        self.state = state
        self.name = ""
        self.tag = 0
        self.answered = 0
        """The tag of the last answer. Answers come in the order of the commands."""
        self.undone: deque[tuple[str, int, int]] = deque()
        """Entries in the order in which they came: the room, the number, and the tag of the command that must be
        answered before the entry is dealt with."""

    def send(self, cmd: str, **fields: object) -> int:
        self.tag += 1
        self.writer.write(json.dumps({"cmd": cmd, **fields, "tag": self.tag}).encode() + b"\n")
        return self.tag

    async def receive(self) -> dict:
        """The next object. The greeting, and the refusal of a connection, are lines of text."""
        while True:
            try:
                line = await asyncio.wait_for(self.reader.readline(), SILENT_SECONDS)
            except TimeoutError:
                raise Again("The server is silent.") from None
            if not line.endswith(b"\n"):
                raise Again("The connection ended.")
            if line.startswith(b"{"):
                return json.loads(line)
            if line.startswith(b"! "):
                raise Again(line.decode().strip())

    async def log_in(self, token: str) -> None:
        self.send("login", token=token, resume=self.state.last, epoch=self.state.epoch)
        while "ok" not in (answer := await self.receive()):
            self.event(answer)
        if not answer["ok"]:
            raise refused(answer) or SystemExit(f"Cannot log in: {answer['text']}")
        self.name = answer["name"]
        heads = {room["room"]: room["seq"] for room in answer["rooms"]}
        self.state.epoch = answer["epoch"]
        self.state.last |= answer.get("common", {})  # the database was set back to an earlier state
        missed = False
        for room in heads.keys() - self.state.last.keys():
            # A room that the bot has joined begins now. A direct room was begun by somebody while the bot was away.
            self.state.last[room] = 0 if room.startswith("@") else heads[room]
            missed |= self.state.last[room] < heads[room]
        self.state.save()
        if missed:
            raise Again("There is a new direct room: now it can be resumed.", 0)

    async def run(self) -> None:
        """Echoes until the connection ends. Raises Again."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            received = await self.receive()
            if "ok" in received:
                self.answer(received)
            else:
                self.event(received)
            while self.undone and self.undone[0][2] <= self.answered:
                room, seq, _ = self.undone.popleft()
                self.state.last[room] = seq
            if clock() >= due:
                self.state.save()
                due = clock() + SAVE_SECONDS

    def answer(self, answer: dict) -> None:
        if not answer["ok"]:
            if again := refused(answer):
                raise again  # it was not echoed: it is after the next login
            print(f"Not echoed: {answer['text']}", file=sys.stderr)
        self.answered = answer["tag"]

    def event(self, event: dict) -> None:
        if event["event"] == "ping":
            self.send("ping")
        elif event["event"] == "epoch":
            self.state.epoch = event["epoch"]
        elif event["event"] == "closing":
            if event["reason"] in FINAL:
                raise SystemExit(event["text"])
            raise Again(event["text"], event.get("retry"))
        elif event["event"] == "gap":  # older entries were removed from the room
            self.undone.append((event["room"], event["first"] - 1, self.tag))
        elif "seq" in event and "at" in event:  # an entry of a room
            if event["event"] == "message" and self.is_for_us(event):
                self.send("say", room=event["room"], text=event["text"], id=id_of(event))
            self.undone.append((event["room"], event["seq"], self.tag))

    def is_for_us(self, message: dict) -> bool:
        """Bots that answer bots never stop."""
        return bool(message["from"] != self.name and not message.get("bot") and message.get("text"))


def id_of(message: dict) -> str:
    """The same for the same message, always, and another one for every other message.

    The time tells a room from an earlier one of its name. A direct room is called after the other one's present name.
    """
    room = "@" + message["from"] if message["room"].startswith("@") else message["room"]
    what = f"{room} {message['seq']} {message['at']}"
    return f"echo-{hashlib.sha256(what.encode()).hexdigest()[:32]}"


def refused(answer: dict) -> Again | None:
    """What to do after a refusal that passes; None for one that lasts."""
    if "retry" not in answer:
        return None
    return Again(answer["text"], None if answer["retry"] is True else answer["retry"])


async def main(options: argparse.Namespace, token: str) -> None:
    state = State(options.state)
    wait = options.least_wait
    while True:
        try:
            tls = ssl.create_default_context() if options.tls else None
            reader, writer = await asyncio.open_connection(options.host, options.port, ssl=tls, limit=LONGEST_LINE)
            try:
                session = Session(reader, writer, state)
                await session.log_in(token)
                wait = options.least_wait  # it works
                await session.run()
            finally:
                writer.close()
                state.save()
        except (OSError, ValueError, Again) as error:  # ValueError: a line is no JSON, or too long
            seconds = error.seconds if isinstance(error, Again) else None
            # Without jitter all clients of a server that was restarted would come at the same moment.
            pause = wait * random.uniform(0.5, 1) if seconds is None else seconds * random.uniform(1, 1.5)
            wait = min(wait * 2, options.most_wait)
            print(f"{error} Connecting again in {pause:.1f} s.", file=sys.stderr)
            await asyncio.sleep(pause)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Repeat what people say.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--state", type=Path, required=True, metavar="FILE", help="what outlives the program")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--least-wait", type=float, default=1, metavar="SECONDS", help="before connecting again")
    parser.add_argument("--most-wait", type=float, default=60, metavar="SECONDS")
    try:
        asyncio.run(main(parser.parse_args(), os.environ["CHAT_TOKEN"]))
    except KeyboardInterrupt:
        pass
