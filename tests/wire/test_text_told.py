"""The dialect of people: answers and events to lines."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest
from msgspec import structs

from chatserver.values import answers, events
from chatserver.values.answers import Answer
from chatserver.values.errors import Sentence, Why
from chatserver.values.events import Entry, News, Quote, RoomFacts
from chatserver.values.mentions import Mentions, mentions, words_said
from chatserver.wire.dialect import PLAIN, Asked, Form
from chatserver.wire.screen import Screen
from chatserver.wire.text import Text
from chatserver.wire.text.shown.layout import date_line
from chatserver.wire.text.shown.terminal import Terminal
from tests.support.sentences import written

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)
BOOKS = RoomFacts(1, "books")
DIRECT = RoomFacts(2, "1:2", events.DIRECT, ((1, "ana"), (2, "Bob")))
TEXT = Text(UTC)
MORNING = answers.Log(BOOKS, [Entry(1, events.MESSAGE, 2, "Bob", AT, "morning")], False)

MORE_MENTIONS = "* More: /mentions before=812"
BOT = Entry(1, events.MESSAGE, 2, "deploy", AT, "done", bot=True)
NAMED = Entry(1, events.MESSAGE, 2, "jose", AT, "hola", display="José Müller")
REPLY = Entry(9, events.MESSAGE, 1, "ana", AT, "yes", of=8, quote=events.Quote("bob", "", "shall we\ngo?", 2))


def entries(facts: RoomFacts, entries: Sequence[Entry], viewer: int, zone: tzinfo = UTC) -> bytes:
    """All of the day that is on screen already."""
    dialect = Text(zone)
    day = entries[0].at.astimezone(zone).date()
    return dialect.entries(facts, entries, Form(dialect, PLAIN, day, viewer)).data


def answered(answer: Answer) -> bytes:
    return TEXT.answer(Asked(None, 1, "ana"), answer)


@pytest.mark.parametrize(
    ("entry", "lines"),
    [
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "morning"), "[books] 10:02 Bob: morning"),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "a\n\n* b"), "[books] 10:02 Bob: a\r\n   | \r\n   | * b"),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "/me waves"), "[books] 10:02 ~ Bob waves"),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "/etc/hosts"), "[books] 10:02 Bob: /etc/hosts"),
        (Entry(1, events.MESSAGE, 0, "", AT, "Maintenance at noon."), "[books] 10:02 * Maintenance at noon."),
        (Entry(1, events.JOINED, 2, "Bob", AT), "[books] 10:02 -- Bob joined"),
        (Entry(1, events.LEFT, 2, "Bob", AT), "[books] 10:02 -- Bob left"),
        (Entry(1, events.TOPIC, 2, "Bob", AT, "news"), "[books] 10:02 -- Bob set the topic: news"),
        (Entry(1, events.TOPIC, 2, "Bob", AT, ""), "[books] 10:02 -- Bob removed the topic"),
        (
            Entry(1, events.TOPIC, 7, "erased-7", AT, "", state=events.ERASED),
            "[books] 10:02 -- erased-7 set the topic",
        ),
        (Entry(1, events.CREATED, 2, "Bob", AT, "news"), "[books] 10:02 -- Bob created the room: news"),
        (Entry(1, events.CREATED, 0, "", AT), "[books] 10:02 -- the server created the room"),
        (Entry(1, events.DELETED, 2, "Bob", AT), "[books] 10:02 -- Bob deleted the room"),
        (Entry(1, events.SET, 2, "Bob", AT, "past=open"), "[books] 10:02 -- Bob set: past open"),
        (
            Entry(1, events.SET, 2, "Bob", AT, "past=open,invites=members"),
            "[books] 10:02 -- Bob set: past open, invites members",
        ),
        (
            Entry(1, events.KICKED, 1, "ana", AT, "spam", target="Bob"),
            "[books] 10:02 -- Bob was kicked by ana: spam",
        ),
        (Entry(1, events.KICKED, 0, "", AT, target="Bob"), "[books] 10:02 -- Bob was kicked by the server"),
        (
            Entry(1, events.BANNED, 1, "ana", AT, "spam", target="Bob"),
            "[books] 10:02 -- Bob was banned by ana: spam",
        ),
        (Entry(1, events.UNBANNED, 1, "ana", AT, target="Bob"), "[books] 10:02 -- Bob was unbanned by ana"),
        (Entry(1, events.MUTED, 1, "ana", AT, target="Bob"), "[books] 10:02 -- Bob was muted by ana"),
        (
            Entry(1, events.MUTED, 1, "ana", AT, "2026-03-02T10:30:00.000Z", target="Bob"),
            "[books] 10:02 -- Bob was muted by ana until 10:30",
        ),
        (
            Entry(1, events.MUTED, 1, "ana", AT, "2026-03-03T10:30:00.000Z", target="Bob"),
            "[books] 10:02 -- Bob was muted by ana until 10:30 on Tuesday 3 March 2026",
        ),
        (Entry(1, events.UNMUTED, 1, "ana", AT, target="Bob"), "[books] 10:02 -- Bob was unmuted by ana"),
        (
            Entry(1, events.ROLE, 1, "ana", AT, "moderator", target="Bob"),
            "[books] 10:02 -- Bob is now a moderator (by ana)",
        ),
        (Entry(1, events.ROLE, 0, "", AT, "owner", target="Bob"), "[books] 10:02 -- Bob is now an owner"),
        (Entry(1, events.EDITED, 1, "ana", AT, "new\ntext", of=41), "[books] 10:02 ana (edited #41): new\r\n   | text"),
        (Entry(1, events.EDITED, 1, "ana", AT, "/me waves", of=41), "[books] 10:02 ~ ana waves (edited #41)"),
        (Entry(1, events.EDITED, 1, "ana", AT, "", of=41), "[books] 10:02 -- ana edited #41"),
        (Entry(1, events.ERASED, 1, "ana", AT, of=41), "[books] 10:02 -- ana erased #41"),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "a\nb", state="edited"), "[books] 10:02 Bob: a\r\n   | b (edited)"),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "/me waves", state="edited"), "[books] 10:02 ~ Bob waves (edited)"),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "left over", state="erased"), "[books] 10:02 -- erased"),
        (BOT, "[books] 10:02 deploy (bot): done"),
        (structs.replace(BOT, display="Deploy Robot"), "[books] 10:02 Deploy Robot (deploy, bot): done"),
        (NAMED, "[books] 10:02 José Müller (jose): hola"),
        (structs.replace(NAMED, text="/me waves"), "[books] 10:02 ~ José Müller (jose) waves"),
        (structs.replace(NAMED, kind=events.JOINED), "[books] 10:02 -- José Müller (jose) joined"),
        (REPLY, "[books] 10:02 ana (re #8 bob: shall we go?): yes"),
        (structs.replace(REPLY, quote=None), "[books] 10:02 ana (re #8): yes"),
        (structs.replace(REPLY, quote=events.Quote("bob", "", "", 2)), "[books] 10:02 ana (re #8 bob): yes"),
        (structs.replace(REPLY, quote=events.Quote("", "", "", 2, hidden=True)), "[books] 10:02 ana (re #8): yes"),
        (structs.replace(REPLY, quote=events.Quote("", "", "hi")), "[books] 10:02 ana (re #8 the server: hi): yes"),
        (structs.replace(REPLY, quote=events.Quote("bob", "", "ok שלום", 2)), "[books] 10:02 ana (re #8 bob): yes"),
        (structs.replace(REPLY, text="/me nods"), "[books] 10:02 (re #8 bob: shall we go?) ~ ana nods"),
        (
            structs.replace(REPLY, reactions=(("+1", 3), (":)", 1)), state="edited"),
            "[books] 10:02 ana (re #8 bob: shall we go?) [+1 ×3, :) ×1]: yes (edited)",
        ),
        (structs.replace(BOT, reactions=(("+1", 3),)), "[books] 10:02 deploy (bot) [+1 ×3]: done"),
        (Entry(1, events.REACTED, 1, "ana", AT, "+1", of=8), "[books] 10:02 -- ana reacted to #8: +1"),
        (
            Entry(1, events.UNREACTED, 1, "ana", AT, "+1", of=8),
            "[books] 10:02 -- ana took back the reaction to #8: +1",
        ),
        (
            Entry(1, events.REACTED, 1, "ana", AT, "+1", of=8, quote=Quote("bob", "", "a) * ana left", 2)),
            "[books] 10:02 -- ana reacted to #8 (bob: a| * ana left): +1",
        ),
        (
            Entry(1, events.REACTED, 1, "ana", AT, "+1", of=8, quote=Quote("", "", "", 2, hidden=True)),
            "[books] 10:02 -- ana reacted to #8: +1",
        ),
        (Entry(1, events.PINNED, 1, "ana", AT, of=8), "[books] 10:02 -- ana pinned #8"),
        (
            Entry(1, events.PINNED, 1, "ana", AT, of=8, quote=Quote("bob", "", "", 2)),
            "[books] 10:02 -- ana pinned #8 (bob)",
        ),
        (Entry(1, events.UNPINNED, 1, "ana", AT, of=8), "[books] 10:02 -- ana unpinned #8"),
        (Entry(1, events.RENAMED, 1, "ana", AT, "ana anna"), "[books] 10:02 -- ana is now called anna"),
        (
            Entry(1, events.RENAMED, 1, "ana", AT, "ana anna Anna María"),
            "[books] 10:02 -- ana is now called Anna María (anna)",
        ),
    ],
)
def test_entries(entry: Entry, lines: str) -> None:
    """An entry is a line that begins with its room and time; further lines of a message follow a bar."""
    assert entries(BOOKS, [entry], 1).decode() == lines + "\r\n"


def test_unknown_kind() -> None:
    """An entry of an unknown kind is a bug, not a line."""
    future: Any = "future"
    with pytest.raises(ValueError, match="future"):
        entries(BOOKS, [Entry(1, future, 2, "Bob", AT)], 1)


def test_entries_for_their_viewer() -> None:
    """In a direct room each of the two sees the other's name, and times are those of the zone."""
    said = [Entry(1, events.MESSAGE, 2, "Bob", AT, "hi")]
    assert entries(DIRECT, said, 1) == b"[@Bob] 10:02 Bob: hi\r\n"
    assert entries(DIRECT, said, 2, timezone(timedelta(hours=-11))) == b"[@ana] 23:02 Bob: hi\r\n"


