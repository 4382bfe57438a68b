"""The clients: programs that rely on the promises of the protocol, over as many connections as it takes."""

import itertools
import json
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from websockets.exceptions import WebSocketException

from chaos.log import Broken, Log, Seen
from chaos.relay import Address
from tests.support.client import NOT_ENTRIES, Ended, Message, Raw, Silence
from tests.support.websocket import WebSocketClient

PASSWORD = "s3cret-words"
MENTIONED = "bea"
"""Some messages mention the client of this name."""
GONE = {"left", "kicked", "banned"}
RECONNECT_SECONDS = 0.05
TURN_SECONDS = 0.02
"""A client looks this often whether it has something to send."""
PING_SECONDS = 20.0
ANSWER_SECONDS = 20.0
"""Longest wait for the answer to a login: a stopped server or database must not end the run."""


class Refused(Exception):
    """A login was refused for now; the client connects again."""


class Stage:
    """State of all clients: whether they should act, and what has failed."""

    def __init__(self, addresses: dict[str, list[Address]], pace: float) -> None:
        self.addresses = addresses
        """By door, that of each node."""
        self.pace = pace
        """Messages per second of each writer."""
        self.round = 0
        """The number of faults that are over and checked."""
        self.quiet = False
        """Nobody begins anything new."""
        self.failures: list[str] = []


