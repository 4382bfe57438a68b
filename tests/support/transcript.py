"""Transcripts: recorded conversations that can be played to a server.

    # A comment.
    % limits.strikes = 3        a setting of the server to which the transcript is played
    C: /ping                    the client sends a line
    S: * The server is here.    the next line from the server to the client
    C ana: hello                the same with several connections; each is opened when its name first appears
    S bob: [general] 10:02 ana: hello
    C: (end)                    the client shuts down its sending side
    S: (end)                    the server closes the connection
    C: x{500}                   x 500 times
    $ chatctl user list         an administrator's command; or `kill -TERM`, which stops the server; or `keep books 5`:
                                all but the newest five entries of books are removed, as the server does a minute later;
                                or `lose books 2`: the database is set back, and lacks the newest two of them

What varies between runs has the value of one recording: times of day, dates, seconds to wait, epochs, versions, tokens.
A token or secret that a client sends is replaced by the last one that the server showed, an epoch by the first.
`…` at the end of a line stands for the rest of the line. The transcript must contain every line that the server sends,
and no others.
"""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from sqlalchemy import text

from chatserver.chatctl.main import main
from chatserver.store import Connection, directory, retention
from chatserver.store.db.engine import open_engine, parse_url
from chatserver.store.db.transactions import transact
from tests.support.client import Raw

Address = tuple[str, int]

END = "(end)"
ADMINISTRATOR = "$"
TOKEN = re.compile(r"ct_[\w-]{20,}")
SECRET = re.compile(r"cs_[\w-]{68}")
EPOCH = re.compile(r'"epoch":"[^"]+"')

_LINE = re.compile(r"(?P<side>[CS])(?: (?P<name>\w+))?: ?(?P<text>.*)")
_VARIABLE = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "2026-03-02T10:02:00.123Z"),
    (re.compile(r"(?<=[\] ])\d\d:\d\d(?=[ .,:]|$)"), "10:02"),
    (re.compile(r"\b[MTWFS][a-z]+day \d{1,2} [A-Z][a-z]+ \d{4}"), "Monday 2 March 2026"),
    (re.compile(r"(?<=[\] ])\d{1,2}:\d\d [ap]m\b"), "10:02 am"),
    (re.compile(r"(?<=Times are in )([A-Z]+ \()?UTC[+-]\d\d:\d\d\)?(?=\.)"), "UTC"),  # the server's own
    (re.compile(r'"retry":\d+'), '"retry":7'),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b"), "2026-03-02 10:02"),
    (re.compile(r'"version":"[^"]+"'), '"version":"1.0.0"'),
    (re.compile(r"\(chatserver \d[^)]*\)"), "(chatserver 1.0.0)"),
    (EPOCH, '"epoch":"9f3a77c1-1f"'),
    (TOKEN, "ct_mbJ0UX4oRQm1mGd3x8cCkWk7VYFcVd3zqT0yqYb2h5s"),
    (SECRET, "cs_ZvG3n0w9aQkT5bXq1YcR7AAAAQ8hUuM2tPzLr6iEoKdVxJ4yWfN_sB1gCmHpD3aQlTeW"),
    (re.compile(r'"address":"[^"]+"'), '"address":"192.0.2.7"'),
    (re.compile(r"127\.0\.0\.1|::1"), "192.0.2.7"),
)


@dataclass(frozen=True)
class Step:
    number: int
    """Its line number in the file."""
    client: str
    says: bool
    """Whether the client (or the administrator) says it; otherwise the server does."""
    text: str


