"""The dialect of programs: answers and events to lines."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver import events
from chatserver.errors import RETRYABLE, ErrorWord, Refused
from chatserver.events import Answer, Entry, News, RoomFacts
from chatserver.wire import jsonl
from chatserver.wire.hygiene import message_text

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)
BOOKS = RoomFacts(1, "books")
DIRECT = RoomFacts(2, "1:2", events.DIRECT, ((1, "ana"), (2, "Bob")))


def read(lines: bytes) -> list[dict[str, Any]]:
    """Each line read by a library that is not ours, after checking how it is framed."""
    text = lines.decode()
    assert text == "" or text.endswith("\r\n")
    framed = text.split("\r\n")[:-1]
    assert not any(category(char) == "Cc" for line in framed for char in line)
    return [json.loads(line) for line in framed]


LOG = [
    Entry(1, events.CREATED, 1, "ana", AT, "what we read"),
    Entry(2, events.CREATED, 0, "", AT),
    Entry(3, events.JOINED, 2, "Bob", AT),
    Entry(4, events.MESSAGE, 2, "Bob", AT, 'a "b"\nc', "k7Q2"),
    Entry(5, events.TOPIC, 1, "ana", AT, "news"),
    Entry(6, events.LEFT, 2, "Bob", AT),
    Entry(7, events.JOINED, 0, "", AT),
]


def test_entries() -> None:
    """Each kind of entry has its fields in the protocol's order; what the server did itself has no author."""
    at = '"at":"2026-03-02T10:02:00.123Z"'
    assert jsonl.entries(BOOKS, LOG, 1).decode().split("\r\n") == [
        '{"event":"created","room":"books","seq":1,"by":"ana",' + at + ',"text":"what we read"}',
        '{"event":"created","room":"books","seq":2,' + at + "}",
        '{"event":"joined","room":"books","seq":3,"name":"Bob",' + at + "}",
        '{"event":"message","room":"books","seq":4,"from":"Bob",' + at + ',"text":"a \\"b\\"\\nc"}',
        '{"event":"topic","room":"books","seq":5,"by":"ana",' + at + ',"text":"news"}',
        '{"event":"left","room":"books","seq":6,"name":"Bob",' + at + "}",
        '{"event":"joined","room":"books","seq":7,' + at + "}",
        "",
    ]
    assert jsonl.entries(BOOKS, [], 1) == b""


@pytest.mark.parametrize(
    ("entry", "fields"),
    [
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "hi", state="edited"), '"from":"Bob",AT,"text":"hi","edited":true'),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "", "k7Q2", state="erased"), '"from":"Bob",AT,"erased":true'),
        (
            Entry(1, events.MESSAGE, 1, "ana", AT, "hi", "k7Q2", state="edited"),
            '"from":"ana",AT,"text":"hi","edited":true,"id":"k7Q2"',
        ),
        (Entry(1, events.MESSAGE, 1, "ana", AT, "left", "k7Q2", state="erased"),
         '"from":"ana",AT,"erased":true,"id":"k7Q2"'),
        (Entry(1, events.KICKED, 1, "ana", AT, "spam", target="Bob"),
         '"name":"Bob","by":"ana","reason":"spam",AT'),
        (Entry(1, events.KICKED, 0, "", AT, target="Bob"), '"name":"Bob",AT'),
        (Entry(1, events.BANNED, 1, "ana", AT, "spam", target="Bob"),
         '"name":"Bob","by":"ana","reason":"spam",AT'),
        (Entry(1, events.BANNED, 1, "ana", AT, target="Bob"), '"name":"Bob","by":"ana",AT'),
        (Entry(1, events.UNBANNED, 1, "ana", AT, target="Bob"), '"name":"Bob","by":"ana",AT'),
        (Entry(1, events.MUTED, 1, "ana", AT, target="Bob"), '"name":"Bob","by":"ana",AT'),
        (
            Entry(1, events.MUTED, 1, "ana", AT, "2026-03-02T12:30:00+02:00", target="Bob"),
            '"name":"Bob","by":"ana","until":"2026-03-02T10:30:00.000Z",AT',
        ),
        (Entry(1, events.UNMUTED, 1, "ana", AT, target="Bob"), '"name":"Bob","by":"ana",AT'),
        (Entry(1, events.ROLE, 1, "ana", AT, "owner", target="Bob"),
         '"name":"Bob","role":"owner","by":"ana",AT'),
        (Entry(1, events.ROLE, 0, "", AT, "owner", target="Bob"), '"name":"Bob","role":"owner",AT'),
        (Entry(1, events.TOPIC, 0, "", AT, ""), 'AT,"text":""'),
        (Entry(1, events.SET, 1, "ana", AT, "past=open"), '"by":"ana",AT,"past":"open"'),
        (
            Entry(1, events.SET, 1, "ana", AT, "invites=members,past=closed"),
            '"by":"ana",AT,"past":"closed","invites":"members"',
        ),
        (Entry(1, events.EDITED, 1, "ana", AT, "new", of=7), '"of":7,"by":"ana",AT,"text":"new"'),
        (Entry(1, events.EDITED, 1, "ana", AT, "", of=7), '"of":7,"by":"ana",AT'),
        (Entry(1, events.ERASED, 1, "ana", AT, of=7), '"of":7,"by":"ana",AT'),
        (Entry(1, events.DELETED, 1, "ana", AT), '"by":"ana",AT'),
    ],
)  # fmt: skip
def test_what_happens_in_a_room(entry: Entry, fields: str) -> None:
    """Each kind of entry says what was done, to whom, by whom, and no more; what is not known is left out."""
    at = '"at":"2026-03-02T10:02:00.123Z"'
    expected = '{"event":"' + entry.kind + '","room":"books","seq":1,' + fields.replace("AT", at) + "}\r\n"
    assert jsonl.entries(BOOKS, [entry], 1).decode() == expected