class Client:
    """A thread with one connection at a time; subclasses say what happens on it."""

    fast = True
    """Whether it must hear everything at once; a slow reader may take its time until the end."""

    def __init__(self, stage: Stage, name: str, seed: str) -> None:
        self.stage = stage
        self.name = name
        self.chance = random.Random(f"{seed}/{name}")
        self.connected_at: float | None = None
        """When it logged in, by the monotonic clock; None: it is not logged in."""
        self.connections = 0
        self.place: Address | None = None
        """Where it connected last."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def address(self, door: str = "line") -> Address:
        """Where it connects next: to any node."""
        self.place = self.chance.choice(self.stage.addresses[door])
        return self.place

    def stop(self) -> None:
        self._stopping.set()

    def join(self) -> None:
        self._thread.join(ANSWER_SECONDS + 5)

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def converse(self) -> None:
        """Log in, and go on until told to stop. What a lost connection raises means: connect again."""
        raise NotImplementedError

    def _run(self) -> None:
        while not self.stopping:
            try:
                self.converse()
            except (Ended, Silence, Refused, OSError, EOFError, WebSocketException):
                pass
            except Exception as error:  # a broken promise, or a mistake here: both end the run
                self.stage.failures.append(f"{self.name}: {error if isinstance(error, Broken) else repr(error)}")
                return
            finally:
                self.connected_at = None
            self._stopping.wait(RECONNECT_SECONDS)


class Program(Client):
    """A program that resumes where it was cut off, and checks every line that it is sent."""

    def __init__(self, stage: Stage, name: str, seed: str, rooms: list[str], *, door: str = "line") -> None:
        super().__init__(stage, name, seed)
        self.logs: dict[str, Log] = {}
        self._epoch: str | None = None
        self.inside: set[str] = set()
        """The rooms that it knows it is in."""
        self.outside: dict[str, Seen] = {}
        """By room, the entry that said that it is not in the room any more: it hears nothing until it is in again."""
        self._resumed: dict[str, int] = {}
        """By room, the newest entry at its last login: it is sent all up to it, what was said while it was out, too."""
        self.errands: deque[tuple[Message, Callable[[Message], None]]] = deque()
        """Commands that others want it to send."""
        self.waiting: deque[tuple[int, Callable[[Message], None]]] = deque()
        self._rooms = rooms
        self._door = door
        self._tags = itertools.count(1)
        self._link: Raw | None = None

    @property
    def heard(self) -> int:
        """Number of entries that it was sent."""
        return sum(len(log.entries) for log in list(self.logs.values()))

    def log(self, room: str) -> Log:
        return self.logs.setdefault(room, Log(room))

    def converse(self) -> None:
        self.waiting.clear()
        kind = WebSocketClient if self._door == "websocket" else Raw
        with kind(self.address(self._door), timeout=ANSWER_SECONDS, receive_buffer=self.buffer()) as link:
            self._link = link
            self._login()
            self.began()
            awake = time.monotonic() + PING_SECONDS
            while not self.stopping:
                while self.errands:
                    command, then = self.errands.popleft()
                    self.post(then, **command)
                if time.monotonic() > awake:
                    awake = time.monotonic() + PING_SECONDS
                    self.post(lambda answer: None, cmd="ping")
                self.act()
                self.read(TURN_SECONDS)

    def buffer(self) -> int | None:
        """The size of the socket's receive buffer, in bytes."""
        return None

    def credentials(self) -> Mapping[str, Any]:
        """What it logs in with."""
        return {"name": self.name, "password": PASSWORD}

    def logged_in(self, answer: Message) -> None:
        """Called with the answer to each login."""

    def began(self) -> None:
        """Called once a login is complete."""

    def act(self) -> None:
        """Called many times per second: send what is due."""

    def entered(self, room: str, seen: Seen) -> None:
        """Called for each entry."""

    def post(self, then: Callable[[Message], None], **command: Any) -> None:
        assert self._link is not None
        tag = next(self._tags)
        self.waiting.append((tag, then))
        self._link.send(json.dumps(command | {"tag": tag}).encode() + b"\n")

    def read(self, seconds: float) -> None:
        """Take all lines that have arrived, or that arrive first within this many seconds."""
        link = self._link
        assert link is not None
        with suppress(Silence):
            link.fill(lambda: b"\n" in link.received, "a line", seconds)
        *lines, link.received = link.received.split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                self._take(json.loads(line))

    def join_room(self, room: str, then: Callable[[Message], None] = lambda answer: None) -> None:
        """Ask to join; `then` gets the answer once the log knows it."""
        if room not in self.inside:
            self.log(room).reopen()

        def joined(answer: Message) -> None:
            if answer["ok"]:
                self.log(room).promise(answer["seq"])
                self.outside.pop(room, None)
                if answer["seq"] >= self.log(room).position:
                    self.inside.add(room)
            then(answer)

        self.post(joined, cmd="join", room=room)

    def _login(self) -> None:
        answers: list[Message] = []
        resume = {room: log.position for room, log in self.logs.items() if log.position}
        self.post(answers.append, cmd="login", **self.credentials(), resume=resume, epoch=self._epoch)
        deadline = time.monotonic() + ANSWER_SECONDS
        while not answers:
            self.read(0.5)
            if time.monotonic() > deadline:
                raise Silence(f"no answer to the login of {self.name}")
        [answer] = answers
        if not answer["ok"]:
            raise Refused if answer.get("retry") else Broken(f"A login was refused: {answer}")
        self.logged_in(answer)
        self.inside = {room["room"] for room in answer["rooms"]}
        self._resumed = {room["room"]: room["seq"] for room in answer["rooms"]}
        for room in answer["rooms"]:
            log = self.log(room["room"])
            self.outside.pop(room["room"], None)
            if log.position:  # resumed
                log.open = False
            else:
                log.reopen()
                log.promise(room["seq"])
        self.connected_at = time.monotonic()
        self.connections += 1
        for name in self._rooms:
            if name not in self.inside and not name.startswith("@"):
                self.join_room(name, self._joined_at_start)

    def _joined_at_start(self, answer: Message) -> None:
        if not answer["ok"]:
            raise Refused if answer.get("retry") else Broken(f"{self.name} was refused: {answer}")

    def _take(self, message: Message) -> None:
        self._epoch = message.get("epoch", self._epoch)
        if "common" in message:
            raise Broken(f"{self.name} is told of a database that was set back: {message}")
        if "event" not in message:
            if not self.waiting:
                raise Broken(f"An answer to nothing: {message}")
            tag, then = self.waiting.popleft()
            if message.get("tag") != tag:
                raise Broken(f"The answer to command {tag} should be next, not {message}")
            then(message)
        elif "seq" in message and message["event"] not in NOT_ENTRIES:
            room = message["room"]
            text = message.get("text")
            # All clients of a run share one copy of each text.
            seen = Seen(message["seq"], sys.intern(message["event"]), text and sys.intern(text), message.get("id"))
            own = message.get("name") == self.name
            back = seen.seq <= self._resumed.get(room, 0)
            if room in self.outside and not back and not (own and seen.kind == "joined") and seen.kind != "created":
                raise Broken(f"{self.name} is out of {room} since {self.outside[room]}, and was sent {seen}")
            self.log(room).add(seen)
            self.outside.pop(room, None)
            if own and seen.kind in GONE:
                self.inside.discard(room)
                self.log(room).reopen()
                self.outside[room] = seen
            elif own and seen.kind == "joined":
                self.inside.add(room)
            self.entered(room, seen)


class Reader(Program):
    """Stays in its rooms, and reads."""


class SlowReader(Program):
    """Reads a few kilobytes at a time, with pauses, until the end of the run."""

    fast = False

    def buffer(self) -> int | None:
        return 4096

    def act(self) -> None:
        if not self.stage.quiet:
            time.sleep(self.chance.uniform(0.05, 0.3))


