"""The documentation matches the server: examples come from transcripts, and tables list exactly what exists."""

import json
import re
import subprocess
from collections import defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from chatserver.values import events
from chatserver.values.commands import COMMANDS, CURRENT
from chatserver.values.errors import RETRYABLE, ErrorWord
from chatserver.wire.jsonl.entries import FIELDS
from chatserver.wire.text.shown.help import ALIASES, PAGES
from tests.support.process import clean_environment

ROOT = Path(__file__).resolve().parents[1]
TRANSCRIPTS = ROOT / "tests" / "transcripts"
PAGES_WITH_EXAMPLES = ("README.md", "docs/protocol.md", "docs/manual.md")
NEWS = {
    "presence",
    "invited",
    "read",
    "live",
    "skipped",
    "gap",
    "ping",
    "notice",
    "closing",
    "epoch",
    "typing",
    "prefer",
}

OF_ENTRIES = {"event", "room", "room_id", "seq", "at", "display", "bot"}
"""Fields that entries of every kind have or may have."""

_MARK = r"<!-- from (tests/transcripts/[\w-]+\.txt)(?:, as (\w+) sees it)? -->\n"
_EXAMPLE = re.compile(_MARK + r"\n?(?:```\n(?P<fenced>.*?)```|(?P<indented>(?: {4}[^\n]*\n)+))", re.DOTALL)
_SAID = re.compile(r"[CS](?: (\w+))?: ?(.*)")


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def lines_of(transcript: Path, client: str | None) -> list[str]:
    """All lines, or only those on the terminal of one client."""
    lines = transcript.read_text(encoding="utf-8").splitlines()
    if client is None:
        return lines
    said = [found for found in map(_SAID.fullmatch, lines) if found is not None and found[1] == client]
    return [found[2] for found in said if found[2] != "(end)"]


@pytest.mark.parametrize("name", PAGES_WITH_EXAMPLES)
def test_examples(name: str) -> None:
    """Every example is in the transcript that it names, as consecutive lines."""
    text = page(name)
    examples = list(_EXAMPLE.finditer(text))
    assert examples
    assert len(examples) == text.count("<!-- from ")
    assert text.count("```\n") == 2 * len([found for found in examples if found["fenced"] is not None])
    for found in examples:
        indented = re.sub(r"^ {4}", "", found["indented"] or "", flags=re.MULTILINE)
        shown = (found["fenced"] or indented).splitlines()
        there = lines_of(ROOT / found[1], found[2])
        wherever = [there[start : start + len(shown)] for start in range(len(there))]
        assert shown in wherever, f"{name}: {found[0]}"


def test_make_run() -> None:
    """`make run` listens where the README and the manual send people, unless its arguments say where."""

    def ports(*arguments: str) -> dict[str, str]:
        command = ["make", "-n", "-o", ".venv/.run", "run", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=True)
        return {port: door for door, port in re.findall(r"--listen (telnet:|web:|)tcp:(\d+)", done.stdout)}

    assert ports() == {"4000": "", "4023": "telnet:", "8080": "web:"}
    assert ports("ARGS=--listen tcp:4001") == {"4001": ""}
    for name in ("README.md", "docs/manual.md"):
        said = set(re.findall(r"(telnet|nc) localhost (\d+)", page(name)))
        assert said == {("nc", "4000"), ("telnet", "4023")}


def rows(text: str, heading: str) -> dict[str, list[str]]:
    """The rows of the table with this heading: by the first cell, the others. `\\|` stands for a bar in a cell."""
    table = text.split(f"\n{heading}", 1)[1].split("\n\n", 1)[0]
    cells = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in table.splitlines()
        if line.startswith("| `")
    ]
    return {first.strip("`"): others for first, *others in cells}


def words(cell: str) -> set[str]:
    """The words in backticks, without their values if they have any."""
    return {re.sub(r'^"(\w+)":.*', r"\1", word) for word in re.findall(r"`([^`]*)`", cell)}


