"""Clients of a cluster of halls: each follows its rooms over many connections, to one node after another, and checks
every line that it is sent."""

import itertools
import json
import re
from collections import deque
from collections.abc import Callable
from typing import Any

from chaos.log import Broken, Log, Seen
from tests.support.client import NOT_ENTRIES, Message
from tests.support.cluster import NodeHall
from tests.support.hall import PASSWORD, Client

GONE = {"left", "kicked", "banned"}
SHOWN = re.compile(r"[\[(](\S+)[\])] \d\d:\d\d (?:» )?([\w~-]+): (.*)")


class Device:
    """Base of programs and people. `account`: several devices may share one."""

    def __init__(self, account: str) -> None:
        self.account = account
        self.client: Client | None = None

    def __repr__(self) -> str:
        return f"{self.account} at {self.hall.name}" if self.hall is not None else f"{self.account}, away"

    @property
    def there(self) -> bool:
        return self.client is not None

    @property
    def hall(self) -> NodeHall | None:
        hall = self.client.hall if self.client is not None else None
        return hall if isinstance(hall, NodeHall) else None

    def connect(self, hall: NodeHall) -> None:
        self.client = hall.client()
        self._read = 0
        self.began()

    def lose(self) -> None:
        """The connection is gone with the server's process: the server does nothing more about it."""
        self.client = None

    def cut(self) -> None:
        if self.client is not None:
            self.look()
            client, self.client = self.client, None
            client.cut()

    def look(self) -> None:
        """Takes what has come."""
        if self.client is None:
            return
        seen = self.client.wire.taken
        end = seen.rfind(b"\n") + 1
        lines, self._read = seen[self._read : end], max(end, self._read)
        for line in lines.decode().splitlines():
            self.take(line.rstrip("\r"))

    def began(self) -> None:
        raise NotImplementedError

    def take(self, line: str) -> None:
        raise NotImplementedError


class Program(Device):
    """A program that resumes where it was cut off."""

    def __init__(self, account: str) -> None:
        super().__init__(account)
        self.logs: dict[str, Log] = {}
        self.outside: dict[str, str] = {}
        """Rooms that it has been told to be out of, and by what."""
        self._waiting: deque[tuple[int, Callable[[Message], None]]] = deque()
        self._tags = itertools.count(1)

    def log(self, room: str) -> Log:
        return self.logs.setdefault(room, Log(room))

    def began(self) -> None:
        self._waiting.clear()
        resume = {room: log.position for room, log in self.logs.items() if log.position}
        self.post(self._welcomed, cmd="login", name=self.account, password=PASSWORD, resume=resume)

    def lose(self) -> None:
        super().lose()
        self._waiting.clear()

    def cut(self) -> None:
        super().cut()
        self._waiting.clear()

    @property
    def busy(self) -> bool:
        """Whether a command of it is not answered yet."""
        return bool(self._waiting)

    def post(self, then: Callable[[Message], None], **command: Any) -> None:
        if self.client is None:
            return
        tag = next(self._tags)
        self._waiting.append((tag, then))
        self.client.send(json.dumps(command | {"tag": tag}, ensure_ascii=False).encode() + b"\n")
        self.look()

    def join(self, room: str) -> None:
        if room in self.outside or room not in self.logs:
            self.log(room).reopen()

        def joined(answer: Message) -> None:
            if answer["ok"]:
                self.log(room).promise(answer["seq"])
                if answer["seq"] >= self.log(room).position:
                    self.outside.pop(room, None)

        self.post(joined, cmd="join", room=room)

    def leave(self, room: str) -> None:
        """Leaves. After that, nothing of the room may come, not even earlier messages."""

        def left(answer: Message) -> None:
            if answer["ok"]:
                self.log(room).reopen()
                self.outside.setdefault(room, "the answer")

        self.post(left, cmd="leave", room=room)

    def _welcomed(self, answer: Message) -> None:
        if not answer["ok"]:
            raise Broken(f"The login of {self} was refused: {answer}")
        rooms = {room["room"]: room["seq"] for room in answer["rooms"]}
        for room, seq in rooms.items():
            log = self.log(room)
            self.outside.pop(room, None)
            if log.position:  # resumed
                log.open = False
            else:
                log.reopen()
                log.promise(seq)
        for room, log in self.logs.items():
            if room not in rooms:
                log.reopen()
                self.outside.setdefault(room, "the login")

    def take(self, line: str) -> None:
        if not line.startswith("{"):
            return
        message: Message = json.loads(line)
        if "event" not in message:
            tag, then = self._waiting.popleft()
            if message.get("tag") != tag:
                raise Broken(f"The answer to command {tag} of {self} should be next, not {message}")
            then(message)
        elif message["event"] == "closing":
            raise Broken(f"The connection of {self} is closed: {message}")
        elif "seq" in message and message["event"] not in NOT_ENTRIES:
            self._hear(message["room"], message)

    def _hear(self, room: str, message: Message) -> None:
        own, kind = message.get("name") == self.account, message["event"]
        if room in self.outside:
            if not (kind == "created" or (own and kind == "joined")) and not room.startswith("@"):
                raise Broken(f"{self} hears {message} although it is out of {room}: {self.outside[room]}")
            del self.outside[room]
        try:
            self.log(room).add(Seen(message["seq"], kind, message.get("text"), message.get("id")))
        except Broken as error:
            raise Broken(f"{self}: {error}") from None
        if own and kind in GONE:
            self.log(room).reopen()
            self.outside[room] = kind


class Terminal(Device):
    """A person, who is shown messages."""

    def __init__(self, account: str) -> None:
        super().__init__(account)
        self.shown: list[tuple[str, str]] = []
        """On this connection: the room and the text of each message; both are empty where it looked at a room anew,
        which shows messages again."""

    def began(self) -> None:
        self.shown = []
        assert self.client is not None
        self.client.type(f"/login {self.account} {PASSWORD}")

    def type(self, line: str) -> None:
        if self.client is not None:
            self.look()
            if line.startswith("/"):
                self.shown.append(("", ""))
            self.client.type(line)
            self.look()

    def take(self, line: str) -> None:
        found = SHOWN.fullmatch(line)
        if found is not None:
            self.shown.append((found[1], found[3]))