def test_history() -> None:
    """History shows the numbers that `/edit` takes, the dates if there are several, and how to get more."""
    evening = Entry(41, events.MESSAGE, 2, "Bob", AT.replace(hour=23), "late")
    morning = Entry(42, events.MESSAGE, 2, "Bob", AT.replace(day=3, hour=1), "early\nbird")
    shown = answered(answers.Log(BOOKS, [evening, morning], True))
    assert shown.decode().split("\r\n") == [
        "* More: /history books before=41",
        "* Monday 2 March 2026",
        "[books] #41 23:02 Bob: late",
        "* Tuesday 3 March 2026",
        "[books] #42 01:02 Bob: early",
        "   | bird",
        "",
    ]
    assert answered(answers.Log(BOOKS, [evening], False)) == b"[books] #41 23:02 Bob: late\r\n"
    assert answered(answers.Log(DIRECT, [evening], False)) == b"[@Bob] #41 23:02 Bob: late\r\n"
    assert answered(answers.Log(BOOKS, [], False)) == b"* There is nothing to show in books.\r\n"


@pytest.mark.parametrize(
    ("answer", "lines"),
    [
        (answers.Done(), []),
        (answers.Done(written("The server is there.")), ["* The server is there."]),
        (answers.Said("books", 5, AT), []),
        (
            answers.Refusal(Why.EMPTY_MESSAGE, Sentence(Why.EMPTY_MESSAGE)),
            ["! The message is empty. Nothing was sent."],
        ),
        (
            answers.Welcome(
                "ana",
                [
                    answers.RoomStatus("general", 9, 6, unread=answers.Unread(3, 3)),
                    answers.RoomStatus("@bob", 7, 7, unread=answers.Unread()),
                ],
            ),
            [
                "* Hello ana. You are in general. Type to talk; /help for the rest.",
                "* Times are in UTC.",
                "* Your rooms: general (3 unread), @bob",
            ],
        ),
        (
            answers.Welcome(
                "ana",
                [answers.RoomStatus("general", 9, 9)],
                invitations=[events.Invited("cellar", "bob"), events.Invited("attic", "cai")],
            ),
            [
                "* Hello ana. You are in general. Type to talk; /help for the rest.",
                "* Times are in UTC.",
                "* bob invited you to cellar: /join cellar",
                "* cai invited you to attic: /join attic",
            ],
        ),
        (
            answers.Welcome("ana", [answers.RoomStatus("general", 9, 9)], current="general", others=["bob", "cai"]),
            [
                "* Hello ana. You are in general with bob and cai.",
                "* Type to talk; /help for the rest.",
                "* Times are in UTC.",
            ],
        ),
        (
            answers.Welcome(
                "ana", [answers.RoomStatus("books", 9, 9)], current="books", recent=answers.Log(BOOKS, [], False)
            ),
            ["* Hello ana. You are in books. Type to talk; /help for the rest.", "* Times are in UTC."],
        ),
        (
            answers.Welcome("ana", [answers.RoomStatus("books", 9, 9)], current="books", recent=MORNING),
            [
                "* Hello ana. You are in books. Type to talk; /help for the rest.",
                "* Times are in UTC.",
                "[books] 10:02 Bob: morning",
            ],
        ),
        (
            answers.Welcome("ana", []),
            ["* Hello ana. You are in no room yet: /rooms lists them, /join ROOM joins one.", "* Times are in UTC."],
        ),
        (answers.Joined("books", 5, 5, ["cai"], 3), ["* You are in books with 4 others. 3 unread:"]),
        (
            answers.Joined("books", 5, 2, ["cai"], 1, recent=MORNING),
            ["* You are in books with cai. 1 unread:", "[books] 10:02 Bob: morning"],
        ),
        (
            answers.Joined("books", 5, 2, ["cai"], 9, recent=MORNING),
            [
                "* You are in books with cai.",
                "* 9 unread in books, the last 1 follow. /unread books shows all",
                "[books] 10:02 Bob: morning",
            ],
        ),
        (
            answers.Missed("books", 1, MORNING),
            ["* 1 unread in books:", "[books] #1 10:02 Bob: morning"],
        ),
        (answers.Joined("books", 5, 3, ["ana", "bob", "cai"]), ["* You are in books with bob and cai."]),
        (answers.Joined("books", 5, 2, ["bob"]), ["* You are in books with bob."]),
        (answers.Joined("books", 5, 2, []), ["* You are in books with 1 other."]),
        (answers.Joined("books", 5, 4, ["a", "b", "c"]), ["* You are in books with a, b and c."]),
        (answers.Joined("books", 5, 7, list("abcdef")), ["* You are in books with 6 others."]),
        (
            answers.Joined("books", 5, 1, ["ana"], topic="What we read"),
            ["* The topic of books: What we read", "* You are in books. Nobody else is here yet."],
        ),
        (answers.Joined("@bob", 5, 2, ["bob"]), ["* You are in @bob."]),
        (answers.Left("books"), ["* You left books."]),
        (answers.Created("books", 1), ["* You created books and own it."]),
        (answers.Looked("@bob"), ["* What you type now goes to @bob."]),
        (answers.TopicSet("books", 5), ["* The topic of books is set."]),
        (answers.TopicShown("books", "what we  read"), ["* The topic of books: what we  read"]),
        (answers.TopicShown("books", ""), ["* books has no topic."]),
        (answers.Renamed("anna"), ["* You are now called anna."]),
        (answers.Renamed("anna", "Anna María"), ["* You are now called Anna María (anna)."]),
        (answers.Ignoring([]), ["* You ignore nobody."]),
        (answers.Ignoring(["bob", "cai"]), ["* You ignore: bob, cai"]),
        (answers.Whereabouts("books", []), ["* What you type now goes to books."]),
        (
            answers.Whereabouts("books", ["@bob", "general"]),
            ["* What you type now goes to books.", "* Your other rooms: @bob, general"],
        ),
        (
            answers.Whereabouts("", []),
            [
                "* What you type now goes nowhere: you are in no room. /rooms lists them, /join",
                "   | ROOM joins one.",
            ],
        ),
        (
            answers.Preferences(now=AT),
            [
                "* Setting   Value",
                "* timezone  UTC (as the server)",
                "* clock     24 (default)",
                "* bell      off (default)",
                "* numbers   off (default)",
                "* It is 10:02 on Monday 2 March 2026. /help set explains these.",
            ],
        ),
        (
            answers.Preferences("Asia/Tokyo", "12", "mentions", "on", AT.replace(hour=16)),
            [
                "* Setting   Value",
                "* timezone  Asia/Tokyo",
                "* clock     12",
                "* bell      mentions",
                "* numbers   on",
                "* It is 1:02 am on Tuesday 3 March 2026. /help set explains these.",
            ],
        ),
        (answers.Marked("books", 5), ["* You have read books up to 5."]),
        (answers.Changed("books", 5), []),
        (answers.Changed("books", 5, written("bob is out.")), ["* bob is out."]),
        (answers.Changed("books"), ["* Done."]),
        (answers.Changed("books", None, written("You invited bob to books.")), ["* You invited bob to books."]),
        (
            answers.TokenMade("my laptop", "ct_abc"),
            ["* Token my laptop: ct_abc", "* Copy it now: it is not shown again. A program logs in with /token TOKEN."],
        ),
        (
            answers.TokenMade("bot", "ct_abc", AT),
            [
                "* Token bot: ct_abc",
                "* Copy it now: it is not shown again. A program logs in with /token TOKEN.",
                "* It expires on 2026-03-02 10:02.",
            ],
        ),
        (answers.ReactionList("books", 41, []), ["* Nobody reacts to #41."]),
        (
            answers.ReactionList(
                "books",
                41,
                [answers.ReactionLine("+1", 3, ["ana", "bob"], True), answers.ReactionLine("🎉", 1, [])],
            ),
            ["* +1 ×3: ana, bob, 1 more", "* 🎉 ×1: 1"],
        ),
        (answers.Found([], False), ["* Nothing was found."]),
        (answers.Found([], False, command="mentions"), ["* Nobody has mentioned you."]),
        (answers.Found([], True, 812, command="mentions"), ["* Nobody has mentioned you so far.", MORE_MENTIONS]),
        (answers.Found([], False, command="pins"), ["* Nothing is pinned here."]),
        (
            answers.Found(
                [
                    (DIRECT, Entry(7, events.MESSAGE, 2, "Bob", AT.replace(day=3), "lunch, ana?")),
                    (BOOKS, Entry(41, events.MESSAGE, 1, "ana", AT, "lunch", state="edited")),
                ],
                True,
                812,
            ),
            [
                "* Tuesday 3 March 2026",
                "[@Bob] #7 10:02 » Bob: lunch, ana?",
                "* Monday 2 March 2026",
                "[books] #41 10:02 ana: lunch (edited)",
                "* More: repeat the /search with before=812 in front of the words.",
            ],
        ),
        (
            answers.Exported({"name": "ana", "created": "2026-03-02"}, [(BOOKS, MORNING.entries[0])], "9:1"),
            [
                "* account name: ana",
                "* account created: 2026-03-02",
                "* Monday 2 March 2026",
                "[books] #1 10:02 Bob: morning",
                "* More: /export 9:1",
            ],
        ),
        (answers.Exported(None, [], None), ["* That is all."]),
    ],
)
def test_answers(answer: Answer, lines: list[str]) -> None:
    """To a person, an answer is notices, or nothing if the result shows anyway."""
    assert answered(answer).decode() == "".join(line + "\r\n" for line in lines)


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (events.Presence("bob", True), b"* bob is here.\r\n"),
        (events.Presence("bob", True, "lunch"), b"* bob is away: lunch\r\n"),
        (events.Invited("cellar", "bob"), b"* bob invites you to cellar: /join cellar\r\n"),
        (events.Presence("bob", False), b"* bob has gone.\r\n"),
        (events.Closing("shutdown", "Back soon.", 7), b"* Back soon.\r\n"),
        (events.Turned("books"), b"* What you type now goes to books.\r\n"),
        (events.Live("books", 5), b""),
        (events.ReadMark("books", 5), b""),
        (events.Pinged(), b""),
    ],
)
def test_news(item: News, line: bytes) -> None:
    """People get the news that concerns people."""
    assert TEXT.news(item) == line


