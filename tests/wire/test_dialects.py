"""Both dialects: one vocabulary, and nothing hostile gets through in either."""

import json
from datetime import UTC
from typing import Any, get_args
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.values import answers, events
from chatserver.values import commands as c
from chatserver.values.commands import COMMANDS, Command
from chatserver.values.errors import ErrorWord, Rejected
from chatserver.values.stages import Stage
from chatserver.wire.dialect import PLAIN, Asked, Form
from chatserver.wire.dialects import DIALECTS
from chatserver.wire.framing.lines import Undecodable
from chatserver.wire.hygiene.text import clean_line, presentable
from chatserver.wire.jsonl import JSONL
from chatserver.wire.jsonl.entries import FIELDS
from chatserver.wire.jsonl.parse import CHECKS
from chatserver.wire.sentences import english
from chatserver.wire.text import TEXT, Text
from chatserver.wire.text.shown.entries import ABOUT, TOLD
from tests.wire.values import CLEAN, CONTROL, HOSTILE, values

SAME: list[tuple[str, dict[str, Any], Command]] = [
    ("/say Books hi", {"cmd": "say", "room": "Books", "text": "hi"}, c.Say(room="books", text="hi")),
    ("/history Books", {"cmd": "history", "room": "Books"}, c.History(room="books")),
    ("/history Books since=2h", {"cmd": "history", "room": "Books", "since": "2h"},
     c.History(room="books", since="2h")),
    ("/reply Books 4 hi", {"cmd": "reply", "room": "Books", "seq": 4, "text": "hi "},
     c.Reply(room="books", seq=4, text="hi")),
    ("/react Books 4 +1", {"cmd": "react", "room": "Books", "seq": 4, "reaction": "+1"},
     c.React(room="books", seq=4, reaction="+1")),
    ("/unreact Books 4 +1", {"cmd": "react", "room": "Books", "seq": 4, "reaction": "+1 ", "remove": True},
     c.React(room="books", seq=4, reaction="+1", remove=True)),
    ("/reactions Books 4", {"cmd": "reactions", "room": "Books", "seq": 4}, c.Reactions(room="books", seq=4)),
    ("/pin Books 4", {"cmd": "pin", "room": "Books", "seq": 4}, c.Pin(room="books", seq=4)),
    ("/unpin Books 4", {"cmd": "unpin", "room": "Books", "seq": 4}, c.Unpin(room="books", seq=4)),
    ("/pins Books before=4", {"cmd": "pins", "room": "Books", "before": 4}, c.Pins(room="books", before=4)),
    ("/thread Books 4 after=6", {"cmd": "replies", "room": "Books", "seq": 4, "after": 6},
     c.Replies(room="books", seq=4, after=6)),
    ("/mentions before=5", {"cmd": "mentions", "before": 5}, c.Mentions(before=5)),
    ("/catchup", {"cmd": "read-all"}, c.ReadAll()),
    ("/ignore Bob", {"cmd": "ignore", "name": "Bob"}, c.Ignore(name="Bob")),
    ("/unignore Bob", {"cmd": "unignore", "name": "Bob"}, c.Unignore(name="Bob")),
    ("/nick Bob", {"cmd": "rename", "name": "Bob"}, c.Rename(name="Bob")),
    ("/name a b", {"cmd": "rename", "display": " a  b"}, c.Rename(display="a b")),
    ("/set timezone x bell on clock 12", {"cmd": "prefer", "timezone": "x", "bell": "on", "clock": "12"},
     c.Prefer(timezone="x", bell="on", clock="12")),
    ("/edit Books 4 hi ", {"cmd": "edit", "room": "Books", "seq": 4, "text": "hi "},
     c.Edit(room="books", seq=4, text="hi")),
    ("/erase Books 4", {"cmd": "erase", "room": "Books", "seq": 4}, c.Erase(room="books", seq=4)),
    ("/search #Books a b", {"cmd": "search", "room": "Books", "text": "a b"}, c.Search(room="books", text="a b")),
    (
        '/search from:@Bob since:2h a "b c" until="2026-03-02 9" has:link has:reply order:best',
        {"cmd": "search", "text": 'a "b c"', "from": "Bob", "since": "2h", "until": "2026-03-02 9",
         "has": ["link", "reply"], "order": "best"},
        c.Search(text='a "b c"', author="Bob", since="2h", until="2026-03-02 9", has=("link", "reply"), order="best"),
    ),
    ('/search #books "from:bob" http://a', {"cmd": "search", "room": "books", "text": '"from:bob" http://a'},
     c.Search(room="books", text='"from:bob" http://a')),
    ("/search before=5 a", {"cmd": "search", "before": 5, "text": " a"}, c.Search(text="a", before=5)),
    ("/read Books 4", {"cmd": "read", "room": "Books", "seq": 4}, c.Read(room="books", seq=4)),
    ("/unread", {"cmd": "unread"}, c.Unread()),
    ("/sessions", {"cmd": "sessions"}, c.Sessions()),
    ("/join Books 4", {"cmd": "join", "room": "Books", "since": 4}, c.Join(room="books", since=4)),
    ("/part Books", {"cmd": "leave", "room": "Books"}, c.Leave(room="books")),
    ("/list Books", {"cmd": "rooms", "after": "Books"}, c.Rooms(after="books")),
    ("/names Books", {"cmd": "members", "room": "Books"}, c.Members(room="books")),
    ("/create Books private x", {"cmd": "create", "room": "Books", "visibility": "private", "topic": "x "},
     c.Create(room="books", visibility="private", topic="x")),
    ("/topic #Books x", {"cmd": "topic", "room": "Books", "text": "x"}, c.Topic(room="books", text="x")),
    ("/topic #Books", {"cmd": "topic", "room": "Books"}, c.Topic(room="books")),
    ("/topic #Books -", {"cmd": "topic", "room": "Books", "text": ""}, c.Topic(room="books", text="")),
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
    ("/token revoke x", {"cmd": "token", "revoke": "x"}, c.Token(revoke="x")),
    ("/token revoke x y", {"cmd": "token", "revoke": "x y "}, c.Token(revoke="x y")),
    ("/token list", {"cmd": "token", "list": True}, c.Token(list=True)),
    ("/forget a erase", {"cmd": "forget", "password": "a", "messages": "erase"},
     c.Forget(password="a", messages="erase")),
    ("/export 9:1", {"cmd": "export", "after": "9:1"}, c.Export(after="9:1")),
    ("/help", {"cmd": "help"}, c.Help()),
    ("/server", {"cmd": "server"}, c.Server()),
    ("/ping", {"cmd": "ping"}, c.Ping()),
    ("/logout", {"cmd": "logout"}, c.Logout()),
    ("/quit", {"cmd": "quit"}, c.Quit()),
]  # fmt: skip
SAME_FIRST: list[tuple[str, dict[str, Any], Command]] = [
    ("/login Ana a b", {"cmd": "login", "name": "Ana", "password": "a b"}, c.Login(name="Ana", password="a b")),
    ("/login Ana a quiet", {"cmd": "login", "name": "Ana", "password": "a", "quiet": True},
     c.Login(name="Ana", password="a", quiet=True)),
    ("/token ct_x", {"cmd": "login", "token": "ct_x"}, c.Login(token="ct_x")),
    ("/register Ana a b code=x", {"cmd": "register", "name": "Ana", "password": "a b", "code": "x"},
     c.Register(name="Ana", password="a b", code="x")),
    ("/guest", {"cmd": "guest"}, c.Guest()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "line", "fields", "command"),
    [(stage, *same) for stage, table in ((Stage.IN, SAME), (Stage.GREETING, SAME_FIRST)) for same in table],
)
def test_the_same_in_both(stage: Stage, line: str, fields: dict[str, Any], command: Command) -> None:
    """A typed line and a program's object become the same command."""
    assert TEXT.parse(line, stage) == command
    assert JSONL.parse(json.dumps(fields), stage) == command


