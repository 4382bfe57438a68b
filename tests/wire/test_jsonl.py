"""The dialect of programs: lines to commands."""

import json
import re
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from chatserver.values import commands
from chatserver.values.commands import COMMANDS, Command, Tag
from chatserver.values.errors import ErrorWord, Rejected
from chatserver.values.stages import Stage
from chatserver.wire.framing.lines import Undecodable
from chatserver.wire.hygiene.text import clean_line, message_text
from chatserver.wire.jsonl import JSONL
from chatserver.wire.jsonl.parse import BY_CMD, CHECKS
from chatserver.wire.sentences import english


def parse(line: str) -> Command | Rejected | None:
    return JSONL.parse(line, Stage.IN)


def rejection(line: str) -> Rejected:
    rejected = parse(line)
    assert isinstance(rejected, Rejected)
    assert not rejected.fatal
    assert english(rejected.refused.sentence).isprintable()
    return rejected


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
        ('{"cmd":"login","token":"ct_abc"}', commands.Login(token="ct_abc")),
        ('{"cmd":"login","token":"ct_abc","name":"a b","password":"x"}', commands.Login(token="ct_abc")),
        (
            '{"cmd":"register","name":"a","password":"b","code":" x "}',
            commands.Register(name="a", password="b", code="x"),
        ),
        (
            '{"cmd":"token","label":" my laptop ","password":"pw","seconds":60,"read_only":true,"room":"Den"}',
            commands.Token(label="my laptop", password="pw", seconds=60, read_only=True, room="den"),
        ),
        ('{"cmd":"who","name":"~12"}', commands.Who(name="~12")),
        ('{"cmd":"search","text":" a  b ","room":null}', commands.Search(text="a  b")),
        ('{"cmd":"edit","room":"X","seq":4,"text":"a\\r\\nb "}', commands.Edit(room="x", seq=4, text="a\nb")),
        (
            '{"cmd":"kick","room":"X","name":"Bob","reason":"\\te\\u0301 "}',
            commands.Kick(room="x", name="Bob", reason="é"),
        ),
        (
            '{"cmd":"ban","address":"2001:DB8::1","seconds":60}',
            commands.Ban(address="2001:db8::/64", seconds=60),
        ),
        ('{"cmd":"unban","address":"192.0.2.77/24"}', commands.Unban(address="192.0.2.0/24")),
        ('{"cmd":"ban","name":"~1","address":null,"room":"X"}', commands.Ban(name="~1", room="x")),
        ('{"cmd":"topic","room":"x","text":""}', commands.Topic(room="x", text="")),
    ],
)
def test_commands(line: str, command: Command) -> None:
    """Every command is read with its names and texts in their canonical form, and unknown fields are ignored."""
    assert parse(line) == command


@pytest.mark.parametrize(
    "line",
    ["", " ", "{", "ping", "[]", "5", "null", '"x"', '{"cmd":"ping"} {}', '{"cmd":"ping"}x', "{'cmd':'ping'}",
     '{"cmd":"ping","x":NaN}', '{"cmd":"say","room":5,"x":}', '{"cmd":"ping","x":"\\ud800"}', '{"cmd":"jion","x":01}',
     '{"cmd":"ping","x":' + "[" * 8000, '{"cmd":"jion","x":' + "[" * 8000, "[" * 8000],
)  # fmt: skip
def test_not_an_object(line: str) -> None:
    """A line that is not one JSON object is undecodable, even if a wrong field precedes the syntax error."""
    with pytest.raises(Undecodable) as undecodable:
        parse(line)
    assert undecodable.value.text == "This line is not a JSON object."