def test_date_line() -> None:
    """The date is in English, whatever the locale."""
    assert date_line(date(2026, 3, 2), Terminal()) == b"* Monday 2 March 2026\r\n"


def says(text: str, author: str = "bob") -> Entry:
    return Entry(1, events.MESSAGE, 2, author, AT, text)


@pytest.mark.parametrize(
    ("typed", "marked"),
    [
        ("ana: lunch?", True),
        ("lunch, ANA", True),
        ("@Ana!", True),
        ("it is ana's", True),
        ("_ana_", True),
        ("first\nana", True),
        ("/me looks at ana", True),
        ("banana", False),
        ("anatomy", False),
        ("ana-lena", False),
        ("žana", False),
        ("~ana", False),
        ("", False),
    ],
)
def test_mentions(typed: str, marked: bool) -> None:
    """An entry is marked if somebody else says your name in it as a whole word, in any case."""
    assert mentions("ana", says(typed)) is marked
    assert ("ana" in words_said([says(typed)])) is marked
    assert Mentions([says(""), says(typed)]).of("Ana") == ((1,) if marked else ())
    assert answered(answers.Log(BOOKS, [says(typed)], False)).decode().startswith("[books] #1 10:02 » ") is marked


def test_no_mentions() -> None:
    """Your own messages do not mention you, nor does anything but a message; without a name nothing is marked."""
    joined = Entry(2, events.JOINED, 3, "cai", AT)
    assert not mentions("ana", says("I am ana", "Ana"))
    assert not mentions("cai", joined)
    assert mentions("~12", says("hello ~12"))
    log = [says("ana?"), says("I am ana", "Ana"), joined]
    assert [Mentions(log).of(name) for name in ("ana", "cai", "i")] == [(0,), (), (1,)]
    shown = answered(answers.Log(BOOKS, log, False)).decode()
    assert shown.splitlines() == [
        "[books] #1 10:02 » bob: ana?", "[books] #1 10:02 Ana: I am ana", "[books] #2 10:02 -- cai joined"
    ]  # fmt: skip
    assert entries(BOOKS, [says("ana?")], 1) == b"[books] 10:02 bob: ana?\r\n"


def test_reactions_leave_the_words_where_they_are() -> None:
    """However long and however many the reactions to a message are, they take half a line at most, the most frequent
    ones first: nobody can push away what somebody else has said."""
    many = tuple((f"{n}{'本' * 30}", 1) for n in range(19))
    for columns in (40, 80):
        screen = Screen(columns=columns)
        said = Entry(1, events.MESSAGE, 2, "bob", AT, "hello", reactions=(*many, ("+1", 3)))
        shown = TEXT.entries(BOOKS, [said], Form(TEXT, PLAIN, AT.date(), screen=screen)).data.decode()
        assert shown.startswith("[books] 10:02 bob [+1 ×3, ")
        assert shown.endswith(", …]: hello\r\n")
        assert shown.count("\r\n") <= 2
