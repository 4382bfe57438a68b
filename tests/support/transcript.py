"""Conversations written down, and played to a server again.

    # A remark.
    % limits.strikes = 3        a setting of the server that this one is played to
    C: /ping                    the client sends a line
    S: * The server is here.    the server's next line to it
    C ana: hello                the same, where there are several connections; each begins with its first line here
    S bob: [general] 10:02 ana: hello
    C: (end)                    the client ends its side
    S: (end)                    the server ends the connection
    C: x{500}                   500 times x
    $ chatctl user list         a command of who runs the server; or `kill -TERM`, which stops it

What differs from time to time is written as it was once: times of day, dates, seconds to wait, tokens. A token that a
client sends is the last one that was shown. `…` at the end of a line stands for whatever else is in it. Everything that
the server says must be there, and nothing else.
"""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from chatserver.admin.main import main
from tests.support.client import Raw

END = "(end)"
OPERATOR = "$"
TOKEN = re.compile(r"ct_[\w-]{20,}")

_LINE = re.compile(r"(?P<side>[CS])(?: (?P<name>\w+))?: ?(?P<text>.*)")
_VARIABLE = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "2026-03-02T10:02:00.123Z"),
    (re.compile(r"(?<=[\] ])\d\d:\d\d(?=[ .,:]|$)"), "10:02"),
    (re.compile(r"\b[MTWFS][a-z]+day \d{1,2} [A-Z][a-z]+ \d{4}"), "Monday 2 March 2026"),
    (re.compile(r'"retry":\d+'), '"retry":7'),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b"), "2026-03-02 10:02"),
    (TOKEN, "ct_mbJ0UX4oRQm1mGd3x8cCkWk7VYFcVd3zqT0yqYb2h5s"),
)


@dataclass(frozen=True)
class Step:
    number: int
    """Of its line in the file."""
    client: str
    says: bool
    """The client does; else the server."""
    text: str


@dataclass
class Transcript:
    name: str
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    """By table and key, values as TOML."""
    steps: list[Step] = field(default_factory=list)

    @property
    def config(self) -> str:
        tables = []
        for table, values in self.settings.items():
            tables.append(f"[{table}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()))
        return "".join(tables)


def read(path: Path, settings: dict[str, dict[str, str]]) -> Transcript:
    """The transcript in a file. `settings` are those that it does not set itself."""
    transcript = Transcript(path.stem, {table: dict(values) for table, values in settings.items()})
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("%"):
            name, _, value = line[1:].partition("=")
            table, _, key = name.strip().partition(".")
            transcript.settings.setdefault(table, {})[key] = value.strip()
        elif line.startswith(f"{OPERATOR} "):
            transcript.steps.append(Step(number, OPERATOR, True, line[2:]))
        elif line and not line.startswith("#"):
            found = _LINE.fullmatch(line)
            assert found is not None, f"{path.name}:{number}: none of # % C S $: {line}"
            transcript.steps.append(Step(number, found["name"] or "", found["side"] == "C", found["text"]))
    return transcript


def steady(line: str) -> str:
    """The line with all that varies replaced by what it was once."""
    for pattern, once in _VARIABLE:
        line = pattern.sub(once, line)
    return line


def spelt_out(line: str) -> str:
    return re.sub(r"(\w)\{(\d+)\}", lambda found: found[1] * int(found[2]), line)


class Players:
    """The clients of a transcript, connected as they are first mentioned."""

    def __init__(self, address: tuple[str, int], database: str = "", stop: Callable[[], None] = lambda: None) -> None:
        self._address = address
        self._database = database
        self._stop = stop
        self._token = ""
        self._clients: dict[str, Raw] = {}

    def client(self, name: str) -> Raw:
        if name not in self._clients:
            self._clients[name] = Raw(self._address)
        return self._clients[name]

    def play(self, step: Step) -> None:
        if step.client == OPERATOR:
            self.operate(step.text)
            return
        client = self.client(step.client)
        if step.says:
            text = spelt_out(TOKEN.sub(self._token, step.text) if self._token else step.text)
            client.half_close() if step.text == END else client.send(text.encode() + b"\r\n")
        elif step.text == END:
            assert client.eof() == b""
        else:
            line = client.read_line().decode()
            self._token = "".join(TOKEN.findall(line)[-1:]) or self._token
            said = steady(line)
            expected = steady(step.text)
            if expected.endswith("…"):
                said = said[: len(expected) - 1] + "…"
            assert said == expected, f"line {step.number}"

    def operate(self, command: str) -> None:
        """What who runs the server does."""
        if command == "kill -TERM":
            self._stop()
            return
        chatctl, *words = shlex.split(command)
        assert chatctl == "chatctl"
        result = CliRunner(env={"CHATSERVER_CONFIG": None}).invoke(main, ["--database", self._database, *words])
        assert result.exit_code == 0, result.output

    def finish(self) -> dict[str, bytes]:
        """All end their side; what the server still says to each, which should be nothing."""
        for client in self._clients.values():
            if not client.ended:
                try:
                    client.half_close()
                except OSError:  # the other side was quicker
                    pass
        return {name: client.eof() for name, client in self._clients.items()}

    def __enter__(self) -> "Players":
        return self

    def __exit__(self, *_: Any) -> None:
        for client in self._clients.values():
            client.close()


def files() -> Iterator[Path]:
    yield from sorted((Path(__file__).parents[1] / "transcripts").glob("*.txt"))