@pytest.mark.parametrize(
    ("line", "tag", "text"),
    [
        ('{"tag":1}', 1, "The field cmd is missing."),
        ('{"cmd":5,"tag":1}', 1, "The field cmd is wrong: expected str, got int."),
        ('{"cmd":"jion","tag":1}', 1, "There is no such command. Did you mean join?"),
        ('{"cmd":"\\u0007xyzzy"}', None, "There is no such command."),
        ('{"cmd":"look","room":"x"}', None, "There is no such command."),
        ('{"cmd":"say","text":"x","tag":"a"}', "a", "The field room is missing."),
        ('{"cmd":"leave","tag":"a"}', "a", "The field room is missing."),
        ('{"cmd":"history","tag":"a"}', "a", "The field room is missing."),
        ('{"cmd":"members"}', None, "The field room is missing."),
        ('{"cmd":"say","room":["x"],"text":"x","tag":"a"}', "a", "The field room is wrong: expected str, got array."),
        ('{"cmd":"history","room":"x","limit":0}', None, "The field limit is wrong: expected int >= 1."),
        ('{"cmd":"join","room":"x","since":-1}', None, "The field since is wrong: expected int >= 0."),
        ('{"cmd":"login","name":"a","password":"b","resume":{"x":""}}', None,
         "The field resume is wrong: expected int | object, got str."),
        ('{"cmd":"say","room":"x","text":"y","id":""}', None, "The field id is wrong: expected str of length >= 1."),
        ('{"cmd":"say","room":"x","text":"y","id":"a\\nb"}', None,
         "The field id contains the control character U+000A. Remove it."),
        ('{"cmd":"say","room":"x","text":"a\\u007f","tag":2}', 2,
         "The field text contains the control character U+007F. Remove it."),
        ('{"cmd":"create","room":"x","visibility":"\\u0007"}', None, "The field visibility must be public or private."),
        ('{"cmd":"set","room":"x","past":"\\u007f"}', None, "The field past must be open or closed."),
        ('{"cmd":"role","room":"x","name":"a","role":7}', None, "The field role must be owner, moderator or member."),
        ('{"cmd":"login"}', None, "The field name is missing."),
        ('{"cmd":"login","name":"","password":"x"}', None, "The field name is missing."),
        ('{"cmd":"login","password":"s3cret-words","tag":3}', 3, "The field name is missing."),
        ('{"cmd":"login","token":"a\\u001bb"}', None,
         "The field token contains the control character U+001B. Remove it."),
        ('{"cmd":"token"}', None, "Give exactly one of the fields label, revoke and list."),
        ('{"cmd":"token","label":"a","tag":1}', 1, "The field password is missing."),
        ('{"cmd":"token","label":"a","list":true}', None, "Give exactly one of the fields label, revoke and list."),
        ('{"cmd":"ban"}', None, "Give exactly one of the fields name and address."),
        ('{"cmd":"unban","name":"a","address":"192.0.2.1"}', None, "Give exactly one of the fields name and address."),
        ('{"cmd":"ban","room":"x","address":"192.0.2.1"}', None,
         "A ban of an address applies to the whole server. Leave out the field room."),
        ('{"cmd":"ban","address":"ana"}', None,
         "This is neither an IPv4 or IPv6 address nor a network such as 192.0.2.0/24."),
        ('{"cmd":"ban","name":"a","room":""}', None, "The field room is missing."),
        ('{"cmd":"ban","name":"a","seconds":0}', None, "The field seconds is wrong: expected int >= 1."),
        ('{"cmd":"kick","room":"x","name":"a","reason":"b\\nc"}', None,
         "The field reason contains the control character U+000A. Remove it."),
        ('{"cmd":"gban","name":"ana"}', None, "There is no such command."),
        ('{"cmd":"ping","cmd":"quit"}', None, "This object has the same field twice."),
        ('{"cmd":"ping","tag":1.5}', None, "The field tag is wrong: expected int | str | null, got float."),
        ('{"cmd":"ping","tag":{}}', None, "The field tag is wrong: expected int | str | null, got object."),
        ('{"cmd":"ping","tag":true}', None, "The field tag is wrong: expected int | str | null, got bool."),
        ('{"cmd":"ping","tag":"' + "x" * 65 + '"}', None,
         "The field tag can have at most 64 characters and must be in NFC."),
        ('{"cmd":"ping","tag":"a\\u001bb"}', None, "The field tag contains the control character U+001B. Remove it."),
        ('{"cmd":"jion","tag":"a\\u001bb"}', None, "The field tag contains the control character U+001B. Remove it."),
    ],
)  # fmt: skip
def test_bad_commands(line: str, tag: Tag | None, text: str) -> None:
    """The refusal names the field that is wrong, and has the command's tag and name if they are usable."""
    rejected = rejection(line)
    assert rejected.cmd == next((cmd for cmd in reversed(re.findall('"cmd":"([a-z]+)"', line)) if cmd in BY_CMD), "")
    assert (rejected.refused.error, english(rejected.refused.sentence), rejected.tag) == (
        ErrorWord.BAD_COMMAND,
        text,
        tag,
    )


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('{"cmd":"join","room":"","tag":1}', ErrorWord.BAD_NAME),
        ('{"cmd":"login","name":"a b","password":"x","tag":1}', ErrorWord.BAD_NAME),
        ('{"cmd":"login","name":"a","password":"b","resume":{"a b":1},"tag":1}', ErrorWord.BAD_NAME),
        ('{"cmd":"register","name":"a","password":"x\\u0000","tag":1}', ErrorWord.BAD_PASSWORD),
        ('{"cmd":"say","room":"x","text":" \\n","tag":1}', ErrorWord.EMPTY),
        ('{"cmd":"edit","room":"x","seq":1,"text":" \\n","tag":1}', ErrorWord.EMPTY),
        ('{"cmd":"search","text":" ","tag":1}', ErrorWord.EMPTY),
        ('{"cmd":"token","label":" ","password":"pw","tag":1}', ErrorWord.EMPTY),
        ('{"cmd":"token","revoke":"","tag":1}', ErrorWord.EMPTY),
        ('{"cmd":"say","room":"@~1","text":"x","tag":1}', ErrorWord.NOT_ALLOWED),
        ('{"cmd":"register","name":"~1","password":"x","tag":1}', ErrorWord.BAD_NAME),
        ('{"cmd":"login","name":"~1","password":"x","tag":1}', ErrorWord.BAD_NAME),
        ('{"cmd":"kick","room":"x","name":"@a","tag":1}', ErrorWord.BAD_NAME),
        ('{"cmd":"kick","room":"x","name":"a","reason":"' + "x" * 501 + '","tag":1}', ErrorWord.TOO_LONG),
        ('{"cmd":"ban","name":"a","reason":"' + "x" * 501 + '","tag":1}', ErrorWord.TOO_LONG),
        ('{"cmd":"away","text":"' + "x" * 201 + '","tag":1}', ErrorWord.TOO_LONG),
        ('{"cmd":"search","text":"' + "x" * 201 + '","tag":1}', ErrorWord.TOO_LONG),
        ('{"cmd":"token","label":"' + "x" * 65 + '","password":"pw","tag":1}', ErrorWord.TOO_LONG),
        ('{"cmd":"export","after":"' + "x" * 201 + '","tag":1}', ErrorWord.TOO_LONG),
        ('{"cmd":"topic","room":"x","text":"' + "x" * 501 + '","tag":1}', ErrorWord.TOO_LONG),
    ],
)
def test_bad_values(line: str, error: ErrorWord) -> None:
    """A value that fails a check is refused with the error word of that check, and the tag."""
    rejected = rejection(line)
    assert (rejected.refused.error, rejected.tag) == (error, 1)


