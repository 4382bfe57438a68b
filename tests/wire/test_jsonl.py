"""The dialect of programs."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from chatserver import commands, events
from chatserver.commands import COMMANDS, Command, Tag
from chatserver.errors import RETRYABLE, ErrorWord, Refused
from chatserver.events import Answer, Entry, News, RoomFacts
from chatserver.wire import jsonl
from chatserver.wire.hygiene import clean_line, message_text
from chatserver.wire.jsonlparse import GATES
from chatserver.wire.lines import Undecodable

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)
BOOKS = RoomFacts(1, "books")
DIRECT = RoomFacts(2, "1:2", events.DIRECT, ((1, "ana"), (2, "Bob")))


def parsed(**fields: Any) -> Command:
    return jsonl.parse(clean_line(json.dumps(fields).encode()))


def rejection(line: str) -> jsonl.Rejected:
    with pytest.raises(jsonl.Rejected) as rejected:
        jsonl.parse(line)
    assert rejected.value.refusal.text.isprintable()
    return rejected.value


# Lines to commands


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ('{"cmd":"register","name":"Ana","password":"s3cret"}', commands.Register(name="Ana", password="s3cret")),
        (
            '{"cmd":"login","name":"ana","password":"x y","resume":{"General":0,"@Bob":7},"tag":1}',
            commands.Login(name="ana", password="x y", resume={"general": 0, "@Bob": 7}, tag=1),
        ),
        ('{"cmd":"logout"}', commands.Logout()),
        ('{"cmd":"quit","tag":"é"}', commands.Quit(tag="é")),
        ('{"tag":-5,"future":[1,{}],"cmd":"ping"}', commands.Ping(tag=-5)),
        ('{"cmd":"password","old":"a","new":"e\\u0301"}', commands.Password(old="a", new="é")),
        ('{"cmd":"rooms"}', commands.Rooms()),
        ('{"cmd":"rooms","after":"Books","limit":5,"mine":true}', commands.Rooms(after="books", limit=5, mine=True)),
        (
            '{"cmd":"create","room":"Books","visibility":"private","topic":" what we read "}',
            commands.Create(room="books", visibility="private", topic="what we read"),
        ),
        ('{"cmd":"join","room":"BOOKS","since":0}', commands.Join(room="books", since=0)),
        ('{"cmd":"leave","room":"books"}', commands.Leave(room="books")),
        (
            '{"cmd":"say","room":"@Bob","text":"a\\r\\n\\tb\\u000a ","id":"k7Q2","tag":null}',
            commands.Say(room="@Bob", text="a\n b", id="k7Q2"),
        ),
        ('{"cmd":"history","room":"x","before":8}', commands.History(room="x", before=8)),
        ('{"cmd":"members","room":"x"}', commands.Members(room="x")),
        ('{"cmd":"who"}', commands.Who()),
        ('{"cmd":"who","name":"Bob"}', commands.Who(name="Bob")),
        ('{"cmd":"read","room":"x","seq":3}', commands.Read(room="x", seq=3)),
        ('{"cmd":"unread"}', commands.Unread()),
        ('{"cmd":"topic","room":"x","text":""}', commands.Topic(room="x", text="")),
    ],
)
def test_commands(line: str, command: Command) -> None:
    """Every command is read with its names and texts in their canonical form, and unknown fields are ignored."""
    assert jsonl.parse(line) == command


@pytest.mark.parametrize(
    "line",
    ["", " ", "{", "ping", "[]", "5", "null", '"x"', '{"cmd":"ping"} {}', '{"cmd":"ping"}x', "{'cmd':'ping'}",
     '{"cmd":"ping","x":NaN}', '{"cmd":"say","room":5,"x":}', '{"cmd":"ping","x":"\\ud800"}', '{"cmd":"jion","x":01}',
     '{"cmd":"ping","x":' + "[" * 8000, '{"cmd":"jion","x":' + "[" * 8000, "[" * 8000],
)  # fmt: skip
def test_not_an_object(line: str) -> None:
    """A line that is not one JSON object is undecodable, also where a wrong field comes before the bad place."""
    with pytest.raises(Undecodable) as undecodable:
        jsonl.parse(line)
    assert undecodable.value.text == "This line is not one JSON object."


@pytest.mark.parametrize(
    ("line", "tag", "text"),
    [
        ('{"tag":1}', 1, "The field cmd is missing."),
        ('{"cmd":5,"tag":1}', 1, "The field cmd is wrong: expected str, got int."),
        ('{"cmd":"jion","tag":1}', 1, "There is no such command. Did you mean join?"),
        ('{"cmd":"\\u0007xyzzy"}', None, "There is no such command."),
        ('{"cmd":"look","room":"x"}', None, "There is no such command. Did you mean logout?"),
        ('{"cmd":"say","text":"x","tag":"a"}', "a", "The field room is missing."),
        ('{"cmd":"leave","tag":"a"}', "a", "The field room is missing."),
        ('{"cmd":"history","tag":"a"}', "a", "The field room is missing."),
        ('{"cmd":"members"}', None, "The field room is missing."),
        ('{"cmd":"say","room":["x"],"text":"x","tag":"a"}', "a", "The field room is wrong: expected str, got array."),
        ('{"cmd":"history","room":"x","limit":0}', None, "The field limit is wrong: expected int >= 1."),
        ('{"cmd":"join","room":"x","since":-1}', None, "The field since is wrong: expected int >= 0."),
        ('{"cmd":"login","name":"a","password":"b","resume":{"x":""}}', None,
         "The field resume is wrong: expected int, got str."),
        ('{"cmd":"say","room":"x","text":"y","id":""}', None, "The field id is wrong: expected str of length >= 1."),
        ('{"cmd":"say","room":"x","text":"y","id":"a\\nb"}', None, "The field id has the control character U+000A."),
        ('{"cmd":"say","room":"x","text":"a\\u007f","tag":2}', 2, "The field text has the control character U+007F."),
        ('{"cmd":"create","room":"x","visibility":"open"}', None, "The field visibility is public or private."),
        ('{"cmd":"ping","cmd":"quit"}', None, "A field is in this object twice."),
        ('{"cmd":"ping","tag":1.5}', None, "The field tag is wrong: expected int | str | null, got float."),
        ('{"cmd":"ping","tag":{}}', None, "The field tag is wrong: expected int | str | null, got object."),
        ('{"cmd":"ping","tag":true}', None, "The field tag is wrong: expected int | str | null, got bool."),
        ('{"cmd":"ping","tag":"' + "x" * 65 + '"}', None, "The field tag has 64 characters at most, in NFC."),
        ('{"cmd":"ping","tag":"a\\u001bb"}', None, "The field tag has the control character U+001B."),
        ('{"cmd":"jion","tag":"a\\u001bb"}', None, "The field tag has the control character U+001B."),
    ],
)  # fmt: skip
def test_bad_commands(line: str, tag: Tag | None, text: str) -> None:
    """The refusal names the field that is wrong, and its tag is kept where there is a usable one."""
    rejected = rejection(line)
    assert (rejected.refusal.error, rejected.refusal.text, rejected.tag) == (ErrorWord.BAD_COMMAND, text, tag)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('{"cmd":"join","room":"","tag":1}', ErrorWord.BAD_NAME),
        ('{"cmd":"login","name":"a b","password":"x","tag":1}', ErrorWord.BAD_NAME),
        ('{"cmd":"login","name":"a","password":"b","resume":{"a b":1},"tag":1}', ErrorWord.BAD_NAME),
        ('{"cmd":"register","name":"a","password":"x\\u0000","tag":1}', ErrorWord.BAD_PASSWORD),
        ('{"cmd":"say","room":"x","text":" \\n","tag":1}', ErrorWord.EMPTY),
        ('{"cmd":"topic","room":"x","text":"' + "x" * 501 + '","tag":1}', ErrorWord.TOO_LONG),
    ],
)
def test_bad_values(line: str, error: ErrorWord) -> None:
    """A value that fails the gate is refused with the gate's word, and the tag."""
    rejected = rejection(line)
    assert (rejected.refusal.error, rejected.tag) == (error, 1)


