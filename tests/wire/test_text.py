"""The dialect of people."""

from datetime import UTC, date, datetime, timedelta, timezone
from unicodedata import category

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatserver import events
from chatserver.commands import (
    CURRENT,
    Command,
    Create,
    Help,
    History,
    Join,
    Leave,
    Login,
    Logout,
    Look,
    Members,
    Password,
    Ping,
    Quit,
    Read,
    Register,
    Rooms,
    Say,
    Topic,
    Unread,
    Who,
)
from chatserver.errors import ErrorWord, Refused
from chatserver.events import Answer, Entry, News, RoomFacts
from chatserver.wire import text
from chatserver.wire.help import ALIASES, OVERVIEW, PAGES
from chatserver.wire.hygiene import clean_line, message_text, topic_text
from chatserver.wire.textparse import BUILDERS, NEWEST

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)
BOOKS = RoomFacts(1, "books")
DIRECT = RoomFacts(2, "1:2", events.DIRECT, ((1, "ana"), (2, "Bob")))


MORNING = events.Log(BOOKS, [Entry(1, events.MESSAGE, 2, "Bob", AT, "morning")], False)


def refusal(line: str) -> Refused:
    with pytest.raises(Refused) as refused:
        text.parse(line)
    return refused.value


# Lines to commands


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("", None),
        ("   ", None),
        ("hello all ", Say(room=CURRENT, text="hello all")),
        ("  indented", Say(room=CURRENT, text="  indented")),
        ("a/b", Say(room=CURRENT, text="a/b")),
        ("//etc/hosts", Say(room=CURRENT, text="/etc/hosts")),
        ("///", Say(room=CURRENT, text="//")),
        ("/say Books hello  you", Say(room="books", text="hello  you")),
        ("/say #books /join x", Say(room="books", text="/join x")),
        ("/SAY @Bob hi", Say(room="@Bob", text="hi")),
        ("  /say books hi", Say(room="books", text="hi")),
        ("/me waves  twice", Say(room=CURRENT, text="/me waves  twice")),
        ("/msg Bob lunch?", Say(room="@Bob", text="lunch?")),
        ("/msg @Bob lunch?", Say(room="@Bob", text="lunch?")),
        ("/query bob lunch?", Say(room="@bob", text="lunch?")),
        ("/query bob", Look(room="@bob")),
        ("/look Books", Look(room="books")),
        ("/room books", Look(room="books")),
        ("/switch @bob", Look(room="@bob")),
        ("/join Books", Join(room="books")),
        ("/j #books 17", Join(room="books", since=17)),
        ("/leave", Leave(room=CURRENT)),
        ("/part #books", Leave(room="books")),
        ("/create Books", Create(room="books")),
        ("/create books private", Create(room="books", visibility="private")),
        ("/create books Public what we  read", Create(room="books", topic="what we  read")),
        ("/create books what we read", Create(room="books", topic="what we read")),
        ("/rooms", Rooms()),
        ("/list books", Rooms(after="books")),
        ("/history", History(room=CURRENT)),
        ("/history 20", History(room=CURRENT, limit=20)),
        ("/history books", History(room="books")),
        ("/history books 20", History(room="books", limit=20)),
        ("/history 20 books", History(room="books", limit=20)),
        ("/history 2024 20", History(room="2024", limit=20)),
        ("/history #2024", History(room="2024")),
        ("/members", Members(room=CURRENT)),
        ("/names books", Members(room="books")),
        ("/who", Who()),
        ("/whois @Bob", Who(name="Bob")),
        ("/read", Read(room=CURRENT, seq=NEWEST)),
        ("/read books", Read(room="books", seq=NEWEST)),
        ("/read books 5", Read(room="books", seq=5)),
        ("/read 5", Read(room=CURRENT, seq=5)),
        ("/unread", Unread()),
        ("/topic what we read", Topic(room=CURRENT, text="what we read")),
        ("/topic #books what we read", Topic(room="books", text="what we read")),
        ("/topic books and more", Topic(room=CURRENT, text="books and more")),
        ("/ping", Ping()),
        ("/quit so long", Quit()),
        ("/exit", Quit()),
        ("/Bye", Quit()),
        ("/logout", Logout()),
        ("/help", Help()),
        ("/help /part", Help(about="leave")),
        ("/password old new one", Password(old="old", new="new one")),
    ],
)
def test_commands(line: str, command: Command | None) -> None:
    """A line without a slash is said in the current room; with one it is a command, by its name or an alias."""
    assert text.parse(line) == command


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("/jion chess", "There is no /jion. Did you mean /join? Nothing was sent."),
        ("/xyzzy s3cret", "There is no /xyzzy. /help lists the commands. Nothing was sent."),
        (" /xyzzy", "There is no /xyzzy. /help lists the commands. Nothing was sent."),
        ("/", "There is no /. /help lists the commands. Nothing was sent."),
        ("/" + "x" * 33, "There is no /" + "x" * 32 + "…. /help lists the commands. Nothing was sent."),
        ("/help jion", "There is no /jion. Did you mean /join? Nothing was sent."),
        ("/join", "Usage: /join ROOM [SINCE]"),
        ("/join books soon", "Usage: /join ROOM [SINCE]"),
        ("/say books", "Usage: /say ROOM TEXT"),
        ("/me", "Usage: /me ACTION"),
        ("/topic", "Usage: /topic [#ROOM] TEXT"),
        ("/topic #books", "Usage: /topic [#ROOM] TEXT"),
        ("/history a b", "Usage: /history [ROOM] [LIMIT]"),
        ("/history 0", "Usage: /history [ROOM] [LIMIT]"),
        ("/read books " + "9" * 5000, "Usage: /read [ROOM] [SEQ]"),
        ("/read books " + "9" * 16, "Usage: /read [ROOM] [SEQ]"),
        ("/read books ٣", "Usage: /read [ROOM] [SEQ]"),
        ("/password new", "Usage: /password OLD NEW"),
        ("/login ana s3cret", "You are logged in already. To come in as somebody else, /logout first."),
        ("/register ana s3cret", "You are logged in already. To come in as somebody else, /logout first."),
    ],
)
def test_bad_commands(line: str, reason: str) -> None:
    """What is no command is never said to anybody, and the refusal names the remedy."""
    refused = refusal(line)
    assert (refused.error, refused.text) == (ErrorWord.BAD_COMMAND, reason)


