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


