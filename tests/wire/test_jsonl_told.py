"""The dialect of programs: answers and events to lines."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from chatserver.values import answers, events
from chatserver.values.answers import Answer
from chatserver.values.commands import Tag
from chatserver.values.errors import RETRYABLE, Refused, Sentence, Why
from chatserver.values.events import Entry, News, RoomFacts
from chatserver.wire.dialect import PLAIN, Asked, Form
from chatserver.wire.hygiene.text import message_text
from chatserver.wire.jsonl import JSONL
from tests.support.sentences import written

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)
BOOKS = RoomFacts(1, "books")
DIRECT = RoomFacts(2, "1:2", events.DIRECT, ((1, "ana"), (2, "Bob")))


def entries(facts: RoomFacts, entries: Sequence[Entry], viewer: int) -> bytes:
    return JSONL.entries(facts, entries, Form(JSONL, PLAIN, viewer=viewer)).data


def answered(tag: Tag | None, answer: Answer) -> bytes:
    return JSONL.answer(Asked(tag, 1, "ana"), answer)


def read(lines: bytes) -> list[dict[str, Any]]:
    """Each line as read by another library, after checking the framing."""
    text = lines.decode()
    assert text == "" or text.endswith("\r\n")
    framed = text.split("\r\n")[:-1]
    assert not any(category(char) == "Cc" for line in framed for char in line)
    return [json.loads(line) for line in framed]


BOB_JOINED = '{"event":"joined","room":"books","room_id":1,"seq":3,"name":"Bob","at":"2026-03-02T10:02:00.123Z"}'
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
    """Each kind of entry has its fields in the protocol's order; entries that the server made have no author."""
    at = '"at":"2026-03-02T10:02:00.123Z"'
    assert entries(BOOKS, LOG, 1).decode().split("\r\n") == [
        '{"event":"created","room":"books","room_id":1,"seq":1,"by":"ana",' + at + ',"text":"what we read"}',
        '{"event":"created","room":"books","room_id":1,"seq":2,' + at + "}",
        '{"event":"joined","room":"books","room_id":1,"seq":3,"name":"Bob",' + at + "}",
        '{"event":"message","room":"books","room_id":1,"seq":4,"from":"Bob",' + at + ',"text":"a \\"b\\"\\nc"}',
        '{"event":"topic","room":"books","room_id":1,"seq":5,"by":"ana",' + at + ',"text":"news"}',
        '{"event":"left","room":"books","room_id":1,"seq":6,"name":"Bob",' + at + "}",
        '{"event":"joined","room":"books","room_id":1,"seq":7,' + at + "}",
        "",
    ]
    assert entries(BOOKS, [], 1) == b""


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
        (Entry(1, events.TOPIC, 7, "erased-7", AT, "", state=events.ERASED), '"by":"erased-7",AT'),
        (Entry(1, events.SET, 1, "ana", AT, "past=open"), '"by":"ana",AT,"past":"open"'),
        (
            Entry(1, events.SET, 1, "ana", AT, "invites=members,past=closed"),
            '"by":"ana",AT,"past":"closed","invites":"members"',
        ),
        (Entry(1, events.EDITED, 1, "ana", AT, "new", of=7), '"of":7,"by":"ana",AT,"text":"new"'),
        (Entry(1, events.EDITED, 1, "ana", AT, "", of=7), '"of":7,"by":"ana",AT'),
        (Entry(1, events.ERASED, 1, "ana", AT, of=7), '"of":7,"by":"ana",AT'),
        (Entry(1, events.DELETED, 1, "ana", AT), '"by":"ana",AT'),
        (
            Entry(1, events.MESSAGE, 2, "Bob", AT, "hi", of=7, state="edited", display="Bób", bot=True,
                  reactions=(("+1", 3), ("❤", 1)), quote=events.Quote("ana", "", "hello", 1)),
            '"from":"Bob",AT,"text":"hi","re":7,"edited":true,"reactions":{"+1":3,"❤":1},"display":"Bób","bot":true',
        ),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "", of=7, state="erased"), '"from":"Bob",AT,"re":7,"erased":true'),
        (Entry(1, events.REACTED, 1, "ana", AT, "+1", of=7), '"of":7,"reaction":"+1","by":"ana",AT'),
        (Entry(1, events.UNREACTED, 1, "ana", AT, "+1", of=7), '"of":7,"reaction":"+1","by":"ana",AT'),
        (Entry(1, events.REACTED, 4, "erased-4", AT, "", of=7), '"of":7,"by":"erased-4",AT'),
        (Entry(1, events.PINNED, 1, "ana", AT, of=7, display="Aña"), '"of":7,"by":"ana",AT,"display":"Aña"'),
        (Entry(1, events.UNPINNED, 1, "ana", AT, of=7, bot=True), '"of":7,"by":"ana",AT,"bot":true'),
    ],
)  # fmt: skip
def test_what_happens_in_a_room(entry: Entry, fields: str) -> None:
    """Each kind of entry says what was done, to whom and by whom, and no more; unknown fields are left out."""
    at = '"at":"2026-03-02T10:02:00.123Z"'
    expected = '{"event":"' + entry.kind + '","room":"books","room_id":1,"seq":1,' + fields.replace("AT", at) + "}\r\n"
    assert entries(BOOKS, [entry], 1).decode() == expected