def test_every_command_has_help() -> None:
    """Each command has a page and each page a command, aliases lead to commands, and all fits a terminal."""
    assert set(BUILDERS) == set(PAGES)
    assert set(ALIASES.values()) <= set(PAGES)
    assert not set(ALIASES) & set(PAGES)
    for name in PAGES:
        [shown] = text.reply(events.HelpText(name), "ana", 1, UTC).decode().splitlines()
        assert shown.startswith(f"* /{name}")
        assert len(shown) <= 110
    assert all(len(line) <= 78 for line in OVERVIEW.split("\n"))


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("ana", "ana"),
        (" Ana-Lena ", "Ana-Lena"),
        ("/login ana s3cret words", Login(name="ana", password="s3cret words")),
        ("/LOGIN  ana s3cret", Login(name="ana", password="s3cret")),
        ("/register Ana s3cret", Register(name="Ana", password="s3cret")),
        ("/quit", Quit()),
        ("/help", Help()),
    ],
)
def test_greeting(line: str, command: object) -> None:
    """Before login a bare line is a name, and few commands are known."""
    assert text.parse_greeting(line) == command


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("", ErrorWord.BAD_NAME),
        ("s3cret words", ErrorWord.BAD_NAME),
        ("/join s3cret", ErrorWord.LOGIN_REQUIRED),
        ("/s3cret", ErrorWord.LOGIN_REQUIRED),
        ("//s3cret", ErrorWord.LOGIN_REQUIRED),
        ("/login s3cret", ErrorWord.BAD_COMMAND),
        ("/register", ErrorWord.BAD_COMMAND),
        ("/login 1s3cret x", ErrorWord.BAD_NAME),
    ],
)
def test_greeting_refused(line: str, error: ErrorWord) -> None:
    """Before login nothing typed is ever quoted back: it might be a password."""
    with pytest.raises(Refused) as refused:
        text.parse_greeting(line)
    assert refused.value.error is error
    assert "s3cret" not in refused.value.text


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.sampled_from([*PAGES, *ALIASES, ""]))
def test_nothing_else_is_raised(typed: str, word: str) -> None:
    """Whatever is typed, it is a command or refused."""
    line = clean_line(typed.encode())
    for parse in (text.parse, text.parse_greeting):
        for attempt in (line, f"/{word} {line}", f"/{line}"):
            try:
                parse(attempt)
            except Refused:
                pass