def test_commands() -> None:
    """The table has every command with its fields; optional ones are marked with a `?`."""
    told = rows(page("docs/protocol.md"), "| cmd |")
    assert set(told) == {str(kind.__struct_config__.tag) for kind in COMMANDS}
    alternatives = {"login", "token", "ban", "unban"}  # they take one field or another
    for kind in COMMANDS:
        name = str(kind.__struct_config__.tag)
        fields = {
            field.encode_name: field.required or (field.encode_name, field.default) == ("room", CURRENT)
            for field in structs.fields(kind)
            if field.encode_name != "tag"
        }
        assert words(told[name][0]) == set(fields), name
        marked = set(re.findall(r"`(\w+)`\?", told[name][0]))
        if name not in alternatives:
            assert marked == {field for field, required in fields.items() if not required}, name


def test_entries() -> None:
    """The table has every kind of entry."""
    assert set(rows(page("docs/protocol.md"), "| event | fields besides")) == {events.MESSAGE, *FIELDS}


def test_news() -> None:
    """The table has everything else that the server sends unasked."""
    assert set(rows(page("docs/protocol.md"), "| event | fields | |")) == NEWS


def heard() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every JSON line of the server in the transcripts, after `event` and its name or `cmd` and the command asked."""
    for path in sorted(TRANSCRIPTS.glob("*.txt")):
        asked: defaultdict[str, deque[str]] = defaultdict(deque)
        for line in path.read_text(encoding="utf-8").splitlines():
            found = _SAID.fullmatch(line)
            if found is not None and found[2].startswith('{"ok"') and found[2].endswith("…"):
                asked[found[1] or ""].popleft()
            if found is None or not found[2].startswith("{") or not found[2].endswith("}"):
                continue
            client, message = found[1] or "", json.loads(found[2])
            if line.startswith("C"):
                asked[client].append(message["cmd"])
            elif "event" in message:
                yield "event", message["event"], message
            elif message.get("error") != "undecodable":
                yield "cmd", asked[client].popleft(), message


def test_fields() -> None:
    """Objects from the server have only fields that are in their table, and all of those that are not marked with a
    `?`."""
    text = page("docs/protocol.md")
    answers = {word: cells[1] for word, cells in rows(text, "| cmd |").items()}
    answers |= dict.fromkeys(("register", "guest"), answers["login"])
    told = {"cmd": answers, "event": {}}
    for heading in ("| event | fields besides", "| event | fields | |"):
        told["event"] |= {word: cells[0] for word, cells in rows(text, heading).items()}
    for kind, word, message in heard():
        if kind == "event":
            always = set(re.findall(r"`(\w+)`(?!\?)", told[kind][word]))
            assert always <= message.keys() <= words(told[kind][word]) | OF_ENTRIES, message
        elif message["ok"]:
            assert all_fields(message) <= words(told[kind][word]) | {"ok", "tag", "cmd"}, (word, message)
        else:
            assert message.keys() <= {"ok", "tag", "cmd", "error", "text", "retry"}


def all_fields(message: dict[str, Any]) -> set[str]:
    """The fields of the object and of the objects in its lists, except entries, which are documented as events."""
    inner = [
        one
        for key, value in message.items()
        if isinstance(value, list) and key != "entries"
        for one in value
        if isinstance(one, dict)
    ]
    return message.keys() | {field for one in inner for field in one}


def test_errors() -> None:
    """The table has every error word, and says whether you may retry."""
    told = rows(page("docs/protocol.md"), "| error |")
    assert list(told) == [word.value for word in ErrorWord]
    assert {word for word, cells in told.items() if "(`retry`)" in cells[0]} == {word.value for word in RETRYABLE}


def test_typed_commands() -> None:
    """The manual's table has every typed command, with its usage and its sentence from the help."""
    told = rows(page("docs/manual.md"), "| command |")
    also = {name: ", ".join(f"`/{alias}`" for alias, known in ALIASES.items() if known == name) for name in PAGES}
    assert told == {about.usage: [also[name], about.sentence] for name, about in PAGES.items()}