def test_unknown_kind() -> None:
    """An entry of an unknown kind is a bug, not a line."""
    future: Any = "future"
    with pytest.raises(ValueError, match="future"):
        entries(BOOKS, [Entry(1, future, 2, "Bob", AT)], 1)


def test_entries_for_their_viewer() -> None:
    """An id is shown to its sender alone, and each of two people calls their room by the other's name."""
    seen = {viewer: read(entries(DIRECT, LOG[3:4], viewer))[0] for viewer in (0, 1, 2)}
    assert {viewer: entry.get("id") for viewer, entry in seen.items()} == {0: None, 1: None, 2: "k7Q2"}
    assert (seen[1]["room"], seen[2]["room"]) == ("@Bob", "@ana")
    assert list(seen[2]) == ["event", "room", "room_id", "seq", "from", "at", "text", "id"]


STATUSES = [answers.RoomStatus("general", 1040, 1037, "member"), answers.RoomStatus("@bob", 7, 7)]


@pytest.mark.parametrize(
    ("answer", "fields"),
    [
        (answers.Done(written("for people")), ""),
        (
            answers.Welcome("ana", STATUSES),
            (
                '"name":"ana","rooms":[{"room":"general","seq":1040,"read":1037,"role":"member"},'
                '{"room":"@bob","seq":7,"read":7}]'
            ),
        ),
        (
            answers.RoomList([answers.RoomLine("a", "", 2, 5, "owner"), answers.RoomLine("b", "t", 0, 0)]),
            (
                '"rooms":[{"room":"a","topic":"","members":2,"seq":5,"role":"owner"},'
                '{"room":"b","topic":"t","members":0,"seq":0}]'
            ),
        ),
        (answers.RoomList([], more=True), '"rooms":[],"more":true'),
        (answers.Created("a", 1), '"room":"a","seq":1'),
        (answers.Joined("a", 5, 2, ["ana", "bob"], 3, "topic"), '"room":"a","seq":5,"members":2'),
        (answers.Left("a"), '"room":"a"'),
        (answers.Said("a", 5, AT), '"room":"a","seq":5,"at":"2026-03-02T10:02:00.123Z"'),
        (answers.Said("a", 5, AT, dup=True), '"room":"a","seq":5,"at":"2026-03-02T10:02:00.123Z","dup":true'),
        (answers.Log(DIRECT, [], False, as_of=7), '"room":"@Bob","room_id":2,"entries":[],"more":false,"as_of":7'),
        (
            answers.Log(BOOKS, LOG[2:3], True, as_of=9),
            (
                '"room":"books","room_id":1,"entries":[{"event":"joined","room":"books","room_id":1,"seq":3,"name":"Bob",'
                '"at":"2026-03-02T10:02:00.123Z"}],"more":true,"as_of":9'
            ),
        ),
        (
            answers.MemberList("a", [answers.MemberLine("ana", "owner", True)]),
            '"members":[{"name":"ana","role":"owner","online":true}]',
        ),
        (
            answers.UserList([answers.UserLine("ana", True), answers.UserLine("bob", False, AT)]),
            (
                '"users":[{"name":"ana","online":true},'
                '{"name":"bob","online":false,"last_seen":"2026-03-02T10:02:00.123Z"}]'
            ),
        ),
        (answers.Marked("a", 5), '"room":"a","seq":5'),
        (
            answers.UnreadList([structs.replace(STATUSES[0], unread=answers.Unread(3, 2, 1, 1038, partial=True))]),
            (
                '"rooms":[{"room":"general","seq":1040,"read":1037,"role":"member","unread":3,"messages":2,"mentions":1,'
                '"first":1038,"partial":true}]'
            ),
        ),
        (answers.TopicSet("a", 5), '"room":"a","seq":5'),
        (
            answers.Welcome("ana", [], invitations=[events.Invited("cellar", "bob")]),
            '"name":"ana","rooms":[],"invitations":[{"room":"cellar","by":"bob"}]',
        ),
        (
            answers.UserList([answers.UserLine("ana", True, AT, "lunch")]),
            '"users":[{"name":"ana","online":true,"away":"lunch","last_seen":"2026-03-02T10:02:00.123Z"}]',
        ),
        (answers.Changed("a", 5, written("for people")), '"room":"a","seq":5'),
        (answers.Changed("a", None, written("for people")), '"room":"a"'),
        (answers.ReactionList("a", 41, []), '"room":"a","of":41,"reactions":[]'),
        (
            answers.ReactionList(
                "a", 41, [answers.ReactionLine("+1", 2, ["ana"], True), answers.ReactionLine("🎉", 1, ["bob"])]
            ),
            (
                '"room":"a","of":41,"reactions":[{"reaction":"+1","count":2,"names":["ana"],"more":true},'
                '{"reaction":"🎉","count":1,"names":["bob"]}]'
            ),
        ),
        (answers.Found([], False), '"entries":[],"more":false,"as_of":{}'),
        (
            answers.Found(
                [
                    (DIRECT, structs.replace(LOG[5], as_of=9)),
                    (BOOKS, structs.replace(LOG[2], as_of=8)),
                    (BOOKS, structs.replace(LOG[2], as_of=7)),
                ],
                True,
                12,
            ),
            (
                '"entries":[{"event":"left","room":"@Bob","room_id":2,"seq":6,"name":"Bob","at":"2026-03-02T10:02:00.123Z"},'
                + ",".join([BOB_JOINED] * 2)
                + '],"more":true,"before":12,"as_of":{"@Bob":9,"books":7}'
            ),
        ),
        (answers.TokenMade("laptop", "ct_abc"), '"label":"laptop","token":"ct_abc"'),
        (answers.TokenMade("a", "ct_a", AT), '"label":"a","token":"ct_a","expires":"2026-03-02T10:02:00.123Z"'),
        (
            answers.TokenList([answers.TokenLine("a", AT), answers.TokenLine("b", AT, AT, AT, True, "@Bob")]),
            (
                '"tokens":[{"label":"a","created":"2026-03-02T10:02:00.123Z"},{"label":"b",'
                '"created":"2026-03-02T10:02:00.123Z","last_used":"2026-03-02T10:02:00.123Z",'
                '"expires":"2026-03-02T10:02:00.123Z","read_only":true,"room":"@Bob"}]'
            ),
        ),
        (
            answers.BanList(
                [
                    answers.BanLine("bob", None, None, "ana", ""),
                    answers.BanLine(None, "192.0.2.0/24", AT, "ana", "spam"),
                ]
            ),
            (
                '"bans":[{"name":"bob","by":"ana"},{"address":"192.0.2.0/24",'
                '"until":"2026-03-02T10:02:00.123Z","by":"ana","reason":"spam"}]'
            ),
        ),
        (answers.Exported({"name": "ana"}, [], "9:1"), '"account":{"name":"ana"},"entries":[],"next":"9:1"'),
        (
            answers.Exported(None, [(BOOKS, LOG[2])], None),
            (
                '"entries":[{"event":"joined","room":"books","room_id":1,"seq":3,"name":"Bob","at":"2026-03-02T10:02:00.123Z"}]'
            ),
        ),
    ],
)
def test_answers(answer: Answer, fields: str) -> None:
    """An answer is `ok`, the tag if there was one, the name of the command, and its fields, on one compact line."""
    rest = "," + fields if fields else ""
    assert answered(None, answer).decode() == '{"ok":true' + rest + "}\r\n"
    assert answered(7, answer).decode() == '{"ok":true,"tag":7' + rest + "}\r\n"
    assert answered('"', answer).decode() == '{"ok":true,"tag":"\\""' + rest + "}\r\n"
    named = JSONL.answer(Asked(7, 1, "ana", cmd="topic"), answer)
    assert named.decode() == '{"ok":true,"tag":7,"cmd":"topic"' + rest + "}\r\n"


