"""What a person sees on a terminal that is narrow, in their time zone, and with characters of any width."""

from datetime import UTC, datetime
from typing import Any

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.values import answers, events
from chatserver.values.answers import Answer
from chatserver.values.errors import Sentence, Why
from chatserver.values.events import Entry, RoomFacts
from chatserver.wire.dialect import PLAIN, Asked, Form
from chatserver.wire.screen import Screen
from chatserver.wire.text import Text
from chatserver.wire.text.shown.cells import broken, cells, cut, folded, most_cells
from chatserver.wire.text.shown.columns import beside, table
from chatserver.wire.text.shown.help import PAGES
from chatserver.wire.text.shown.terminal import Terminal

AT = datetime(2026, 3, 2, 14, 5, tzinfo=UTC)
BOOKS = RoomFacts(1, "books")
TEXT = Text(UTC)
NARROW = Screen(40)
FAMILY = "👩\u200d👩\u200d👧\u200d👦"
NAMES = ["ana", "bob", "jürgen", "mallory-of-the-north", "zoë"]


def rows(data: bytes, columns: int = 40) -> list[str]:
    """The screen of a real terminal."""
    screen = pyte.Screen(columns, 200)
    pyte.ByteStream(screen).feed(data)
    return [row.rstrip() for row in screen.display[: screen.cursor.y]]


def shown(answer: Answer, screen: Screen = NARROW) -> list[str]:
    """The rows of an answer, none of which a terminal had to break."""
    data = TEXT.answer(Asked(None, 1, "ana", screen), answer)
    lines = rows(data, screen.columns)
    assert len(lines) == data.count(b"\r\n")
    return lines


def said(text: str, screen: Screen = NARROW, at: datetime = AT) -> bytes:
    return TEXT.entries(
        BOOKS, [Entry(1, events.MESSAGE, 2, "bob", at, text)], Form(TEXT, PLAIN, AT.date(), screen=screen)
    ).data


def test_help_on_forty_columns() -> None:
    """What commands do stands beside them, or below them where it does not fit there."""
    rows = [("/look ROOM", "switch to a room"), ("/say ROOM TEXT", "say something in another room")]
    assert list(beside(rows, Terminal(80))) == [
        "/look ROOM      switch to a room", "/say ROOM TEXT  say something in another room",
    ]  # fmt: skip
    assert list(beside(rows, Terminal(40))) == [
        "/look ROOM      switch to a room", "/say ROOM TEXT\n  say something in another room",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [
        answers.RoomList([answers.RoomLine("r" * 64, "本 " * 50, 9**9, 1, "owner")], True),
        answers.MemberList("books", [answers.MemberLine(name, "moderator", True) for name in NAMES]),
        answers.UserList([answers.UserLine("n" * 32, True, AT, FAMILY * 20)] * 2),
        answers.UserList([answers.UserLine("n" * 32, False, AT)] * 2),
        answers.UnreadList([answers.RoomStatus("r" * 64, 10**9, 0, unread=answers.Unread(10**9, 10**9))]),
        answers.TokenList([answers.TokenLine("本" * 64, AT, AT)]),
        answers.BanList([answers.BanLine(None, "1111:" * 7 + "1111/128", AT, "n" * 32, FAMILY * 9)]),
        answers.Welcome(
            "ana", [answers.RoomStatus(f"room-{number}", 9, 6, unread=answers.Unread(3, 3)) for number in range(20)]
        ),
        answers.Preferences("America/Argentina/ComodRivadavia", "12", "mentions", "off", AT),
        answers.Refusal(Why.TLS_REQUIRED_AT, Sentence(Why.TLS_REQUIRED_AT, ports="port 6667 or port 6668 (WebSocket)")),
        *(answers.HelpText(name) for name in (*PAGES, "", "all", "first")),
    ],
)
def test_answers_fit(answer: Answer) -> None:
    """Every answer fits a terminal of 40 columns, and one of 20."""
    assert shown(answer)
    assert shown(answer, Screen(20))


def test_members_in_columns() -> None:
    """Names stand in as many columns as fit."""
    answer = answers.MemberList("books", [answers.MemberLine(name, "", True) for name in NAMES * 4])
    assert shown(answer)[:3] == ["* books, 20 here:", "*   ana", "*   bob"]
    short = answers.MemberList("books", [answers.MemberLine(f"user-{number:02}", "", True) for number in range(20)])
    assert shown(short)[:2] == ["* books, 20 here:", "*   user-00  user-01  user-02  user-03"]


