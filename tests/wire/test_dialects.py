"""Both dialects: one vocabulary, and nothing hostile gets through in either."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, structs

from chatserver import commands as c
from chatserver import events
from chatserver.commands import COMMANDS, Command
from chatserver.errors import ErrorWord, Refused
from chatserver.wire import jsonl, text
from chatserver.wire.gates import GATES
from chatserver.wire.jsonlentries import FIELDS
from chatserver.wire.textentries import TOLD

SAME: list[tuple[str, dict[str, Any], Command]] = [
    ("/say Books hi", {"cmd": "say", "room": "Books", "text": "hi"}, c.Say(room="books", text="hi")),
    ("/history Books", {"cmd": "history", "room": "Books"}, c.History(room="books")),
    ("/edit Books 4 hi ", {"cmd": "edit", "room": "Books", "seq": 4, "text": "hi "},
     c.Edit(room="books", seq=4, text="hi")),
    ("/erase Books 4", {"cmd": "erase", "room": "Books", "seq": 4}, c.Erase(room="books", seq=4)),
    ("/search #Books a b", {"cmd": "search", "room": "Books", "text": "a b"}, c.Search(room="books", text="a b")),
    ("/search before=5 a", {"cmd": "search", "before": 5, "text": " a"}, c.Search(text="a", before=5)),
    ("/read Books 4", {"cmd": "read", "room": "Books", "seq": 4}, c.Read(room="books", seq=4)),
    ("/unread", {"cmd": "unread"}, c.Unread()),
    ("/join Books 4", {"cmd": "join", "room": "Books", "since": 4}, c.Join(room="books", since=4)),
    ("/part Books", {"cmd": "leave", "room": "Books"}, c.Leave(room="books")),
    ("/list Books", {"cmd": "rooms", "after": "Books"}, c.Rooms(after="books")),
    ("/names Books", {"cmd": "members", "room": "Books"}, c.Members(room="books")),
    ("/create Books private x", {"cmd": "create", "room": "Books", "visibility": "private", "topic": "x "},
     c.Create(room="books", visibility="private", topic="x")),
    ("/topic #Books x", {"cmd": "topic", "room": "Books", "text": "x"}, c.Topic(room="books", text="x")),
    ("/set Books past open", {"cmd": "set", "room": "Books", "past": "open"}, c.Set(room="books", past="open")),
    ("/delete Books", {"cmd": "delete", "room": "Books"}, c.Delete(room="books")),
    ("/invite Bob Books", {"cmd": "invite", "room": "Books", "name": "Bob"}, c.Invite(room="books", name="Bob")),
    ("/uninvite Bob Books", {"cmd": "uninvite", "room": "Books", "name": "Bob"}, c.Uninvite(room="books", name="Bob")),
    ("/whois ~7", {"cmd": "who", "name": "~7"}, c.Who(name="~7")),
    ("/away x", {"cmd": "away", "text": "x"}, c.Away(text="x")),
    ("/back", {"cmd": "away"}, c.Away()),
    ("/role Bob owner Books", {"cmd": "role", "room": "Books", "name": "Bob", "role": "owner"},
     c.Role(room="books", name="Bob", role="owner")),
    ("/kick #Books ~7 x", {"cmd": "kick", "room": "Books", "name": "~7", "reason": "x"},
     c.Kick(room="books", name="~7", reason="x")),
    ("/mute #Books Bob 1m", {"cmd": "mute", "room": "Books", "name": "Bob", "seconds": 60},
     c.Mute(room="books", name="Bob", seconds=60)),
    ("/unmute Bob Books", {"cmd": "unmute", "room": "Books", "name": "Bob"}, c.Unmute(room="books", name="Bob")),
    ("/ban #Books Bob 1h x", {"cmd": "ban", "room": "Books", "name": "Bob", "seconds": 3600, "reason": "x"},
     c.Ban(room="books", name="Bob", seconds=3600, reason="x")),
    ("/gban Bob", {"cmd": "ban", "name": "Bob"}, c.Ban(name="Bob")),
    ("/gban 192.0.2.7/24 1d", {"cmd": "ban", "address": "192.0.2.7/24", "seconds": 86_400},
     c.Ban(address="192.0.2.0/24", seconds=86_400)),
    ("/unban Bob Books", {"cmd": "unban", "room": "Books", "name": "Bob"}, c.Unban(room="books", name="Bob")),
    ("/gunban ::1", {"cmd": "unban", "address": "::1"}, c.Unban(address="::/64")),
    ("/bans Books", {"cmd": "bans", "room": "Books"}, c.Bans(room="books")),
    ("/bans server", {"cmd": "bans"}, c.Bans()),
    ("/block Bob", {"cmd": "block", "name": "Bob"}, c.Block(name="Bob")),
    ("/unblock Bob", {"cmd": "unblock", "name": "Bob"}, c.Unblock(name="Bob")),
    ("/password a b others", {"cmd": "password", "old": "a", "new": "b", "others": True},
     c.Password(old="a", new="b", others=True)),
    ("/token x y", {"cmd": "token", "label": "x y"}, c.Token(label="x y")),
    ("/token revoke x y", {"cmd": "token", "revoke": "x y "}, c.Token(revoke="x y")),
    ("/token list", {"cmd": "token", "list": True}, c.Token(list=True)),
    ("/forget a erase", {"cmd": "forget", "password": "a", "messages": "erase"},
     c.Forget(password="a", messages="erase")),
    ("/export 9:1", {"cmd": "export", "after": "9:1"}, c.Export(after="9:1")),
    ("/help", {"cmd": "help"}, c.Help()),
    ("/ping", {"cmd": "ping"}, c.Ping()),
    ("/logout", {"cmd": "logout"}, c.Logout()),
    ("/quit", {"cmd": "quit"}, c.Quit()),
]  # fmt: skip
SAME_FIRST: list[tuple[str, dict[str, Any], Command]] = [
    ("/login Ana a b", {"cmd": "login", "name": "Ana", "password": "a b"}, c.Login(name="Ana", password="a b")),
    ("/token ct_x", {"cmd": "login", "token": "ct_x"}, c.Login(token="ct_x")),
    ("/register Ana a b code=x", {"cmd": "register", "name": "Ana", "password": "a b", "code": "x"},
     c.Register(name="Ana", password="a b", code="x")),
    ("/guest", {"cmd": "guest"}, c.Guest()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("parse", "line", "fields", "command"),
    [(parse, *same) for parse, table in ((text.parse, SAME), (text.parse_greeting, SAME_FIRST)) for same in table],
)
def test_the_same_in_both(parse: Callable[[str], object], line: str, fields: dict[str, Any], command: Command) -> None:
    """What a person types and what a program sends become the same command."""
    assert parse(line) == command
    assert jsonl.parse(json.dumps(fields)) == command


def test_nothing_is_left_out() -> None:
    """Every command can be given in both dialects, and every kind of entry is told in both."""
    assert {type(command) for _, _, command in SAME + SAME_FIRST} == set(COMMANDS)
    kinds = {value for name, value in vars(events).items() if name.isupper() and isinstance(value, str)}
    kinds -= {events.DIRECT, events.PUBLIC, events.PRIVATE}
    assert {*FIELDS, events.MESSAGE} == kinds
    assert {*TOLD, events.MESSAGE, events.MUTED} == kinds


CONTROL = {"Cc", "Cs", "Zl", "Zp"}


def texts_of(command: Command) -> dict[str, str]:
    """What others may come to see of it: all texts but secrets."""
    secret = {"password", "old", "new", "tag"}
    names = {name for name, _ in GATES[type(command)]} - secret
    return {name: value for name in names if isinstance(value := getattr(command, name), str)}


@given(st.sampled_from([fields for _, fields, _ in SAME + SAME_FIRST]), st.text(), st.data())
def test_hostile_fields(fields: dict[str, Any], hostile: str, data: st.DataObject) -> None:
    """Whatever stands in a field, the command is refused in clean words, or has nothing hostile left in it."""
    name = data.draw(st.sampled_from(sorted(fields)))
    known, refused = {}, ""
    try:
        known = texts_of(jsonl.parse(json.dumps({**fields, name: hostile})))
    except jsonl.Rejected as rejected:
        refused = rejected.refusal.text
    assert refused.isprintable()
    for field, value in known.items():
        lines = value.split("\n") if field == "text" else [value]
        assert not {category(char) for line in lines for char in line} & CONTROL


@given(
    st.sampled_from([line for line, _, _ in SAME]), st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.data()
)
def test_hostile_words(line: str, hostile: str, data: st.DataObject) -> None:
    """Whatever word stands among those of a command, it is understood as one, or refused in clean words."""
    words = line.split()
    words.insert(data.draw(st.integers(1, len(words))), hostile)
    refused = ""
    try:
        text.parse(" ".join(words))
    except Refused as error:
        refused = error.text
    assert not {category(char) for char in refused} & CONTROL


# Any values, also such as no gate lets in


KINDS = st.sampled_from([*FIELDS, events.MESSAGE])
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2400, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
NUMBERS = st.integers(0, 2**53)


def values(kind: Any, texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Any value of a type of the vocabulary."""
    args = get_args(kind)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: texts, int: NUMBERS, bool: st.booleans(), datetime: TIMES, ErrorWord: st.sampled_from(ErrorWord),
        NoneType: st.none(),
    }  # fmt: skip
    if kind in plain:
        return plain[kind]
    if get_origin(kind) in (Union, UnionType):
        return st.one_of([values(arg, texts) for arg in args])
    if get_origin(kind) is list:
        return st.lists(values(args[0], texts), max_size=3)
    if get_origin(kind) is tuple:
        return st.tuples(*(values(arg, texts) for arg in args))
    if get_origin(kind) is dict:
        return st.dictionaries(texts, texts, max_size=3)
    assert issubclass(kind, Struct)
    hints = get_type_hints(kind, vars(events))
    fields = {field.name: values(hints[field.name], texts) for field in structs.fields(kind)}
    if kind is events.Entry:
        fields |= {"kind": KINDS, "state": st.sampled_from(["", "edited", "erased"])}
    return st.builds(kind, **fields)