def test_help_names_the_commands() -> None:
    """A program that asks for help gets the names of the commands."""
    [answer] = read(answered(None, answers.HelpText()))
    assert "say" in answer["commands"]


@pytest.mark.parametrize("why", Why)
def test_refusals(why: Why) -> None:
    """A refusal has an error word and a sentence, and says so if the same command may succeed later."""
    retry = ',"retry":true' if why.word in RETRYABLE else ""
    expected = '{"ok":false,"tag":4,"error":"' + why.word + '","text":"No."' + retry + "}\r\n"
    assert answered(4, answers.Refusal(why, Sentence(Why.UNDECODABLE, text="No."))).decode() == expected


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (events.Presence("bob", True), '{"event":"presence","name":"bob","online":true}'),
        (events.Presence("bob", True, "lunch"),
         '{"event":"presence","name":"bob","online":true,"away":"lunch"}'),
        (events.Invited("cellar", "bob"), '{"event":"invited","room":"cellar","by":"bob"}'),
        (events.ReadMark("a", 5, 3), '{"event":"read","room":"a","room_id":3,"seq":5}'),
        (events.Live("a", 5, 3), '{"event":"live","room":"a","room_id":3,"seq":5}'),
        (events.Skipped("a", 5, 7, 3), '{"event":"skipped","room":"a","room_id":3,"from":5,"first":7}'),
        (events.Typing("a", "bob", 3), '{"event":"typing","room":"a","room_id":3,"name":"bob"}'),
        (events.Notified("a", "all", 3), '{"event":"prefer","room":"a","room_id":3,"notify":"all"}'),
        (events.Pinged(), '{"event":"ping"}'),
        (events.Closing("quit", "Bye."), '{"event":"closing","reason":"quit","text":"Bye."}'),
        (events.Closing("shutdown", "Back soon.", 7),
         '{"event":"closing","reason":"shutdown","text":"Back soon.","retry":7}'),
    ],
)  # fmt: skip
def test_news(item: News, line: str) -> None:
    """News begins with `event`, followed by the fields that the protocol lists."""
    assert JSONL.news(item).decode() == line + "\r\n"


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (datetime(2026, 3, 2, tzinfo=UTC), "2026-03-02T00:00:00.000Z"),
        (datetime(2026, 3, 2, 1, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2))), "2026-03-01T23:00:00.999Z"),
    ],
)
def test_times(at: datetime, shown: str) -> None:
    """A time is UTC with milliseconds, even on a full second or from another zone."""
    [answer] = read(answered(None, answers.Said("a", 1, at)))
    assert answer["at"] == shown


@given(st.lists(st.text(), max_size=4))
def test_every_line_is_clean(texts: Sequence[str]) -> None:
    """Whatever message passes validation, its entry is one line without control characters, and reads back."""
    said = []
    for text in texts:
        try:
            said.append(message_text(text))
        except Refused:
            pass
    shown = read(entries(BOOKS, [Entry(1, events.MESSAGE, 1, "ana", AT, text) for text in said], 1))
    assert [entry["text"] for entry in shown] == said