# Answers and events to lines


@pytest.mark.parametrize(
    ("entry", "lines"),
    [
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "morning"), "[books] 10:02 Bob: morning"),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "a\n\n* b"), "[books] 10:02 Bob: a\r\n   | \r\n   | * b"),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "/me waves"), "[books] 10:02 * Bob waves"),
        (Entry(1, events.MESSAGE, 2, "Bob", AT, "/etc/hosts"), "[books] 10:02 Bob: /etc/hosts"),
        (Entry(1, events.MESSAGE, 0, "", AT, "Maintenance at noon."), "[books] 10:02 * Maintenance at noon."),
        (Entry(1, events.JOINED, 2, "Bob", AT), "[books] 10:02 * Bob joined"),
        (Entry(1, events.LEFT, 2, "Bob", AT), "[books] 10:02 * Bob left"),
        (Entry(1, events.TOPIC, 2, "Bob", AT, "news"), "[books] 10:02 * Bob set the topic: news"),
        (Entry(1, events.TOPIC, 2, "Bob", AT, ""), "[books] 10:02 * Bob removed the topic"),
        (Entry(1, events.CREATED, 2, "Bob", AT, "news"), "[books] 10:02 * Bob created the room: news"),
        (Entry(1, events.CREATED, 0, "", AT), "[books] 10:02 * the server created the room"),
    ],
)
def test_entries(entry: Entry, lines: str) -> None:
    """An entry is a line that begins with its room and time; what follows of a message goes on behind a bar."""
    assert text.entries(BOOKS, [entry], 1, UTC).decode() == lines + "\r\n"


def test_entries_for_their_viewer() -> None:
    """Each of two people calls their room by the other's name, and the hours are those of the zone."""
    said = [Entry(1, events.MESSAGE, 2, "Bob", AT, "hi")]
    assert text.entries(DIRECT, said, 1, UTC) == b"[@Bob] 10:02 Bob: hi\r\n"
    assert text.entries(DIRECT, said, 2, timezone(timedelta(hours=-11))) == b"[@ana] 23:02 Bob: hi\r\n"


