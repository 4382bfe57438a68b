"""A client program that relies on the promises of the protocol over many connections, and checks all of them."""

import itertools
import json
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.support.client import Message, Raw
from tests.support.process import ChatServer

PASSWORD = "s3cret-words"


class Person:
    """One account with one connection at a time, and a log of each room that continues over all connections."""

    def __init__(self, server: ChatServer, name: str) -> None:
        self.name = name
        self.logs: dict[str, list[Message]] = {}
        """By room, every entry received so far, from the first one on."""
        self.sent: dict[str, tuple[str, str]] = {}
        """By id: the room and the text of every message ever sent, whether it was answered or not."""
        self.acknowledged: dict[str, tuple[int, str]] = {}
        """By id: the number and the time in the first answer."""
        self.link: Raw | None = None
        self._epoch: str | None = None
        self._server = server
        self._tags = itertools.count(1)
        self._ids = itertools.count(1)
        self._waiting: deque[tuple[int, Callable[[Message], None]]] = deque()

    # Connections

    def register(self) -> None:
        self._open(False, {"cmd": "register", "name": self.name, "password": PASSWORD})

    def connected(self, *, slow: bool = False) -> Raw:
        """The current connection, or else a new one, which resumes where the last one was cut."""
        if self.link is None:
            resume = {room: len(log) for room, log in self.logs.items()}
            words = {"cmd": "login", "name": self.name, "password": PASSWORD, "resume": resume, "epoch": self._epoch}
            self._open(slow, words)
        assert self.link is not None
        return self.link

    def _open(self, slow: bool, words: Message) -> None:
        self.link = Raw(self._server.address, receive_buffer=4096 if slow else None)
        self._ask(words, self._succeeded)
        self._read_answers()

    def cut(self) -> None:
        """Resets the connection; what is in transit in either direction is lost."""
        if self.link is not None:
            self.link.abort()
        self.link = None
        self._waiting.clear()

    def cut_after(self, size: int) -> None:
        """Reads up to `size` more bytes, perhaps to the middle of a line, and resets the connection."""
        link = self.connected()
        link.socket.settimeout(0.001)
        try:
            while size > 0 and (data := link.socket.recv(size)):
                size -= len(data)
                link.received += data
        except OSError:  # fewer bytes have arrived
            pass
        *lines, link.received = link.received.split(b"\n")
        for line in lines:
            self._take(line)
        self.cut()

    # Commands

    def say(self, room: str, text: str) -> None:
        id = f"id {next(self._ids)}"
        self.sent[id] = room, text
        self.repeat(id)

    def repeat(self, id: str) -> None:
        """Sends an earlier message again, with the same id."""
        room, text = self.sent[id]
        self._ask({"cmd": "say", "room": room, "text": text, "id": id}, lambda answer: self._said(id, answer))

    def misuse(self, id: str, room: str, text: str) -> None:
        """Sends another message with the id of a stored one."""

        def refused(answer: Message) -> None:
            assert answer.get("error") == "id-conflict", answer

        self._ask({"cmd": "say", "room": room, "text": text, "id": id}, refused)

    def say_half(self, room: str, text: str) -> None:
        """Sends the first half of a message, which the server must ignore."""
        line = json.dumps({"cmd": "say", "room": room, "text": text, "id": "half"}).encode()
        self.connected().send(line[: len(line) // 2])

    def leave_and_join(self, room: str) -> None:
        """Leaves a room and joins it again with `since`, which sends what was said meanwhile.

        After the answer to `leave`, no entry of the room arrives until then.
        """
        self.do("leave", room=room)
        self.do("join", room=room, since=len(self.logs[room]), epoch=self._epoch)

    def do(self, cmd: str, **fields: Any) -> Message:
        """Sends any other command, which must succeed; returns its answer."""
        answers: list[Message] = []
        self._ask({"cmd": cmd, **fields}, answers.append)
        self._read_answers()
        assert answers[-1]["ok"] is True, answers
        return answers[-1]

    def read(self) -> None:
        """Reads until every command is answered."""
        self.do("ping")

    def read_up_to(self, heads: dict[str, int]) -> None:
        while any(len(self.logs[room]) < head for room, head in heads.items()):
            self._take(self.connected().read_line())

    def _ask(self, words: Message, then: Callable[[Message], None]) -> None:
        link = self.connected()
        tag = next(self._tags)
        self._waiting.append((tag, then))
        link.send(json.dumps(words | {"tag": tag}).encode() + b"\n")

    # Reading

    def _read_answers(self) -> None:
        while self._waiting:
            self._take(self.connected().read_line())

    def _take(self, line: bytes) -> None:
        if not line.startswith(b"{"):
            return
        message: Message = json.loads(line)
        if "event" not in message:
            tag, then = self._waiting.popleft()
            assert message["tag"] == tag, f"Answered out of order, or twice: {message}"
            then(message)
        elif "seq" in message and message["event"] not in ("live", "read"):
            log = self.logs.setdefault(message["room"], [])
            assert message["seq"] == len(log) + 1, f"{self.name} received {log[-3:]}, then {message}"
            log.append(message)
        self._epoch = message.get("epoch", self._epoch)
        assert "common" not in message, message  # the database is never set back

    def _succeeded(self, answer: Message) -> None:
        assert answer["ok"] is True, answer

    def _said(self, id: str, answer: Message) -> None:
        assert answer["ok"] is True, answer
        first = self.acknowledged.setdefault(id, (answer["seq"], answer["at"]))
        assert (answer["seq"], answer["at"]) == first