EXAMPLES: dict[str, Any] = {
    "name": "ana", "room": "x", "password": "p", "old": "p", "new": "p", "text": "t", "topic": "t", "id": "i",
    "tag": "t", "after": "x", "visibility": "public", "about": "x", "seq": 1, "resume": {"x": 1},
}  # fmt: skip


def test_every_text_has_a_gate() -> None:
    """No command has a field that takes text and no gate for it."""
    assert set(GATES) == set(COMMANDS)
    for kind, gates in GATES.items():
        texts = {known.name for known in structs.fields(kind) if "str" in str(known.type)} - {"tag"}
        assert {name for name, _ in gates} == texts


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
def test_control_characters_get_nowhere(kind: type[Command]) -> None:
    """Every control character in every text of every command is refused, raw or escaped, but for TAB and line ends."""
    texts = [*(name for name, _ in GATES[kind]), "tag"]
    whole = {name: EXAMPLES[name] for known in structs.fields(kind) if (name := known.name) in EXAMPLES}
    for name in texts:
        for control in map(chr, (*range(0x20), *range(0x7F, 0xA0))):
            if control == "\t" or (control in "\r\n" and (kind, name) == (commands.Say, "text")):
                continue
            value: Any = f"a{control}b"
            fields = {"cmd": str(kind.__struct_config__.tag), **whole, name: {value: 1} if name == "resume" else value}
            for raw in (json.dumps(fields), json.dumps(fields, ensure_ascii=False).replace(r"\u007f", control)):
                with pytest.raises((jsonl.Rejected, Undecodable)):
                    jsonl.parse(clean_line(raw.encode()))


@given(st.text(), st.one_of(st.none(), st.integers(), st.text(max_size=70)))
def test_said_as_sent(text: str, tag: Tag | None) -> None:
    """What a program says, however it escapes it, is what the gate makes of it, and comes out again as that."""
    fields = {"cmd": "say", "room": "books", "text": text, "tag": tag}
    outcomes: list[object] = []
    for ascii_only in (True, False):
        try:
            said = jsonl.parse(clean_line(json.dumps(fields, ensure_ascii=ascii_only).encode(errors="surrogatepass")))
            assert isinstance(said, commands.Say)
            assert said.text == message_text(text)
            outcomes.append(said.text)
            [shown] = read(jsonl.entries(BOOKS, [Entry(1, events.MESSAGE, 1, "ana", AT, said.text)], 2))
            assert shown["text"] == said.text
        except (jsonl.Rejected, Undecodable):
            outcomes.append(None)
    if isinstance(tag, str) and not tag.isascii():  # a tag is echoed as it came: escaped, it must be in NFC
        return
    if not any(category(char) in ("Cc", "Cs") for char in text):
        assert outcomes[0] == outcomes[1]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_nothing_else_is_raised(line: str) -> None:
    """Whatever the line, it is a command, rejected or undecodable."""
    for attempt in (line, '{"cmd":' + line, '{"cmd":"say","room":"x","text":' + line + "}"):
        try:
            jsonl.parse(attempt)
        except (jsonl.Rejected, Undecodable):
            pass