def test_unknown_kind() -> None:
    """An entry that nobody can tell of is a fault, not a line."""
    with pytest.raises(ValueError, match="future"):
        jsonl.entries(BOOKS, [Entry(1, "future", 2, "Bob", AT)], 1)


def test_entries_for_their_viewer() -> None:
    """An id is shown to its sender alone, and each of two people calls their room by the other's name."""
    seen = {viewer: read(jsonl.entries(DIRECT, LOG[3:4], viewer))[0] for viewer in (0, 1, 2)}
    assert {viewer: entry.get("id") for viewer, entry in seen.items()} == {0: None, 1: None, 2: "k7Q2"}
    assert (seen[1]["room"], seen[2]["room"]) == ("@Bob", "@ana")
    assert list(seen[2]) == ["event", "room", "seq", "from", "at", "text", "id"]


STATUSES = [events.RoomStatus("general", 1040, 1037, "member"), events.RoomStatus("@bob", 7, 7)]


@pytest.mark.parametrize(
    ("answer", "fields"),
    [
        (events.Done("for people"), ""),
        (
            events.Welcome("ana", STATUSES),
            (
                '"name":"ana","rooms":[{"room":"general","seq":1040,"read":1037,"role":"member"},'
                '{"room":"@bob","seq":7,"read":7}]'
            ),
        ),
        (
            events.RoomList([events.RoomLine("a", "", 2, 5, "owner"), events.RoomLine("b", "t", 0, 0)]),
            (
                '"rooms":[{"room":"a","topic":"","members":2,"seq":5,"role":"owner"},'
                '{"room":"b","topic":"t","members":0,"seq":0}]'
            ),
        ),
        (events.RoomList([], more=True), '"rooms":[],"more":true'),
        (events.Created("a", 1), '"room":"a","seq":1'),
        (events.Joined("a", 5, 2, ["ana", "bob"], 3, "topic"), '"room":"a","seq":5,"members":2'),
        (events.Left("a"), '"room":"a"'),
        (events.Said("a", 5, AT), '"room":"a","seq":5,"at":"2026-03-02T10:02:00.123Z"'),
        (events.Said("a", 5, AT, dup=True), '"room":"a","seq":5,"at":"2026-03-02T10:02:00.123Z","dup":true'),
        (events.Log(DIRECT, [], False), '"room":"@Bob","entries":[],"more":false'),
        (
            events.Log(BOOKS, LOG[2:3], True),
            (
                '"room":"books","entries":[{"event":"joined","room":"books","seq":3,"name":"Bob",'
                '"at":"2026-03-02T10:02:00.123Z"}],"more":true'
            ),
        ),
        (
            events.MemberList("a", [events.MemberLine("ana", "owner", True)]),
            '"members":[{"name":"ana","role":"owner","online":true}]',
        ),
        (
            events.UserList([events.UserLine("ana", True), events.UserLine("bob", False, AT)]),
            (
                '"users":[{"name":"ana","online":true},'
                '{"name":"bob","online":false,"last_seen":"2026-03-02T10:02:00.123Z"}]'
            ),
        ),
        (events.Marked("a", 5), '"room":"a","seq":5'),
        (
            events.UnreadList(STATUSES[:1]),
            '"rooms":[{"room":"general","seq":1040,"read":1037,"role":"member","unread":3}]',
        ),
        (events.TopicSet("a", 5), '"room":"a","seq":5'),
        (
            events.Welcome("ana", [], invitations=[events.Invited("cellar", "bob")]),
            '"name":"ana","rooms":[],"invitations":[{"room":"cellar","by":"bob"}]',
        ),
        (
            events.UserList([events.UserLine("ana", True, AT, "lunch")]),
            '"users":[{"name":"ana","online":true,"away":"lunch","last_seen":"2026-03-02T10:02:00.123Z"}]',
        ),
        (events.Changed("a", 5, "for people"), '"room":"a","seq":5'),
        (events.Changed("a", None, "for people"), '"room":"a"'),
        (events.Found([], False), '"entries":[],"more":false'),
        (
            events.Found([(DIRECT, LOG[5]), (BOOKS, LOG[2])], True, 12),
            (
                '"entries":[{"event":"left","room":"@Bob","seq":6,"name":"Bob","at":"2026-03-02T10:02:00.123Z"},'
                '{"event":"joined","room":"books","seq":3,"name":"Bob","at":"2026-03-02T10:02:00.123Z"}],'
                '"more":true,"before":12'
            ),
        ),
        (events.TokenMade("laptop", "ct_abc"), '"label":"laptop","token":"ct_abc"'),
        (
            events.TokenList([events.TokenLine("a", AT), events.TokenLine("b", AT, AT)]),
            (
                '"tokens":[{"label":"a","created":"2026-03-02T10:02:00.123Z"},{"label":"b",'
                '"created":"2026-03-02T10:02:00.123Z","last_used":"2026-03-02T10:02:00.123Z"}]'
            ),
        ),
        (
            events.BanList(
                [
                    events.BanLine("bob", None, None, "ana", ""),
                    events.BanLine(None, "192.0.2.0/24", AT, "ana", "spam"),
                ]
            ),
            (
                '"bans":[{"name":"bob","by":"ana"},{"address":"192.0.2.0/24",'
                '"until":"2026-03-02T10:02:00.123Z","by":"ana","reason":"spam"}]'
            ),
        ),
        (events.Exported({"name": "ana"}, [], "9:1"), '"account":{"name":"ana"},"entries":[],"next":"9:1"'),
        (
            events.Exported(None, [(BOOKS, LOG[2])], None),
            ('"entries":[{"event":"joined","room":"books","seq":3,"name":"Bob","at":"2026-03-02T10:02:00.123Z"}]'),
        ),
    ],
)
def test_answers(answer: Answer, fields: str) -> None:
    """An answer is `ok`, the tag if there was one, and the fields of its command, in one compact line."""
    rest = "," + fields if fields else ""
    assert jsonl.reply(None, answer, 1, "ana").decode() == '{"ok":true' + rest + "}\r\n"
    assert jsonl.reply(7, answer, 1, "ana").decode() == '{"ok":true,"tag":7' + rest + "}\r\n"
    assert jsonl.reply('"', answer, 1, "ana").decode() == '{"ok":true,"tag":"\\""' + rest + "}\r\n"