def test_nothing_is_left_out() -> None:
    """Both dialects can express every command and every kind of entry."""
    assert {type(command) for _, _, command in SAME + SAME_FIRST} == set(COMMANDS) - set(c.FOR_PROGRAMS)
    kinds = set(get_args(events.EntryKind))
    assert {*FIELDS, events.MESSAGE} == kinds
    assert {*TOLD, *ABOUT, events.MESSAGE, events.MUTED} == kinds


def texts_of(command: Command) -> dict[str, str]:
    """The texts that others may see: all but secrets."""
    secret = {"password", "old", "new", "tag"}
    names = {name for name, _ in CHECKS.get(type(command), ())} or set(type(command).__struct_fields__)
    names -= secret
    return {name: value for name in names if isinstance(value := getattr(command, name), str)}


MEAN = st.one_of(
    st.text(), st.sampled_from(["\u202ea", "a\u200b", "\u2800", "a\U000e0041", "a" + "\u0301" * 31, "\ufeff"])
)


@given(st.sampled_from([fields for _, fields, _ in SAME + SAME_FIRST]), MEAN, st.data())
def test_hostile_fields(fields: dict[str, Any], hostile: str, data: st.DataObject) -> None:
    """Whatever a field contains, the command is refused in clean words, or contains nothing hostile any more."""
    name = data.draw(st.sampled_from(sorted(fields)))
    parsed = JSONL.parse(json.dumps({**fields, name: hostile}), Stage.IN)
    if isinstance(parsed, Rejected):
        assert english(parsed.refused.sentence).isprintable()
        return
    assert parsed is not None
    for field, value in texts_of(parsed).items():
        lines = value.split("\n") if field == "text" else [value]
        assert not {category(char) for line in lines for char in line} & CONTROL
        assert presentable(value) == value