@dataclass
class Transcript:
    name: str
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    """By table and key; values are in TOML syntax."""
    steps: list[Step] = field(default_factory=list)

    @property
    def config(self) -> str:
        tables = []
        for table, values in self.settings.items():
            tables.append(f"[{table}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()))
        return "".join(tables)


def read(path: Path, settings: dict[str, dict[str, str]]) -> Transcript:
    """Read the transcript in a file. `settings` are defaults that it may override."""
    transcript = Transcript(path.stem, {table: dict(values) for table, values in settings.items()})
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("%"):
            name, _, value = line[1:].partition("=")
            table, _, key = name.strip().partition(".")
            transcript.settings.setdefault(table, {})[key] = value.strip()
        elif line.startswith(f"{ADMINISTRATOR} "):
            transcript.steps.append(Step(number, ADMINISTRATOR, True, line[2:]))
        elif line and not line.startswith("#"):
            found = _LINE.fullmatch(line)
            assert found is not None, f"{path.name}:{number}: begins with none of # % C S $: {line}"
            transcript.steps.append(Step(number, found["name"] or "", found["side"] == "C", found["text"]))
    return transcript


def normalized(line: str) -> str:
    """The line with everything that varies between runs replaced by the recorded values."""
    for pattern, recorded in _VARIABLE:
        line = pattern.sub(recorded, line)
    return line


def expanded(line: str) -> str:
    return re.sub(r"(\w)\{(\d+)\}", lambda found: found[1] * int(found[2]), line)


class Players:
    """The clients of a transcript; each connects when it is first mentioned: to one node after another."""

    def __init__(self, *addresses: Address, database: str = "", stop: Callable[[], None] = lambda: None) -> None:
        self._addresses = addresses
        self._database = database
        self._stop = stop
        self._token = ""
        self._secret = ""
        self._epoch = ""
        self._clients: dict[str, Raw] = {}

    def client(self, name: str) -> Raw:
        if name not in self._clients:
            self._clients[name] = Raw(self._addresses[len(self._clients) % len(self._addresses)])
        return self._clients[name]

    def play(self, step: Step) -> None:
        if step.client == ADMINISTRATOR:
            self.administer(step.text)
            return
        client = self.client(step.client)
        if step.says:
            said = expanded(TOKEN.sub(self._token, step.text) if self._token else step.text)
            said = SECRET.sub(self._secret, said) if self._secret else said
            said = EPOCH.sub(self._epoch, said)
            client.half_close() if step.text == END else client.send(said.encode() + b"\r\n")
        elif step.text == END:
            assert client.eof() == b""
        else:
            line = client.read_line().decode()
            self._token = "".join(TOKEN.findall(line)[-1:]) or self._token
            self._secret = "".join(SECRET.findall(line)[-1:]) or self._secret
            self._epoch = self._epoch or "".join(EPOCH.findall(line))
            said = normalized(line)
            expected = normalized(step.text)
            if expected.endswith("…"):
                said = said[: len(expected) - 1] + "…"
            assert said == expected, f"line {step.number}: {said}"

    def administer(self, command: str) -> None:
        """Run an administrator's command."""
        if command == "kill -TERM":
            self._stop()
            return
        chatctl, *words = shlex.split(command)
        if chatctl == "keep":
            keep(self._database, *words)
            return
        if chatctl == "lose":
            lose(self._database, *words)
            return
        assert chatctl == "chatctl"
        result = CliRunner(env={"CHATSERVER_CONFIG": None}).invoke(main, ["--database", self._database, *words])
        assert result.exit_code == 0, result.output

    def finish(self) -> dict[str, bytes]:
        """Shut down the sending side of all clients; returns what the server still sends them, ideally nothing."""
        for client in self._clients.values():
            if not client.ended:
                try:
                    client.half_close()
                except OSError:  # the server has closed the connection already
                    pass
        return {name: client.eof() for name, client in self._clients.items()}

    def __enter__(self) -> "Players":
        return self

    def __exit__(self, *_: Any) -> None:
        for client in self._clients.values():
            client.close()


def keep(database: str, room: str, entries: str) -> None:
    engine = open_engine(parse_url(database))

    def work(db: Connection) -> None:
        found = directory.room(db, room)
        assert found is not None
        retention.remove(db, found.id, found.first, found.first + found.entries - int(entries))

    transact(engine, work)
    engine.dispose()


def lose(database: str, room: str, entries: str) -> None:
    engine = open_engine(parse_url(database))
    with engine.begin() as db:
        last = db.execute(text("SELECT id, last_seq FROM room WHERE name = :name"), {"name": room}).one()
        given = {"id": last.id, "seq": last.last_seq - int(entries)}
        db.execute(text("DELETE FROM entry WHERE room_id = :id AND seq > :seq"), given)
        db.execute(text("UPDATE room SET last_seq = :seq WHERE id = :id"), given)
    engine.dispose()


def files() -> Iterator[Path]:
    yield from sorted((Path(__file__).parents[1] / "transcripts").glob("*.txt"))