def test_history_over_several_days() -> None:
    """History of more than one day has the dates above, and that of one day is as it was when it happened."""
    evening = Entry(1, events.MESSAGE, 2, "Bob", AT.replace(hour=23), "late")
    morning = Entry(2, events.MESSAGE, 2, "Bob", AT.replace(day=3, hour=1), "early")
    shown = text.reply(events.Log(BOOKS, [evening, morning], False), "ana", 1, UTC)
    assert shown.decode().splitlines() == [
        "* Monday 2 March 2026",
        "[books] 23:02 Bob: late",
        "* Tuesday 3 March 2026",
        "[books] 01:02 Bob: early",
    ]
    assert text.reply(events.Log(BOOKS, [evening], False), "ana", 1, UTC) == b"[books] 23:02 Bob: late\r\n"
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
        (events.RoomList([]), ["* There are no rooms here. /create ROOM makes one."]),
        (
            events.RoomList(
                [events.RoomLine("books", "x" * 80, 4, 9, "owner"), events.RoomLine("go", "", 12, 0)], True
            ),
            [
                "* Room   People  Topic (+ you are in it)",
                "* books +     4  " + "x" * 62 + "…",
                "* go         12",
                "* There are more: /rooms go",
            ],
        ),
        (
            events.MemberList(
                "books",
                [
                    events.MemberLine("ana", "owner", True),
                    events.MemberLine("bob", "member", False),
                    events.MemberLine("cai", "member", True),
                ],
            ),
            ["* books, 2 here: ana (owner), cai", "* books, 1 not here: bob"],
        ),
        (events.UserList([events.UserLine("bob", True)]), ["* bob is here."]),
        (events.UserList([events.UserLine("bob", True), events.UserLine("cai", True)]), ["* 2 here: bob, cai"]),
        (
            events.UserList([events.UserLine("bob", False, AT), events.UserLine("cai", False)]),
            ["* bob is not here, last seen on Monday 2 March 2026 at 10:02.", "* cai is not here."],
        ),
        (
            events.UnreadList([events.RoomStatus("general", 9, 6), events.RoomStatus("@bob", 7, 6)]),
            ["* Unread: 3 in general, 1 in @bob"],
        ),
        (events.UnreadList([events.RoomStatus("general", 9, 9)]), ["* You have read everything."]),
        (events.HelpText(), [f"* {line}" for line in OVERVIEW.split("\n")]),
        (events.HelpText("leave"), ["* /leave [ROOM] - Leaves a room. What you said there stays. Also: /part."]),
    ],
)
def test_answers(answer: Answer, lines: list[str]) -> None:
    """Every answer is notices for a person, or nothing where they see it done."""
    assert text.reply(answer, "ana", 1, UTC).decode() == "".join(line + "\r\n" for line in lines)


def test_lists_fit_a_terminal() -> None:
    """Long lists go on in further lines of 80 characters, broken between names, none lost."""
    names = [f"somebody-number-{number}" for number in range(40)]
    for answer in (
        events.MemberList("books", [events.MemberLine(name, "member", True) for name in names]),
        events.UserList([events.UserLine(name, True) for name in names]),
        events.UnreadList([events.RoomStatus(name, 5, 4) for name in names]),
        events.Welcome("ana", [events.RoomStatus(name, 5, 4) for name in names]),
        events.RoomList([events.RoomLine(name, "a topic " * 20, 5, 5) for name in names]),
    ):
        lines = text.reply(answer, "ana", 1, UTC).decode().split("\r\n")[:-1]
        assert len(lines) > 5
        assert all(line.startswith("* ") and len(line) <= 80 for line in lines)
        words = "\n".join(lines).replace(",", " ").replace(".", " ").split()
        assert set(names) <= set(words)


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (events.Presence("bob", True), b"* bob is here.\r\n"),
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


@given(st.text())
@example("* forged\n! forged\r[books] 10:00 ana: forged\r\nforged")
@example("/me \n* forged")
def test_nobody_can_forge_a_line(typed: str) -> None:
    """Whatever has passed the gate, no line begins with it, and none has a control character or a separator."""
    shown = b""
    try:
        said = message_text(typed)
        shown += text.entries(BOOKS, [Entry(1, events.MESSAGE, 2, "Bob", AT, said)], 1, UTC)
        topic = topic_text(typed)
    except Refused:
        topic = ""
    shown += text.entries(BOOKS, [Entry(2, events.TOPIC, 2, "Bob", AT, topic)], 1, UTC)
    for answer in (
        events.Joined("books", 5, 1, [], 0, topic),
        events.RoomList([events.RoomLine("books", topic, 1, 1)]),
        events.Refusal(ErrorWord.EMPTY, topic),
    ):
        shown += text.reply(answer, "ana", 1, UTC)
    for line in shown.decode().removesuffix("\r\n").split("\r\n"):
        assert line.startswith(
            ("* The topic of", "* Room", "* books ", "* You are in", "! ", "[books] 10:02 ", "   | ")
        )
        assert not {category(char) for char in line} & {"Cc", "Cs", "Zl", "Zp"}


def test_date_line() -> None:
    """The date is in English whatever the machine's locale."""
    assert text.date_line(date(2026, 3, 2)) == b"* Monday 2 March 2026\r\n"