class Writer(Program):
    """Sends messages with an id, again and again until each is answered, several at a time."""

    IN_FLIGHT = 8

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.sent: dict[str, tuple[str, str]] = {}
        """By id: the room and the text."""
        self.acknowledged: dict[str, tuple[int, str]] = {}
        """By id: the seq and the time in the first answer."""
        self.proven = 0.0
        """When the newest message that is acknowledged was sent, by the monotonic clock."""
        self._due: deque[str] = deque()
        self._next = 0.0

    @property
    def unanswered(self) -> int:
        return len(self.sent) - len(self.acknowledged)

    def began(self) -> None:
        self._due = deque(id for id in self.sent if id not in self.acknowledged)
        if self.acknowledged and self.chance.random() < 0.5:  # a repetition of what was answered long ago
            self._due.append(next(reversed(self.acknowledged)))

    def act(self) -> None:
        now = time.monotonic()
        while len(self.waiting) < self.IN_FLIGHT:
            if self._due:
                self._say(self._due.popleft())
            elif not self.stage.quiet and now >= self._next:
                self._next = max(now - 0.2, self._next) + 1 / self.stage.pace
                self._say(self._new())
            else:
                return

    def _new(self) -> str:
        id = f"{self.name}-{len(self.sent) + 1}"
        room = self.chance.choice(self._rooms)
        size = self.chance.choice((0, 0, 0, 20, 200, 2000))
        filling = "x" * size or self.chance.choice(("", f"@{MENTIONED}"))
        self.sent[id] = room, f"{id} {filling}".strip()
        return id

    def _say(self, id: str) -> None:
        room, text = self.sent[id]
        at = time.monotonic()
        self.post(lambda answer: self._said(id, at, answer), cmd="say", room=room, text=text, id=id)

    def _said(self, id: str, at: float, answer: Message) -> None:
        if answer["ok"]:
            told = answer["seq"], answer["at"]
            first = self.acknowledged.setdefault(id, told)
            if told != first:
                raise Broken(f"{id} was acknowledged as {first} and later as {told}")
            self.proven = max(self.proven, at)
        elif answer.get("retry"):
            self._due.append(id)
            self._next = time.monotonic() + 0.1
        else:
            raise Broken(f"The message {id} for {self.sent[id][0]} was refused: {answer}")


class Mover(Program):
    """Joins and leaves a room, and creates rooms, whatever the answers; retries what is not answered."""

    def __init__(self, *arguments: Any, lobby: str, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._lobby = lobby
        self._next = 0.0
        self._creating = ""
        self._tried = False
        self._made = 0

    def act(self) -> None:
        now = time.monotonic()
        if self.waiting or now < self._next:
            return
        self._next = now + self.chance.uniform(0.05, 0.4)
        if self._creating:
            self._create()
        elif self.stage.quiet:
            return
        elif self._lobby not in self.inside:
            self.join_room(self._lobby, self._moved)
        elif self.chance.random() < 0.3:
            self._made += 1
            self._creating, self._tried = f"{self.name}-room-{self._made}", False
            self._create()
        elif self.chance.random() < 0.5:
            self.post(self._left, cmd="leave", room=self._lobby)
        elif own := [room for room in self.inside if room.startswith(f"{self.name}-room")]:
            self.post(self._moved, cmd="topic", room=self.chance.choice(own), text=f"topic {now}")

    def _create(self) -> None:
        room = self._creating
        again, self._tried = self._tried, True
        if room in self.inside:
            self._creating = ""
            return
        self.log(room)

        def created(answer: Message) -> None:
            if answer["ok"]:
                self.log(room).promise(answer["seq"])
                self.inside.add(room)
                self._creating = ""
            elif not answer.get("retry"):
                raise Broken(f"create {room}{', again,' if again else ''} was refused: {answer}")

        self.post(created, cmd="create", room=room, topic="mine")

    def _moved(self, answer: Message) -> None:
        if not answer["ok"] and not answer.get("retry") and answer["error"] != "not-a-member":
            raise Broken(f"{self.name} was refused: {answer}")

    def _left(self, answer: Message) -> None:
        if answer["ok"] and self._lobby in self.inside:  # it is not even sent what its node had not heard of yet
            self.log(self._lobby).reopen()
            self.outside[self._lobby] = Seen(self.log(self._lobby).position, "answer", None, None)
        if answer["ok"] or answer["error"] == "not-a-member":
            self.inside.discard(self._lobby)
        self._moved(answer)


class Herald(Program):
    """Sets topics in rooms where nothing else happens, and kicks movers from the lobby.

    After a fault that it noticed it does nothing until the next check is over: an entry that was stored then, although
    the answer was lost, must reach everybody without another entry behind it.
    """

    IN_FLIGHT = 4

    def __init__(self, *arguments: Any, dens: list[str], lobby: str, movers: list[str], **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._dens = dens
        self._lobby = lobby
        self._movers = movers
        self._next = 0.0
        self._resting: int | None = None
        self._numbers = itertools.count(1)

    def began(self) -> None:
        self._resting = self.stage.round if self.connections > 1 else None

    def act(self) -> None:
        now = time.monotonic()
        if self.stage.quiet or self._resting == self.stage.round or now < self._next:
            return
        if len(self.waiting) >= self.IN_FLIGHT:
            return
        self._next = now + self.chance.uniform(0.1, 0.3)
        if self.chance.random() < 0.3:
            self.post(self._done, cmd="kick", room=self._lobby, name=self.chance.choice(self._movers), reason="out")
        else:
            topic = f"topic {next(self._numbers)}"
            self.post(self._done, cmd="topic", room=self.chance.choice(self._dens), text=topic)

    def _done(self, answer: Message) -> None:
        if answer["ok"] or answer["error"] == "no-such-user":
            return
        if not answer.get("retry"):
            raise Broken(f"{self.name} was refused: {answer}")
        self._resting = self.stage.round