HOSTILE = st.one_of(
    st.text(),
    st.sampled_from(["* x", "\n* forged", "\r\n! forged", "\r[x] 10:00 y: z", "/me \n* x", "\x1b[2J", "\u2028* x",
                     "\x85* x",
                     "\x9b2J", "\ud800"]),
)  # fmt: skip
GATED = st.text(st.characters(exclude_categories=["Cc", "Cs"]))


def framed(data: bytes) -> list[str]:
    shown = data.decode()
    assert shown == "" or shown.endswith("\r\n")
    lines = shown.split("\r\n")[:-1]
    assert not {category(char) for line in lines for char in line} & CONTROL
    return lines


@given(st.one_of([values(kind, HOSTILE) for kind in get_args(events.Answer)]))
def test_answers_to_people_are_clean(answer: events.Answer) -> None:
    """No answer has a control character, or a line that begins with what somebody typed."""
    for line in framed(text.reply(answer, "ana", 1, UTC)):
        assert line.startswith(("* ", "! ", "[", "   | "))
    assert isinstance(
        answer, (events.Log, events.Found, events.Exported, events.Welcome, events.Joined, events.Looked)
    ) or not any(line.startswith("[") for line in framed(text.reply(answer, "ana", 1, UTC)))


@given(st.lists(values(events.Entry, HOSTILE), max_size=3), st.sampled_from(["", "ana"]))
def test_entries_for_people_are_clean(entries: list[events.Entry], me: str) -> None:
    """Whatever is in an entry, its line begins with the room and the time, and further ones with a bar."""
    lines = framed(text.entries(events.RoomFacts(1, "books"), entries, 1, UTC, me))
    assert all(line.startswith(("[books] ", "   | ")) for line in lines)
    assert len([line for line in lines if line.startswith("[books] ")]) == len(entries)


@given(st.one_of([values(kind, HOSTILE) for kind in get_args(events.News)]))
def test_news_for_people_is_clean(item: events.News) -> None:
    """News is a notice, whatever is in it."""
    assert all(line.startswith(("* ", "   | ")) for line in framed(text.news(item)))


@given(st.one_of([values(kind, GATED) for kind in get_args(events.Answer)]), st.text(max_size=3))
def test_answers_to_programs_are_one_line(answer: events.Answer, tag: str) -> None:
    """Every answer is one line, one object, which says first whether it went well."""
    data = jsonl.reply(7, answer, 1, "ana")
    assert data.count(b"\n") == 1
    read = json.loads(data)
    assert list(read)[:2] == ["ok", "tag"]
    assert not any(value is None for value in read.values())


@given(st.lists(values(events.Entry, GATED), max_size=3), values(events.News, GATED))
def test_events_for_programs_are_one_line(entries: list[events.Entry], item: events.News) -> None:
    """So is every event, which says first what it is."""
    data = jsonl.entries(events.RoomFacts(1, "books"), entries, 1) + jsonl.news(item)
    lines = data.split(b"\r\n")[:-1]
    assert len(lines) == len(entries) + 1
    assert all(next(iter(json.loads(line))) == "event" for line in lines)
