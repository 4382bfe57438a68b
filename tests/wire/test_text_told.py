"""The dialect of people: answers and events to lines."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from chatserver import events
from chatserver.errors import ErrorWord
from chatserver.events import Answer, Entry, News, RoomFacts
from chatserver.wire import text

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)
BOOKS = RoomFacts(1, "books")
DIRECT = RoomFacts(2, "1:2", events.DIRECT, ((1, "ana"), (2, "Bob")))
MORNING = events.Log(BOOKS, [Entry(1, events.MESSAGE, 2, "Bob", AT, "morning")], False)


@pytest.mark.parametrize(
    ("entry", "lines"),
    [
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "morning"), "[books] 10:02 Bob: morning"),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "a\n\n* b"), "[books] 10:02 Bob: a\r\n   | \r\n   | * b"),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "/me waves"), "[books] 10:02 * Bob waves"),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "/etc/hosts"), "[books] 10:02 Bob: /etc/hosts"),
        (Entry(1, events.MESSAGE, 0, "", AT, "Maintenance at noon."), "[books] 10:02 * Maintenance at noon."),
        (Entry(1, events.JOINED, 2, "Bob", AT), "[books] 10:02 -- Bob joined"),
        (Entry(1, events.LEFT, 2, "Bob", AT), "[books] 10:02 -- Bob left"),
        (Entry(1, events.TOPIC, 2, "Bob", AT, "news"), "[books] 10:02 -- Bob set the topic: news"),
        (Entry(1, events.TOPIC, 2, "Bob", AT, ""), "[books] 10:02 -- Bob removed the topic"),
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
            "[books] 10:02 -- Bob is a moderator now (by ana)",
        ),
        (Entry(1, events.ROLE, 0, "", AT, "owner", target="Bob"), "[books] 10:02 -- Bob is an owner now"),
        (Entry(1, events.EDITED, 1, "ana", AT, "new\ntext", of=41), "[books] 10:02 ana (edited #41): new\r\n   | text"),
        (Entry(1, events.EDITED, 1, "ana", AT, "/me waves", of=41), "[books] 10:02 * ana waves (edited #41)"),
        (Entry(1, events.EDITED, 1, "ana", AT, "", of=41), "[books] 10:02 -- ana edited #41"),
        (Entry(1, events.ERASED, 1, "ana", AT, of=41), "[books] 10:02 -- ana erased #41"),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "a\nb", state="edited"), "[books] 10:02 Bob: a\r\n   | b (edited)"),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "/me waves", state="edited"), "[books] 10:02 * Bob waves (edited)"),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "left over", state="erased"), "[books] 10:02 -- erased"),
    ],
)
def test_entries(entry: Entry, lines: str) -> None:
    """An entry is a line that begins with its room and time; what follows of a message goes on behind a bar."""
    assert text.entries(BOOKS, [entry], 1, UTC).decode() == lines + "\r\n"


def test_unknown_kind() -> None:
    """An entry that nobody can tell of is a fault, not a line."""
    with pytest.raises(ValueError, match="future"):
        text.entries(BOOKS, [Entry(1, "future", 2, "Bob", AT)], 1, UTC)


def test_entries_for_their_viewer() -> None:
    """Each of two people calls their room by the other's name, and the hours are those of the zone."""
    said = [Entry(1, events.MESSAGE, 2, "Bob", AT, "hi")]
    assert text.entries(DIRECT, said, 1, UTC) == b"[@Bob] 10:02 Bob: hi\r\n"
    assert text.entries(DIRECT, said, 2, timezone(timedelta(hours=-11))) == b"[@ana] 23:02 Bob: hi\r\n"


