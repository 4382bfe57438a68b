"""Every field of every command fits what it is stored in, as it is after normalising, or the line is refused."""

import json
import re
from typing import Any, Literal, get_args, get_origin
from unicodedata import is_normalized

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from chatserver.values import commands as c
from chatserver.values.errors import Refused, Rejected, Why
from chatserver.values.stages import Stage
from chatserver.wire.dialect import Dialect
from chatserver.wire.framing.lines import Undecodable
from chatserver.wire.hygiene.text import clean_line
from chatserver.wire.jsonl import JSONL
from chatserver.wire.sentences import english
from chatserver.wire.text import TEXT
from chatserver.wire.text.typed.parse import BUILDERS, GREETINGS

NASTY = st.sampled_from([
    "a", "Z", "7", "-", "_", "@", "#", "~", ":", ".", "/", "%", " ", "\t", "\n", "\r", "\x00", "\x1b", "\x7f", "\x85",
    "\u00ad", "\u0301", "\u0323", "\u0344", "\u0958", "\u200b", "\u200d", "\u202e", "\u2028", "\u2066",
    "\ufb2c", "\ufdfa", "\ufeff", "\uffff", "\ud800", "\U0001d15e", "\U0001f600", "\U000e0041", "\U0010ffff",
])  # fmt: skip
"""Controls, marks, characters that NFC makes longer, and what cannot be encoded."""
STRINGS = st.one_of(
    st.text(NASTY, max_size=80),
    st.builds(lambda one, count: one * count, NASTY, st.sampled_from([1, 21, 22, 31, 32, 33, 63, 64, 65, 201, 501])),
    st.text(max_size=70),
)

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
SHORT = 64
"""Characters that most columns take."""
LONGER = {
    "password": 1024, "old": 1024, "new": 1024, "text": 4096, "topic": 500, "reason": 500,
    "words": 4096, "token": 200, "code": 200, "after": 200, "epoch": 200, "secret": 200,
}  # fmt: skip
"""Fields of columns without a limit, or of none."""
EXAMPLES: dict[str, Any] = {"name": "ana", "room": "den", "password": "s3cret-words", "text": "hello", "seq": 1}
INTEGERS = [0, -1, 2**53 + 1, 2**63, 2**64, 10**30, -(10**30)]


def words_of(kind: type[c.Command]) -> list[structs.FieldInfo]:
    """The fields of a command that take any string."""
    return [one for one in structs.fields(kind) if str in (one.type, *get_args(one.type)) or one.name == "id"]


FIELDS = [(kind, one.name) for kind in c.COMMANDS for one in words_of(kind)]
NUMBERS = [(kind, one.name) for kind in c.COMMANDS for one in structs.fields(kind) if "int" in str(one.type)]


def example(kind: type[c.Command]) -> dict[str, Any]:
    """Fields that make a command complete."""
    chosen: dict[str, Any] = {}
    for one in structs.fields(kind):
        literals = [part for part in (one.type, *get_args(one.type)) if get_origin(part) is Literal]
        if one.required:
            chosen[one.name] = literals[0].__args__[0] if literals else EXAMPLES.get(one.name, "words")
    if kind is c.Login:
        chosen |= {"name": "ana", "password": "s3cret-words"}
    if kind is c.Token:
        chosen |= {"label": "bot", "password": "s3cret-words"}
    if kind is c.Set:
        chosen |= {"past": "open"}
    if kind in (c.History, c.Leave, c.Members):
        chosen |= {"room": "den"}
    return chosen


def sent(line: str, dialect: Dialect = JSONL, stage: Stage = Stage.IN) -> c.Command | Rejected | None:
    """The result of a line as received."""
    try:
        return dialect.parse(clean_line(line.encode("utf-8", "replace")), stage)
    except Undecodable as problem:
        return Rejected(Refused(Why.UNDECODABLE, text=problem.text), fatal=True)


FEWER = max(settings().max_examples // 4, 1)


def one_line(words: str) -> bool:
    return bool(words) and len(words) < 500 and CONTROL.search(words) is None


def check(command: c.Command | Rejected | None) -> None:
    """A refusal is one line; a command has only what can be stored."""
    if isinstance(command, Rejected):
        assert one_line(english(command.refused.sentence)), english(command.refused.sentence)
        return
    if command is None:
        return
    for name, value in structs.asdict(command).items():
        if isinstance(value, str):
            assert len(value) <= LONGER.get(name, SHORT), (name, len(value))
            assert "\x00" not in value, name
            assert is_normalized("NFC", value), name
            value.encode()
        elif isinstance(value, int):
            assert -(2**63) <= value < 2**64, name


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda one: one if isinstance(one, str) else one.__name__)
@settings(max_examples=FEWER)  # there are more than a hundred fields
@given(text=STRINGS)
def test_strings(kind: type[c.Command], name: str, text: str) -> None:
    """Whatever a program sends in a field of a command."""
    fields = example(kind) | {"cmd": str(kind.__struct_config__.tag), name: text}
    if (kind, name) in ((c.Ban, "address"), (c.Unban, "address"), (c.Token, "revoke")):
        fields = {"cmd": fields["cmd"], name: text}
    for escaped in (True, False):
        check(sent(json.dumps(fields, ensure_ascii=escaped)))


@pytest.mark.parametrize(("kind", "name"), NUMBERS, ids=lambda one: one if isinstance(one, str) else one.__name__)
@pytest.mark.parametrize("number", INTEGERS)
def test_numbers(kind: type[c.Command], name: str, number: int) -> None:
    """Whatever number it sends; a `limit` may be as high as one likes, and is lowered."""
    command = sent(json.dumps(example(kind) | {"cmd": str(kind.__struct_config__.tag), name: number}))
    if name != "limit":
        check(command)


@given(st.dictionaries(STRINGS, st.sampled_from(INTEGERS), max_size=4))
def test_positions(resume: dict[str, int]) -> None:
    """Likewise the rooms and positions of `resume`."""
    command = sent(json.dumps({"cmd": "login", "name": "ana", "password": "s3cret-words", "resume": resume}))
    if isinstance(command, c.Login) and command.resume is not None:
        assert all(len(room) <= SHORT for room in command.resume)
        assert all(isinstance(seq, int) and seq <= 2**53 for seq in command.resume.values())
    else:
        check(command)


@pytest.mark.parametrize("word", sorted(BUILDERS.keys() | GREETINGS.keys()))
@settings(max_examples=FEWER)
@given(words=st.lists(STRINGS, max_size=4), stage=st.sampled_from([Stage.IN, Stage.GREETING, Stage.PASSWORD]))
def test_typed(word: str, words: list[str], stage: Stage) -> None:
    """Whatever a person types behind a command, or where a name or a password is expected."""
    for line in (" ".join([f"/{word}", *words]), " ".join(words)):
        check(sent(line, TEXT, stage))


@pytest.mark.parametrize("id", ["\ufb2c" * 22, "\u0958" * 40, "\u200b", "\x00", "x" * 65])
def test_ids(id: str) -> None:
    """An id that is too long only once it is normalised is refused like any other that is too long."""
    refused = sent(json.dumps({"cmd": "say", "room": "den", "text": "hello", "id": id, "tag": 1}))
    assert isinstance(refused, Rejected)
    assert (refused.refused.error, refused.tag, refused.fatal) == ("bad-command", 1, False)
