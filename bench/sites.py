"""The pages that bench.web measures: ours, and The Lounge on ngIRCd, with the same rooms and messages."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from bench import fill, machine
from bench.restart import filled
from bench.servers import Ngircd
from tests.support.process import ChatServer
from tests.support.websocket import WebSocketClient
from tests.web.chromium import Person

ROOMS: Final = tuple(f"talk{number}r0" for number in range(20))
BUSY: Final = "busyr0"
DEEP: Final = "deepr0"
SPEAKERS: Final = 4
MESSAGES: Final = 100
"""Number of messages in each room before somebody comes."""
DEEP_MESSAGES: Final = 100_000
NAME: Final = "ana"
PASSWORD: Final = "s3cret-words"
START_SECONDS: Final = 60


class Site(Protocol):
    """A page, the server behind it, and those who talk there."""

    name: str
    url: str
    rows: str
    """A selector of the messages that are shown."""
    box: str
    links: str
    """A selector of all rooms in the list."""
    joined: str
    """An expression that is true in the page once the server has answered the login."""
    has_deep: bool
    """Whether there is a room with a hundred thousand messages, in which Home leads to the first."""

    def __init__(self, folder: Path) -> None: ...

    @classmethod
    def missing(cls) -> str:
        """Why it cannot be measured here; empty if it can."""

    def version(self) -> str: ...

    def link(self, room: str) -> str:
        """The selector of one room in the list."""

    def here(self, room: str) -> str:
        """A selector of what is there only while this room is shown."""

    def log_in(self, person: Person) -> None:
        """Fill in the form, and send it."""

    def speaker(self, number: int) -> Callable[[str], None]:
        """Somebody who says what the function is called with, in the busy room."""

    def close(self) -> None: ...


class Ours:
    """The page of this tree, on SQLite in the folder."""

    name = "chatserver"
    rows, box, links = ".rows > article.message", "#box", ".rooms section a.room-row"
    joined, has_deep = "window.isAnswered", True

    def __init__(self, folder: Path) -> None:
        database = f"sqlite:///{folder}/chat.db"
        for room in ROOMS:
            filled(database, fill.People(room.removesuffix("r0"), 1, 1, MESSAGES))
        filled(database, fill.People("busy", SPEAKERS, 1, MESSAGES))
        filled(database, fill.People("deep", 1, 1, DEEP_MESSAGES))
        self._server = ChatServer(database, listen=["web:tcp:0:interface=127.0.0.1"]).start()
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._clients = [WebSocketClient(self._server.address)]
        ana = self._clients[0]
        ana.register(NAME, PASSWORD)
        for room in (*ROOMS, BUSY, DEEP):
            ana.ok("join", room=room)
        ana.ok("read-all")

    @classmethod
    def missing(cls) -> str:
        return ""

    def version(self) -> str:
        from chatserver import __version__

        return f"chatserver {__version__}"

    def link(self, room: str) -> str:
        return f'{self.links}[href="#/{room}"]'

    def here(self, room: str) -> str:
        return f'#box[placeholder="Message #{room}"]'

    def log_in(self, person: Person) -> None:
        person.login(NAME, PASSWORD)

    def speaker(self, number: int) -> Callable[[str], None]:
        client = WebSocketClient(self._server.address)
        client.ok("login", token=fill.token(f"busyu{number}"))
        self._clients.append(client)

        def say(text: str) -> None:
            client.say(BUSY, text)

        return say

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._server.close()


class Lounge:
    """The Lounge, which keeps ana connected to an ngIRCd; whatever is in PATH under these names."""

    name = "The Lounge"
    rows, box, links = "#chat .msg[data-type=message]", "#input", ".channel-list-item[data-type=channel]"
    joined, has_deep = "true", False

    def __init__(self, folder: Path) -> None:
        self._irc = Ngircd(folder)
        self._irc.start([])
        self._home = folder / "lounge"
        self._process: subprocess.Popen[bytes] | None = None
        self._speakers: list[Speaker] = []
        try:
            self._serve()
        except BaseException:
            self.close()
            raise

    def _serve(self) -> None:
        self._run("--version")  # makes the folder and its settings
        port = machine.free_port()
        settings = {"public": False, "host": "127.0.0.1", "port": port, "maxHistory": -1, "messageStorage": []}
        self._home.mkdir(exist_ok=True)
        (self._home / "users").mkdir(exist_ok=True)
        (self._home / "config.js").write_text(f"module.exports = {json.dumps(settings)};")
        self._run("add", "--password", PASSWORD, NAME)
        user = self._home / "users" / f"{NAME}.json"
        channels = [{"name": f"#{room}"} for room in (*ROOMS, BUSY)]
        irc = {"name": "irc", "host": "127.0.0.1", "port": self._irc.port, "tls": False, "channels": channels}
        network = irc | dict.fromkeys(("nick", "username", "realname"), NAME)
        user.write_text(json.dumps({**json.loads(user.read_text()), "networks": [network]}))
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [self._program(), "start"], env=self._env(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=machine.die_with_parent,
        )  # fmt: skip
        wait_for(lambda: connects(port), "The Lounge listens")
        first = Speaker(self._irc.port, "teller", [*ROOMS, BUSY])
        self._speakers.append(first)
        wait_for(lambda: all(first.sees(NAME, room) for room in (*ROOMS, BUSY)), f"{NAME} is in all channels")
        for room in (*ROOMS, BUSY):
            for number in range(MESSAGES):
                first.say(room, f"Stored before: a message of ordinary length, number {number}")

    @classmethod
    def missing(cls) -> str:
        if not machine.find_program("thelounge"):
            return "thelounge is not in PATH (an npm package)"
        return Ngircd.missing()

    def version(self) -> str:
        irc = machine.first_line(machine.find_program("ngircd") or "", "--version").partition("-")[0]
        return f"The Lounge {self._run('--version').strip()} on {irc}"

    def link(self, room: str) -> str:
        return f'{self.links}[data-name="#{room}"]'

    def here(self, room: str) -> str:
        return f'.channel-list-item.active[data-name="#{room}"]'

    def log_in(self, person: Person) -> None:
        person.fill("Username", NAME)
        person.fill("Password", PASSWORD)
        person.find("button[type=submit]").click()

    def speaker(self, number: int) -> Callable[[str], None]:
        one = Speaker(self._irc.port, f"busyu{number}", [BUSY])
        self._speakers.append(one)
        return lambda text: one.say(BUSY, text)

    def close(self) -> None:
        for one in self._speakers:
            one.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_SECONDS)
        self._irc.stop()

    def _program(self) -> str:
        return machine.find_program("thelounge") or ""

    def _env(self) -> dict[str, str]:
        return {**os.environ, "THELOUNGE_HOME": str(self._home)}

    def _run(self, *arguments: str) -> str:
        command = [self._program(), *arguments]
        return subprocess.check_output(
            command, env=self._env(), text=True, timeout=START_SECONDS, stderr=subprocess.DEVNULL
        )


class Speaker:
    """Somebody on IRC who talks, and listens only while waiting for an answer."""

    def __init__(self, port: int, nick: str, rooms: Sequence[str]) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), START_SECONDS)
        self._nick = nick
        self._read = b""
        self._send(f"NICK {nick}\r\nUSER {nick} 0 * :{nick}")
        self._until(b" 001 ")
        for room in rooms:
            self._send(f"JOIN #{room}")

    def say(self, room: str, text: str) -> None:
        self._send(f"PRIVMSG #{room} :{text}")
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while self._socket.recv(65536):
                pass  # what others say
        self._socket.settimeout(START_SECONDS)

    def sees(self, name: str, room: str) -> bool:
        """Whether somebody is in a channel, as the server says."""
        self._send(f"NAMES #{room}")
        lines = self._until(f" 366 {self._nick} #{room} ".encode()).decode().splitlines()
        return any(
            f" #{room} :" in line and name in line.rpartition(":")[2].split() for line in lines if " 353 " in line
        )

    def close(self) -> None:
        with suppress(OSError):
            self._socket.close()

    def _send(self, line: str) -> None:
        self._socket.sendall(f"{line}\r\n".encode())

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._read:
            data = self._socket.recv(65536)
            if not data:
                raise RuntimeError(f"ngIRCd has ended the connection: {self._read[-500:]!r}")
            self._read += data
        found, self._read = self._read, b""
        return found


def connects(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_for(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"Not within {START_SECONDS} s: {what}")
        time.sleep(0.1)


SITES: Final[tuple[type[Site], ...]] = (Ours, Lounge)