def test_help_names_the_commands() -> None:
    """A program that asks for help is told what it may send."""
    [answer] = read(jsonl.reply(None, events.HelpText(), 1, "ana"))
    assert "say" in answer["commands"]


@pytest.mark.parametrize("error", ErrorWord)
def test_refusals(error: ErrorWord) -> None:
    """A refusal is its word and a sentence, and says so where the same command may succeed later."""
    retry = ',"retry":true' if error in RETRYABLE else ""
    expected = '{"ok":false,"tag":4,"error":"' + error + '","text":"No."' + retry + "}\r\n"
    assert jsonl.reply(4, events.Refusal(error, "No."), 1, "ana").decode() == expected


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (events.Presence("bob", True), '{"event":"presence","name":"bob","online":true}'),
        (events.Presence("bob", True, "lunch"),
         '{"event":"presence","name":"bob","online":true,"away":"lunch"}'),
        (events.Invited("cellar", "bob"), '{"event":"invited","room":"cellar","by":"bob"}'),
        (events.ReadMark("a", 5), '{"event":"read","room":"a","seq":5}'),
        (events.Live("a", 5), '{"event":"live","room":"a","seq":5}'),
        (events.Pinged(), '{"event":"ping"}'),
        (events.Closing("quit", "Bye."), '{"event":"closing","reason":"quit","text":"Bye."}'),
        (events.Closing("shutdown", "Back soon.", 7),
         '{"event":"closing","reason":"shutdown","text":"Back soon.","retry":7}'),
    ],
)  # fmt: skip
def test_news(item: News, line: str) -> None:
    """News begins with `event`, and has what the protocol lists."""
    assert jsonl.news(item).decode() == line + "\r\n"


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (datetime(2026, 3, 2, tzinfo=UTC), "2026-03-02T00:00:00.000Z"),
        (datetime(2026, 3, 2, 1, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2))), "2026-03-01T23:00:00.999Z"),
    ],
)
def test_times(at: datetime, shown: str) -> None:
    """A time is UTC with milliseconds, also on the full second and from another zone."""
    [answer] = read(jsonl.reply(None, events.Said("a", 1, at), 1, "ana"))
    assert answer["at"] == shown


@given(st.lists(st.text(), max_size=4))
def test_every_line_is_clean(texts: Sequence[str]) -> None:
    """Whatever text has passed the gate, each entry is one line without a control character, and reads back."""
    said = []
    for text in texts:
        try:
            said.append(message_text(text))
        except Refused:
            pass
    shown = read(jsonl.entries(BOOKS, [Entry(1, events.MESSAGE, 1, "ana", AT, text) for text in said], 1))
    assert [entry["text"] for entry in shown] == said