@given(st.sampled_from([line for line, _, _ in SAME]), MEAN, st.data())
def test_hostile_words(line: str, hostile: str, data: st.DataObject) -> None:
    """Whatever word is inserted into a command, the line is understood as a command or refused in clean words."""
    words = line.split()
    words.insert(data.draw(st.integers(1, len(words))), hostile)
    try:
        cleaned = clean_line(" ".join(words).encode(errors="replace"))
    except Undecodable:
        return
    parsed = TEXT.parse(cleaned, Stage.IN)
    if isinstance(parsed, Rejected):
        assert not {category(char) for char in english(parsed.refused.sentence)} & CONTROL
    elif parsed is not None:
        assert all(presentable(value) == value for value in texts_of(parsed).values())


# Any values, including those that validation would refuse


TO_PROGRAMS = [kind for kind in get_args(events.News) if kind is not events.Turned]

UTC_TEXT = Text(UTC)
ANA = Asked(7, 1, "ana")
BOOKS = events.RoomFacts(1, "books")


def framed(data: bytes) -> list[str]:
    shown = data.decode()
    assert shown == "" or shown.endswith("\r\n")
    lines = shown.split("\r\n")[:-1]
    assert not {category(char) for line in lines for char in line} & CONTROL
    return lines


@given(st.one_of([values(kind, HOSTILE) for kind in get_args(answers.Answer)]))
def test_answers_to_people_are_clean(answer: answers.Answer) -> None:
    """No answer contains a control character or a line that begins with text from a client."""
    for line in framed(UTC_TEXT.answer(ANA, answer)):
        assert line.startswith(("* ", "! ", "[", "   | "))
    assert isinstance(
        answer,
        (
            answers.Log,
            answers.Thread,
            answers.Found,
            answers.Exported,
            answers.Welcome,
            answers.Joined,
            answers.Looked,
            answers.Missed,
        ),
    ) or not any(line.startswith("[") for line in framed(UTC_TEXT.answer(ANA, answer)))