def test_history() -> None:
    """History has the numbers by which one edits, the dates above where there is more than one, and how to go on."""
    evening = Entry(41, events.MESSAGE, 2, "Bob", AT.replace(hour=23), "late")
    morning = Entry(42, events.MESSAGE, 2, "Bob", AT.replace(day=3, hour=1), "early\nbird")
    shown = text.reply(events.Log(BOOKS, [evening, morning], True), "ana", 1, UTC)
    assert shown.decode().split("\r\n") == [
        "* More: /history books before=41",
        "* Monday 2 March 2026",
        "[books] #41 23:02 Bob: late",
        "* Tuesday 3 March 2026",
        "[books] #42 01:02 Bob: early",
        "   | bird",
        "",
    ]
    assert text.reply(events.Log(BOOKS, [evening], False), "ana", 1, UTC) == b"[books] #41 23:02 Bob: late\r\n"
    assert text.reply(events.Log(DIRECT, [evening], False), "ana", 1, UTC) == b"[@Bob] #41 23:02 Bob: late\r\n"
    assert text.reply(events.Log(BOOKS, [], False), "ana", 1, UTC) == b"* There is nothing to show of books.\r\n"


@pytest.mark.parametrize(
    ("answer", "lines"),
    [
        (events.Done(), []),
        (events.Done("The server is there."), ["* The server is there."]),
        (events.Said("books", 5, AT), []),
        (events.Refusal(ErrorWord.EMPTY, "Nothing was sent."), ["! Nothing was sent."]),
        (
            events.Welcome("ana", [events.RoomStatus("general", 9, 6), events.RoomStatus("@bob", 7, 7)]),
            [
                "* Hello ana. You are in general. Type to talk; /help for the rest.",
                "* Your rooms: general (3 unread), @bob",
            ],
        ),
        (
            events.Welcome(
                "ana",
                [events.RoomStatus("general", 9, 9)],
                invitations=[events.Invited("cellar", "bob"), events.Invited("attic", "cai")],
            ),
            [
                "* Hello ana. You are in general. Type to talk; /help for the rest.",
                "* You are invited to cellar by bob: /join cellar",
                "* You are invited to attic by cai: /join attic",
            ],
        ),
        (
            events.Welcome("ana", [events.RoomStatus("general", 9, 9)], True, "general", ["bob", "cai"]),
            ["* Hello ana. You are in general with bob and cai. Type to talk; /help for the rest."],
        ),
        (
            events.Welcome("ana", [events.RoomStatus("books", 9, 9)], False, "books", [], events.Log(BOOKS, [], False)),
            ["* Hello ana. You are in books. Type to talk; /help for the rest."],
        ),
        (
            events.Welcome("ana", [events.RoomStatus("books", 9, 9)], False, "books", [], MORNING),
            ["* Hello ana. You are in books. Type to talk; /help for the rest.", "[books] 10:02 Bob: morning"],
        ),
        (
            events.Welcome("ana", []),
            ["* Hello ana. You are in no room yet: /rooms lists them, /join ROOM enters one."],
        ),
        (events.Joined("books", 5, 5, ["cai"], 3), ["* You are in books with 4 others. 3 unread:"]),
        (
            events.Joined("books", 5, 2, ["cai"], 1, recent=MORNING),
            ["* You are in books with cai. 1 unread:", "[books] 10:02 Bob: morning"],
        ),
        (
            events.Joined("books", 5, 2, ["cai"], 9, recent=MORNING),
            ["* You are in books with cai. 9 unread, the last 1:", "[books] 10:02 Bob: morning"],
        ),
        (events.Joined("books", 5, 3, ["ana", "bob", "cai"]), ["* You are in books with bob and cai."]),
        (events.Joined("books", 5, 2, ["bob"]), ["* You are in books with bob."]),
        (events.Joined("books", 5, 2, []), ["* You are in books with 1 other."]),
        (events.Joined("books", 5, 4, ["a", "b", "c"]), ["* You are in books with a, b and c."]),
        (events.Joined("books", 5, 7, list("abcdef")), ["* You are in books with 6 others."]),
        (
            events.Joined("books", 5, 1, ["ana"], topic="What we read"),
            ["* The topic of books: What we read", "* You are in books, and nobody else is yet."],
        ),
        (events.Joined("@bob", 5, 2, ["bob"]), ["* You are in @bob."]),
        (events.Left("books"), ["* You left books."]),
        (events.Created("books", 1), ["* You made books, and it is yours."]),
        (events.Looked("@bob"), ["* What you type goes to @bob now."]),
        (events.TopicSet("books", 5), ["* The topic of books is set."]),
        (events.Marked("books", 5), ["* You have read books up to 5."]),
        (events.Changed("books", 5), []),
        (events.Changed("books", 5, "bob is out."), ["* bob is out."]),
        (events.Changed("books"), ["* Done."]),
        (events.Changed("books", None, "bob is invited."), ["* bob is invited."]),
        (
            events.TokenMade("my laptop", "ct_abc"),
            ["* Token my laptop: ct_abc", "* It is shown only now. A program comes in with /token and this."],
        ),
        (events.Found([], False), ["* Nothing was found."]),
        (
            events.Found(
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
                "* More: the same /search with before=812 in front of its words.",
            ],
        ),
        (
            events.Exported({"name": "ana", "created": "2026-03-02"}, [(BOOKS, MORNING.entries[0])], "9:1"),
            [
                "* account name: ana",
                "* account created: 2026-03-02",
                "* Monday 2 March 2026",
                "[books] #1 10:02 Bob: morning",
                "* More: /export 9:1",
            ],
        ),
        (events.Exported(None, [], None), ["* That is all."]),
    ],
)
def test_answers(answer: Answer, lines: list[str]) -> None:
    """Every answer is notices for a person, or nothing where they see it done."""
    assert text.reply(answer, "ana", 1, UTC).decode() == "".join(line + "\r\n" for line in lines)


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (events.Presence("bob", True), b"* bob is here.\r\n"),
        (events.Presence("bob", True, "lunch"), b"* bob is away: lunch\r\n"),
        (events.Invited("cellar", "bob"), b"* bob invites you to cellar: /join cellar\r\n"),
        (events.Presence("bob", False), b"* bob has gone.\r\n"),
        (events.Closing("shutdown", "Back soon.", 7), b"* Back soon.\r\n"),
        (events.Live("books", 5), b""),
        (events.ReadMark("books", 5), b""),
        (events.Pinged(), b""),
    ],
)
def test_news(item: News, line: bytes) -> None:
    """People are told what concerns people."""
    assert text.news(item) == line