def test_rooms_on_forty_columns() -> None:
    """The topic of a room stands below its name where there is no place beside it."""
    listed = answers.RoomList([answers.RoomLine("books", "what we read this year", 4, 9, "owner")])
    assert shown(listed) == [
        "* Room   People  (+ you are in it)",
        "* books +     4",
        "   |   what we read this year",
    ]


def test_the_servers_own_words_are_broken_only_where_the_width_is_known() -> None:
    """Whoever tells the width of their terminal gets notices and refusals that fit it; a program that does not can
    still look for a whole line."""
    words = "Welcome to chatserver. Type your name to log in, or /help."
    assert TEXT.notice(words) == f"* {words}\r\n".encode()
    assert rows(TEXT.notice(words, NARROW)) == ["* Welcome to chatserver. Type your name", "   | to log in, or /help."]
    long = answers.Refusal(Why.UNDECODABLE, Sentence(Why.UNDECODABLE, text="word " * 30))
    assert TEXT.answer(Asked(None, 1, "ana"), long).count(b"\r\n") == 1
    assert len(shown(long)) == 5


# Widths


@pytest.mark.parametrize(
    ("text", "now", "ever"),
    [
        ("ana", 3, 3),
        ("本e\u0301", 3, 3),
        (FAMILY, 2, 11),
        ("❤\ufe0f", 2, 2),
        ("👍🏽", 2, 4),
        ("🇨🇭", 2, 4),
        ("\u0915\u094d\u0937\u093f", 2, 3),
        ("", 0, 0),
    ],
)
def test_cells(text: str, now: int, ever: int) -> None:
    """Columns go by what a current terminal shows, the ends of lines by what any terminal may show."""
    assert (cells(text), most_cells(text)) == (now, ever)


def test_nothing_is_torn_apart() -> None:
    """Neither an emoji nor a letter with its marks is broken where a line ends."""
    for whole in (FAMILY, "e\u0301\u0323", "👍🏽", "🇨🇭"):
        for filler in range(1, 14):
            text = "x" * filler + whole * 5
            pieces = [*broken(text, 14, 12)]
            assert "".join(pieces) == text
            assert all(piece.replace(whole, "").strip("x") == "" for piece in pieces)
            assert cut(text, filler + 1) in ("x" * filler + "…", "x" * filler + whole + "…")
    assert folded(FAMILY * 3, 12) == [FAMILY] * 3


@given(
    st.lists(st.sampled_from(["x", " ", "word ", "本", FAMILY, "e\u0301", "❤\ufe0f", "\u1100", "👩\u200d" * 30])),
    st.integers(15, 40),
    st.integers(0, 14),
)
def test_lines_of_any_text_fit(words: list[str], width: int, used: int) -> None:
    """However text is composed, and whatever stands in front of it, its lines fit, and only blanks of it are lost."""
    text = "".join(words)
    first, *others = broken(text, width, width, used)
    assert most_cells(first) <= width - used
    assert all(most_cells(piece) <= width for piece in others)
    assert "".join([first, *others]).replace(" ", "") == text.replace(" ", "")


def test_columns_align() -> None:
    """In columns, characters of any width take the place that a terminal gives them."""
    rows = [(FAMILY, "a"), ("本", "b"), ("e\u0301", "c"), ("ana", "d")]
    assert list(table(("Who", "What"), rows, Terminal())) == [
        "Who  What", f"{FAMILY}   a", "本   b", "e\u0301    c", "ana  d",
    ]  # fmt: skip


# Times