EXAMPLES: dict[str, Any] = {
    "name": "ana", "room": "x", "password": "p", "old": "p", "new": "p", "text": "t", "topic": "t", "id": "i",
    "tag": "t", "visibility": "public", "about": "x", "seq": 1, "resume": {"x": 1}, "code": "c",
    "past": "open", "invites": "members", "role": "member", "reason": "r", "messages": "keep", "label": "l",
    "reaction": "+1",
}  # fmt: skip
ALONE = {
    "after": {"room": "x", "after": "x"},
    "token": {"token": "t"},
    "revoke": {"revoke": "l"},
    "address": {"address": "192.0.2.1"},
}
"""Fields that replace others."""


def test_every_text_has_a_check() -> None:
    """No command has a text field without a check."""
    assert set(CHECKS) == set(COMMANDS)
    for kind, checks in CHECKS.items():
        texts = {known.name for known in structs.fields(kind) if "str" in str(known.type)} - {"tag"}
        assert {name for name, _ in checks} == texts


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
def test_control_characters_get_nowhere(kind: type[Command]) -> None:
    """Every control character in every text of every command is refused, raw or escaped, except TAB and line ends."""
    sent_as = {field.name: field.encode_name for field in structs.fields(kind)}
    for name in [*(sent_as[name] for name, _ in CHECKS[kind]), "tag"]:
        known = set(sent_as.values())
        examples = {field: EXAMPLES[field] for field in EXAMPLES if field in known}
        whole = examples | ALONE[name] if kind is commands.Reactions and name in ALONE else ALONE.get(name, examples)
        fields = {"cmd": str(kind.__struct_config__.tag), **whole}
        assert isinstance(parse(json.dumps(fields)), kind)
        has_lines = name == "text" and kind in (commands.Say, commands.Reply, commands.Edit)
        for control in map(chr, (*range(0x20), *range(0x7F, 0xA0))):
            if control == "\t" or (control in "\r\n" and has_lines):
                continue
            value: Any = f"a{control}b"
            hostile = {**fields, name: {value: 1} if name == "resume" else value}
            for raw in (json.dumps(hostile), json.dumps(hostile, ensure_ascii=False).replace(r"\u007f", control)):
                try:
                    refused = english(rejection(clean_line(raw.encode())).refused.sentence)
                except Undecodable as undecodable:
                    refused = undecodable.text
                assert refused.isprintable()


@given(st.text(), st.one_of(st.none(), st.integers(), st.text(max_size=70)))
def test_said_as_sent(text: str, tag: Tag | None) -> None:
    """However a program escapes a message, its text is what `message_text` makes of it."""
    fields = {"cmd": "say", "room": "books", "text": text, "tag": tag}
    outcomes: list[object] = []
    for ascii_only in (True, False):
        try:
            said = parse(clean_line(json.dumps(fields, ensure_ascii=ascii_only).encode(errors="surrogatepass")))
        except Undecodable:
            said = None
        if isinstance(said, commands.Say):
            assert said.text == message_text(text)
            outcomes.append(said.text)
        else:
            assert said is None or isinstance(said, Rejected)
            outcomes.append(None)
    if isinstance(tag, str) and not tag.isascii():  # a tag is echoed as it came: escaped, it must be in NFC
        return
    if not any(category(char) in ("Cc", "Cs") for char in text):
        assert outcomes[0] == outcomes[1]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_nothing_else_is_raised(line: str) -> None:
    """Every line is a command, rejected or undecodable."""
    for attempt in (line, '{"cmd":' + line, '{"cmd":"say","room":"x","text":' + line + "}"):
        try:
            assert isinstance(parse(attempt), Command | Rejected)
        except Undecodable:
            pass