def test_date_line() -> None:
    """The date is in English whatever the machine's locale."""
    assert text.date_line(date(2026, 3, 2)) == b"* Monday 2 March 2026\r\n"


def says(text: str, author: str = "bob") -> Entry:
    return Entry(1, events.MESSAGE, 2, author, AT, text)


@pytest.mark.parametrize(
    ("typed", "mentioned"),
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
def test_mentions(typed: str, mentioned: bool) -> None:
    """One's name is marked where somebody else says it as a word of its own, in whatever case."""
    assert text.mentions("ana", [says("hi"), says(typed)]) is mentioned
    assert ("ana" in text.mentioned([says(typed)])) is mentioned
    [shown] = text.entries(BOOKS, [says(typed)], 1, UTC, "ana").decode().split("\r\n   | ")[:1]
    assert shown.startswith("[books] 10:02 » ") is mentioned


def test_no_mentions() -> None:
    """What one says oneself mentions nobody, nor does what happens; and nothing is marked for who is not named."""
    joined = Entry(2, events.JOINED, 3, "cai", AT)
    assert not text.mentions("ana", [says("I am ana", "Ana"), joined])
    assert not text.mentions("cai", [joined])
    assert text.mentions("~12", [says("hello ~12")])
    shown = text.entries(BOOKS, [says("ana?"), says("ana", "ana"), joined], 1, UTC, "ana").decode()
    assert shown.splitlines() == ["[books] 10:02 » bob: ana?", "[books] 10:02 ana: ana", "[books] 10:02 -- cai joined"]
    assert text.entries(BOOKS, [says("ana?")], 1, UTC) == b"[books] 10:02 bob: ana?\r\n"