@pytest.mark.parametrize(
    ("screen", "time", "day"),
    [
        (Screen(), "14:05", "Monday 2 March 2026"),
        (Screen(zone="Asia/Tokyo"), "23:05", "Monday 2 March 2026"),
        (Screen(zone="Pacific/Auckland"), "03:05", "Tuesday 3 March 2026"),
        (Screen(zone="Europe/Berlin", hours=12), "3:05 pm", "Monday 2 March 2026"),
        (Screen(zone="America/New_York", hours=12), "9:05 am", "Monday 2 March 2026"),
        (Screen(zone="No/Where"), "14:05", "Monday 2 March 2026"),
    ],
)
def test_times_are_those_of_the_person(screen: Screen, time: str, day: str) -> None:
    """Times, dates and the days that begin are those of the person; in an unknown zone, the server's."""
    assert TEXT.day(AT, screen).day == int(day.split()[1])
    assert f" {time} bob: hi".encode() in said("hi", screen)
    before: Any = Form(TEXT, PLAIN, datetime(2026, 3, 1, tzinfo=UTC).date(), screen=screen)
    entry = Entry(1, events.MESSAGE, 2, "bob", AT, "hi")
    assert TEXT.entries(BOOKS, [entry], before).data.decode() == f"* {day}\r\n[books] {time} bob: hi\r\n"
    user = TEXT.answer(Asked(None, 1, "ana", screen), answers.UserList([answers.UserLine("bob", False, AT)]))
    assert user.decode() == f"* bob is not here, last seen on {day} at {time}.\r\n"
    token = TEXT.answer(Asked(None, 1, "ana", screen), answers.TokenList([answers.TokenLine("x", AT)]))
    assert f"{time}  never".encode() in token


@pytest.mark.parametrize(("hour", "said"), [(0, "12:05 am"), (11, "11:05 am"), (12, "12:05 pm"), (23, "11:05 pm")])
def test_the_clock_of_twelve_hours(hour: int, said: str) -> None:
    """Midnight is 12 am, and noon 12 pm."""
    data = TEXT.entries(
        BOOKS,
        [Entry(1, events.LEFT, 2, "bob", AT.replace(hour=hour))],
        Form(TEXT, PLAIN, AT.date(), screen=Screen(hours=12)),
    ).data
    assert data == f"[books] {said} -- bob left\r\n".encode()


def test_the_zone_is_said() -> None:
    """Whoever logs in is told in which zone times are; a session that wants only answers is not."""
    hello = answers.Welcome("ana", [])
    assert shown(hello, Screen(80))[1] == "* Times are in UTC."
    assert shown(hello, Screen(80, "Europe/Berlin"))[1] == "* Times are in Europe/Berlin."
    assert b"Times" not in TEXT.answer(Asked(None, 1, "ana", quiet=True), hello)


# Replies


@pytest.mark.parametrize(
    "forged", ["(re #8 bob: hi) yes", "x (re #8 bob: hi): yes", "[+1 ×3]: yes", "/me (re #8 bob: hi) ~ x"]
)
def test_nobody_can_type_a_quote(forged: str) -> None:
    """What a message answers, and how others have reacted, stands in front of its author's colon."""
    entry = Entry(9, events.MESSAGE, 1, "ana", AT, forged)
    data = TEXT.entries(BOOKS, [entry], Form(TEXT, PLAIN, AT.date())).data.decode()
    assert data.removeprefix("[books] 14:05 ").startswith(("ana: ", "~ ana "))


def test_a_quote_ends_where_the_server_ends_it() -> None:
    """What is quoted cannot look like the end of the quote."""
    quote = events.Quote("bob", "", "x): I quit (\uff09")
    entry = Entry(9, events.MESSAGE, 1, "ana", AT, "no", of=8, quote=quote, reactions=(("x]:", 1),))
    data = TEXT.entries(BOOKS, [entry], Form(TEXT, PLAIN, AT.date())).data.decode()
    assert data == "[books] 14:05 ana (re #8 bob: x|: I quit ||) [x|: ×1]: no\r\n"


def test_few_layouts_do_for_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long message is laid out a few times, however many people see it at widths and in time zones of their own."""
    laid_out: list[str] = []

    def counting(text: str, *rest: int) -> Any:
        laid_out.append(text)
        return broken(text, *rest)

    monkeypatch.setattr("chatserver.wire.text.shown.layout.broken", counting)
    text = "本 counted " * 300
    zones = ["UTC", "Asia/Tokyo", "America/New_York", "Europe/Berlin"]
    screens = [Screen(columns, zone, hours) for columns in range(1, 400) for zone in zones for hours in (12, 24)]
    shown = {said(text, screen) for screen in screens}
    assert len(shown) > 100
    assert len(laid_out) <= 19 * 3  # from 20 to 200 columns by tens, and three lengths of a time