@given(st.lists(values(events.Entry, HOSTILE), max_size=3), st.booleans())
def test_entries_for_people_are_clean(entries: list[events.Entry], marked: bool) -> None:
    """Whatever an entry contains, its line begins with the room and the time, and further lines with a bar."""
    lines = framed(UTC_TEXT.entries(BOOKS, entries, Form(UTC_TEXT, PLAIN, viewer=1, marked=marked)).data)
    assert all(line.startswith(("[books] ", "   | ", "* ")) for line in lines)
    told = [entry for entry in entries if entry.kind != events.GAP]
    assert len([line for line in lines if line.startswith("[books] ")]) == len(told)


@given(st.one_of([values(kind, HOSTILE) for kind in get_args(events.News)]))
def test_news_for_people_is_clean(item: events.News) -> None:
    """News is a notice, whatever it contains."""
    assert all(line.startswith(("* ", "   | ")) for line in framed(UTC_TEXT.news(item)))


@given(st.one_of([values(kind, CLEAN) for kind in get_args(answers.Answer)]), st.text(max_size=3))
def test_answers_to_programs_are_one_line(answer: answers.Answer, tag: str) -> None:
    """Every answer is one line with one object, which says first whether the command succeeded."""
    data = JSONL.answer(Asked(tag, 1, "ana"), answer)
    assert data.count(b"\n") == 1
    read = json.loads(data)
    assert list(read)[:2] == ["ok", "tag"]
    assert not any(value is None for value in read.values())


@given(st.lists(values(events.Entry, CLEAN), max_size=3), st.one_of([values(kind, CLEAN) for kind in TO_PROGRAMS]))
def test_events_for_programs_are_one_line(entries: list[events.Entry], item: events.News) -> None:
    """So is every event, which says first what it is."""
    data = JSONL.entries(BOOKS, entries, Form(JSONL, PLAIN, viewer=1)).data + JSONL.news(item)
    lines = data.split(b"\r\n")[:-1]
    assert len(lines) == len(entries) + 1
    assert all(next(iter(json.loads(line))) == "event" for line in lines)


# The dialects as objects


def test_recognized() -> None:
    """A first line that begins with a brace is JSON; text takes every other line, so it is asked last."""
    assert [dialect.name for dialect in DIALECTS] == ["jsonl", "text"]
    for start, name in ((b"{", "jsonl"), (b'{"cmd":', "jsonl"), (b"ana", "text"), (b" {", "text"), (b"", "text")):
        assert next(dialect.name for dialect in DIALECTS if dialect.recognizes(start)) == name


def test_traits() -> None:
    """People have a screen and are never pinged; programs are the opposite."""
    assert [(dialect.for_people, dialect.pinged) for dialect in (TEXT, JSONL)] == [(True, False), (False, True)]


def test_prompts() -> None:
    """The stage decides how a person's line is read: as something said, as a name or as a password."""
    assert TEXT.parse("ana", Stage.IN) == c.Say(room="", text="ana")
    for stage in (Stage.NEW, Stage.GREETING):
        assert TEXT.parse("ana", stage) == c.TypedName(name="ana")
        assert TEXT.parse("  ", stage) is None
    assert TEXT.parse("/join ana ", Stage.PASSWORD) == c.TypedPassword(password="/join ana ")
    assert TEXT.parse("", Stage.PASSWORD) == c.TypedPassword(password="")
    refused = TEXT.parse("x" * 1025, Stage.PASSWORD)
    assert isinstance(refused, Rejected)
    assert (refused.refused.error, refused.tag, refused.fatal) == (ErrorWord.BAD_PASSWORD, None, False)


@pytest.mark.parametrize("stage", [Stage.NEW, Stage.GREETING, Stage.IN])
def test_programs_are_read_alike_at_every_stage(stage: Stage) -> None:
    """The stage makes no difference to a program: whether a command is allowed then is not for the dialect to say."""
    assert JSONL.parse('{"cmd":"say","room":"x","text":"hi"}', stage) == c.Say(room="x", text="hi")


def test_notices() -> None:
    """Programs get the server's own words too, as an event."""
    assert TEXT.notice("Hello.") == b"* Hello.\r\n"
    assert JSONL.notice('A "b"\n.') == b'{"event":"notice","text":"A \\"b\\"\\n."}\r\n'
