"""The transcripts, from which the documentation takes its examples, match what the server sends."""

import json
import signal
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from chatserver.values.commands import COMMANDS
from chatserver.values.errors import ErrorWord
from chatserver.values.events import MESSAGE
from chatserver.wire.jsonl.entries import FIELDS
from chatserver.wire.text.shown.help import ALIASES, PAGES
from tests.conftest import StartServer
from tests.support import postgres
from tests.support.transcript import Players, Transcript, files, read

SETTINGS = {
    "passwords": {"memory_kib": "8", "time_cost": "1"},
    "limits": {"presence_seconds": "60"},  # so that nobody is reported as offline in the middle of a conversation
}
BUS = '[bus]\nurl = "postgres"\n'
ELSEWHERE = {
    ErrorWord.TLS_REQUIRED: "tests/test_plaintext.py, since it is never said to clients on the same host",
    ErrorWord.UNAVAILABLE: "tests/process/test_outages.py",
    ErrorWord.SHUTDOWN: "a reason of `closing`: tests/process/test_endings.py",
}
"""Error words that are in no transcript, and why or where they are tested."""
AT_ONE_NODE = {"crowded", "epochs", "greeting", "preferences"}
"""Nodes tell each other once a second how many connections an address has: who connects to the next one meanwhile is
let in. Preferences, and who is away, follow a moment later at other nodes than messages do, and so does the end of all
connections there, after a database was set back."""
TRIES = 3
"""Facts that reach another node a moment later, such as presence, may be requested before."""

NEWS_OF_ROOMS = {"invited", "read", "prefer", "typing", "live", "skipped", "gap"}
ANSWERS_OF_ROOMS = {
    "login", "register", "guest", "token", "rooms", "create", "set", "delete", "join", "leave", "invite", "uninvite",
    "say", "reply", "edit", "erase", "react", "reactions", "pin", "unpin", "pins", "replies", "history", "search",
    "mentions", "read", "unread", "topic", "role", "kick", "ban", "mute", "unmute", "prefer", "export",
}  # fmt: skip
NEWS = ("presence", "invited", "read", "live", "skipped", "notice", "closing", "typing", "prefer")


def transcripts() -> list[Transcript]:
    return [read(path, SETTINGS) for path in files()]


@pytest.mark.parametrize("path", list(files()), ids=lambda path: path.stem)
def test_transcript(path: Path, server: StartServer) -> None:
    """Line for line, the server sends what the transcript says, and nothing else."""
    play(read(path, SETTINGS), server)


@pytest.mark.parametrize(
    "name",
    [
        "greeting",
        "resume",
        "searching",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("moderation", "names", "program", "retention")),
    ],
)
def test_transcript_on_postgres(name: str, server: StartServer, postgres_url: str) -> None:
    """It sends the same with a PostgreSQL database."""
    [path] = [path for path in files() if path.stem == name]
    play(read(path, SETTINGS), server, postgres_url)


@pytest.mark.slow
@pytest.mark.parametrize("path", [one for one in files() if one.stem not in AT_ONE_NODE], ids=lambda path: path.stem)
def test_transcript_at_two_nodes(path: Path, server: StartServer, postgres_url: str) -> None:
    """It sends the same if every client is connected to another node than the one before it."""
    for left in reversed(range(TRIES)):
        try:
            play(read(path, SETTINGS), server, postgres_url, nodes=2)
            return
        except AssertionError:
            if not left:
                raise
            postgres_url = postgres.postgres_url()


def play(transcript: Transcript, server: StartServer, database: str | None = None, nodes: int = 1) -> None:
    if nodes == 1:
        servers = [server(database, config=transcript.config)]
    else:
        names = [f"node-{number}" for number in range(1, nodes + 1)]
        config = transcript.config + BUS
        servers = [server(database, config=config, env={"CHATSERVER_NODE": name}) for name in names]
        for one, other in permutations(range(nodes), 2):
            servers[one].wait_log(f"Node {names[other]} is there")

    def stop() -> None:
        for one in servers:
            one.signal(signal.SIGTERM)

    with Players(*(one.address for one in servers), database=servers[0].database, stop=stop) as players:
        for step in transcript.steps:
            players.play(step)
        assert set(players.finish().values()) == {b""}


def test_every_command_is_shown() -> None:
    """Every command of both dialects is sent in a transcript, under its name or an alias."""
    said = [step.text for transcript in transcripts() for step in transcript.steps if step.says]
    programs = {str(kind.__struct_config__.tag) for kind in COMMANDS}
    people = {line[1:].split(" ")[0] for line in said if line.startswith("/")}
    assert {word for word in programs if not any(line.startswith(f'{{"cmd":"{word}"') for line in said)} == set()
    assert set(PAGES) - {ALIASES.get(word, word) for word in people} == set()


def test_every_error_is_shown() -> None:
    """Every error word is in a transcript, except those in `ELSEWHERE`."""
    told = all_told()
    missing = {word for word in ErrorWord if f'"error":"{word}"' not in told and f"({word})" not in told}
    assert missing == set(ELSEWHERE)


def test_every_event_is_shown() -> None:
    """Every kind of event is in a transcript."""
    told = all_told()
    assert {event for event in (MESSAGE, *FIELDS, *NEWS) if f'{{"event":"{event}",' not in told} == set()
    assert '{"event":"ping"}' in told


def test_every_room_has_its_id() -> None:
    """Wherever the server names a room to a program, its id follows: in every kind of event about one, and in every
    answer that names one. Only a direct room without a message has none."""
    told: set[str] = set()
    for transcript in transcripts():
        for step in transcript.steps:
            if step.says or not step.text.startswith("{") or step.text.endswith("…"):
                continue
            line = json.loads(step.text)
            word = f"event {line['event']}" if "event" in line else line.get("cmd", "")
            for one in objects(line):
                if isinstance(one.get("room"), str):
                    fields = list(one)
                    assert fields[fields.index("room") + 1] == "room_id", (transcript.name, step.number)
                    assert one["room_id"] > 0
                    told.add(word)
    assert told == {f"event {kind}" for kind in (MESSAGE, *FIELDS, *NEWS_OF_ROOMS)} | ANSWERS_OF_ROOMS


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """The object and all objects in it."""
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(one)


def all_told() -> str:
    return "\n".join(step.text for transcript in transcripts() for step in transcript.steps if not step.says)
