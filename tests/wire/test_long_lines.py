"""Lines over the limit: their tags, and what fits."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.settings.tables import DEFAULT_LIMITS
from chatserver.values.commands import Command, Tag
from chatserver.values.stages import Stage
from chatserver.wire.framing.lines import END, HARD_LIMIT, Lines, TooLong
from chatserver.wire.framing.websocket import WebSocket
from chatserver.wire.hygiene.text import MAX_MESSAGE, clean_line
from chatserver.wire.jsonl import JSONL
from tests.wire.test_websocket import CONT, TEXT, frame, request

MAX_LINE = 2000
LURE = ',"tag":99,"cmd":"quit"}'
TAGS = st.integers(-(2**63), 2**64 - 1) | st.text("ab é😀", max_size=20)
TEXTS = st.sampled_from(["x", "漢", "😀", "\n", "\\", '"', LURE, LURE[1:], " ", "}", "{"])


def fed(line: bytes, sizes: list[int]) -> TooLong:
    """What takes the place of a line that comes in pieces of these sizes."""
    lines = Lines(MAX_LINE)
    rest = line + b"\n"
    for size in itertools.cycle(sizes):
        lines.feed(rest[:size])
        rest = rest[size:]
        if not rest:
            break
    long = lines.next()
    assert isinstance(long, TooLong)
    assert lines.pending == 0
    return long


def framed(line: bytes, sizes: list[int]) -> TooLong:
    """The same in a WebSocket message, with a fragment of each size."""
    door = WebSocket(MAX_LINE)
    door.feed(request())
    at, opcode = 0, TEXT
    for size in itertools.cycle(sizes):
        door.feed(frame(opcode, line[at : at + size], fin=at + size >= len(line)))
        at, opcode = at + size, CONT
        if at >= len(line):
            break
    long = door.next()
    assert isinstance(long, TooLong)
    return long


@given(TAGS, TEXTS, st.permutations(["cmd", "tag", "room", "text", "id"]), st.booleans(), st.booleans(), st.data())
def test_the_tag_is_read_wherever_it_stands(
    tag: Tag, text: str, order: list[str], ascii: bool, spaced: bool, data: st.DataObject
) -> None:
    """A line over the limit is refused with its tag and its name, wherever they stand in it and however its bytes are
    cut, at both doors; nothing in its text passes for them."""
    members = {"cmd": "say", "tag": tag, "room": "general", "text": text * MAX_LINE, "id": "k7Q2"}
    separators = (", ", ": ") if spaced else (",", ":")
    line = json.dumps({name: members[name] for name in order}, ensure_ascii=ascii, separators=separators).encode()
    sizes = data.draw(st.lists(st.integers(50, 5000), min_size=1, max_size=5))
    long = fed(line, sizes)
    assert long == framed(line, sizes) == fed(line, [len(line) + 1])
    assert len(long.start) <= END >= len(long.end)
    behind_text = order[order.index("text") :]
    expected: Tag | None = tag
    if "tag" in behind_text and isinstance(tag, str) and "\\" in json.dumps(tag, ensure_ascii=ascii):
        expected = None  # not read backwards
    found, cmd = JSONL.label(long.start, long.end)
    if expected is None:
        assert found is None
    else:
        assert (found, cmd) == (expected, "say")


@pytest.mark.parametrize(
    "line",
    [
        b'{"x":{"a":1,"tag":5}}',
        b'{"text":"x\\",\\"tag":5}',
        b'{"text":"x,\\"tag\\":5}"}',
        b'[1,"tag",5]',
        b'{"tag":true,"x":[]}',
        b'{"tag":1e3,"x":[]}',
        b'{"tag":"\xff","x":[]}',
        b'{"tag":"\\q","x":[]}',
        b'{"tag":"%s","x":[]}' % (b"x" * 65),
        b'{"tag":18446744073709551616,"x":[]}',
        b'{"tag":"a\\u001bb","x":[]}',
        b"{" + b"{" * 600 + b',"a":' * 600,
    ],
)
def test_no_tag(line: bytes) -> None:
    """What is no tag of the command, or none that an answer could have, is left out."""
    assert JSONL.label(line[:END], line[-END:])[0] is None


def test_a_message_fits() -> None:
    """With the default limit, a message of as many characters as are allowed fits with every other field, all of it
    escaped."""
    escaped = json.dumps("😀")[1:-1]
    command: dict[str, Any] = {"cmd": "reply", "room": "r" * 64, "seq": 2**53, "text": "T", "id": "I", "tag": "T"}
    line = json.dumps(command).replace('"T"', f'"{escaped * 64}"').replace('"I"', f'"{escaped * 64}"')
    line = line.replace(escaped * 64, escaped * MAX_MESSAGE, 1)
    lines = Lines(DEFAULT_LIMITS.max_line_bytes)
    lines.feed(line.encode() + b"\r\n")
    whole = lines.next()
    assert isinstance(whole, bytes)
    parsed = JSONL.parse(clean_line(whole), Stage.IN)
    assert isinstance(parsed, Command)
    assert len(parsed.text) == MAX_MESSAGE  # type: ignore[attr-defined]


def test_only_ends_are_kept() -> None:
    """However long a line is, no more than the limit and its end is in memory, until the hard limit ends it."""
    lines = Lines(MAX_LINE)
    for _ in range(HARD_LIMIT // 1024 - 1):
        lines.feed(b"x" * 1024)
        assert lines.pending <= MAX_LINE + END
    assert lines.next() is None
