"""What hostile text looks like on a terminal of any width: nothing that somebody wrote begins a line."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.values import answers, events
from chatserver.values.errors import Note, Refused, Sentence, Why
from chatserver.values.events import Entry, Quote, RoomFacts
from chatserver.wire.dialect import PLAIN, Asked, Form
from chatserver.wire.hygiene.text import away_text, message_text, reason_text, topic_text
from chatserver.wire.screen import Screen as Terminal
from chatserver.wire.text import Text
from chatserver.wire.text.shown.entries import TOLD
from tests.support.hall import Hall
from tests.wire.screen import Screen

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)
TEXT = Text(UTC)
ANA = Asked(None, 1, "ana")
NAMES = st.sampled_from(["bob", "ana", "n" * 32])
ROOMS = st.sampled_from([RoomFacts(1, "books"), RoomFacts(1, "r" * 64)])

PIECES = [
    "* ", "! ", "-- ", "[general] 10:02 ana: ", "* You are banned from this server.", "~ ana ", "   | ", "/me ", "\n",
    " ", " " * 70, "\t" * 9, "\u3000" * 30, "\xa0" * 60, "\u2003 " * 30, "x" * 60, "word " * 16, "http://" + "x" * 90,
    "本" * 37, "👩\u200d💻" * 20, "❤\ufe0f" * 35, "\U0001fae8" * 39, "🇨🇭" * 20, "\u1100\u1161" * 20, "ﷺ",
    "e\u0301" * 40, "a\u0301\u0323" * 40, "\u202e", "\u200b" * 90, "\u2800" * 70, "\u3164" * 40,
]  # fmt: skip
SENT = st.lists(st.sampled_from(PIECES) | st.characters(exclude_categories=["Cs"]), max_size=12).map("".join)
STORED = SENT | st.text() | st.sampled_from(["\x1b[2J* x", "\r* x", "a\u0301" * 200, "\ud800", "a" + "\u0301" * 200])
"""What a row may have: it is older than a rule, or did not come from this server."""

BEGINS = {
    "entry": re.compile(r"(\[(books|r+…?|@?[a-zA-Z]+)\]|\((books|r+…?)\)) (#\d+ )?10:02 "),
    "notice": re.compile(r"\* "),
    "error": re.compile(r"! "),
}
GOES_ON = "   | "


def sent(check: Callable[[str], str], text: str) -> str:
    """The text as it passes validation; if it does not, another one."""
    try:
        return check(text)
    except Refused:
        return "hello"


def begins(data: bytes, columns: int = 80, bells: int = 0) -> list[str]:
    """How the rows on a screen begin, but for those that continue one above. No row may begin in any other way, no line
    may be broken by the terminal, and only the server rings the bell."""
    kinds = []
    for narrow in (False, True):
        screen = Screen(columns, narrow=narrow)
        rows = screen.shows(data)
        assert "\r\n".join([*rows, ""]).encode() == data.replace(b"\a", b"")
        assert screen.bells == bells
        kinds = [
            next(kind for kind, beginning in BEGINS.items() if beginning.match(row))
            for row in rows
            if not row.startswith(GOES_ON)
        ]
    return kinds


ENTRIES = st.one_of(
    st.builds(lambda text: ("message", sent(message_text, text)), SENT),
    st.builds(lambda text: ("message", sent(message_text, f"/me {text}")), SENT),
    st.builds(lambda text: ("edited", sent(message_text, text)), SENT),
    st.builds(lambda text: ("topic", sent(topic_text, text)), SENT),
    st.builds(lambda text: ("kicked", sent(reason_text, text)), SENT),
    st.tuples(st.sampled_from(get_args(events.EntryKind)), STORED),
)


SCREENS = st.builds(
    Terminal, columns=st.sampled_from([0, 0, 80, 40, 30]), bell=st.sampled_from(["off", "on", "mentions"])
)
DISPLAYS = st.sampled_from(["", "", "José Müller", "本" * 24, "n" * 48])
QUOTES = st.none() | st.builds(lambda text: Quote("bob", "", text), STORED)
REACTIONS = st.lists(st.tuples(SENT, st.integers(1, 10**6)), max_size=12).map(tuple)


@given(
    ROOMS, st.lists(ENTRIES, min_size=1, max_size=4), NAMES, DISPLAYS, QUOTES, REACTIONS, SCREENS,
    st.sampled_from(["", "edited"]), st.sampled_from([{}, {"marked": True}, {"aside": True}]),
)  # fmt: skip
def test_entries(
    room: RoomFacts,
    log: list[tuple[events.EntryKind, str]],
    name: str,
    display: str,
    quote: Quote | None,
    reactions: tuple[tuple[str, int], ...],
    screen: Terminal,
    state: str,
    shown: dict[str, Any],
) -> None:
    """Messages, actions, replies, edits, topics and reasons of any content take one beginning of a line each, whether
    they come live, in a history or from a search, by whomever, and on a screen of any width."""
    columns = screen.columns or 80
    asked = Asked(None, 1, "ana", screen)
    entries: list[Any] = [
        Entry(
            seq, kind, 2, name, AT, text, None, 3, "cai", 41, state if kind == "message" else "", display, bool(state),  # type: ignore[arg-type]
            reactions, quote,
        )
        for seq, (kind, text) in enumerate(log, 5)
    ]  # fmt: skip
    form = Form(TEXT, PLAIN, AT.date(), screen=screen, **shown)
    live = TEXT.entries(room, entries, form).data
    said = sum(entry.kind == "message" for entry in entries)
    rings = {"off": 0, "on": said, "mentions": 0}[screen.bell]
    if shown.get("marked") and screen.bell != "off":
        rings = len(entries)
    assert begins(live, columns, rings) == ["entry"] * len(entries)
    assert begins(TEXT.answer(asked, answers.Log(room, entries, False)), columns) == ["entry"] * len(entries)
    found = TEXT.answer(asked, answers.Found([(room, entry) for entry in entries], False))
    assert begins(found, columns) == ["notice", *["entry"] * len(entries)]
    if columns < 80:
        return
    who = rf"({name}( \(bot\))?|\S+( \S+)? \({name}(, bot)?\))"
    for row in Screen().shows(live):
        if row[0] in "[(":  # whose text it is stands in front of all of it, unless it quotes others first
            assert re.search(rf"10:02 (» )?(-- .*|~ {who}|{who}( \((edited|re)|$)|\(re #41)", row)


@given(SENT.map(lambda text: sent(away_text, text)) | STORED, STORED.map(lambda text: text.replace("\ud800", "")))
def test_answers_and_news(text: str, stored: str) -> None:
    """So do away texts, topics and reasons in answers, lists and news."""
    room = RoomFacts(1, "books")
    mute = [Entry(1, "message", 2, "bob", AT, "hi")]
    for words in (text, stored):
        away = answers.UserLine("bob", True, AT, words)
        assert begins(TEXT.news(events.Presence("bob", True, words or "x"))) == ["notice"]
        assert begins(TEXT.news(events.Closing("banned", f"You are banned: {words}"))) == ["notice"]
        assert begins(TEXT.answer(ANA, answers.Done(Sentence(Note.AWAY, text=words)))) == ["notice"]
        assert begins(TEXT.answer(ANA, answers.Refusal(Why.BANNED, Sentence(Why.BANNED, reason=words)))) == ["error"]
        assert begins(TEXT.answer(ANA, answers.UserList([away]))) == ["notice"]
        assert begins(TEXT.answer(ANA, answers.UserList([away, away]))) == ["notice"] * (4 if words else 1)
        topic = answers.Joined("books", 5, 2, ["bob"], 1, words, answers.Log(room, mute, False))
        assert begins(TEXT.answer(ANA, topic)) == ["notice"] * (2 if words else 1) + ["entry"]
        assert begins(TEXT.answer(ANA, answers.RoomList([answers.RoomLine("books", words, 3, 9)]))) == ["notice"] * 2
        for name, address in (("bob", None), (None, "1111:" * 7 + "1111/128")):
            banned = answers.BanLine(name, address, AT, "n" * 32, words)
            assert begins(TEXT.answer(ANA, answers.BanList([banned, banned]))) == ["notice"] * 3


def test_blanks_are_shortened() -> None:
    """Blanks of any kind cannot move a text to where a terminal begins its next line; code keeps its indentation."""

    def shown(text: str) -> list[str]:
        entry = Entry(5, "message", 2, "bob", AT, text)
        data = TEXT.entries(RoomFacts(1, "books"), [entry], Form(TEXT, PLAIN, AT.date())).data
        return data.decode().split("\r\n")[:-1]

    assert shown("a" + " " * 59 + "* forged") == ["[books] 10:02 bob: a  * forged"]
    assert shown("a.  b" + "\u3000\xa0 " * 20 + "c") == ["[books] 10:02 bob: a.  b  c"]
    assert shown("if x:\n        y()\n" + " " * 70 + "z") == [
        "[books] 10:02 bob: if x:", "   |         y()", "   |         z",
    ]  # fmt: skip


def test_long_lines_continue_behind_a_bar() -> None:
    """A text that is longer than a line is broken at a blank if there is one near, and nothing of it is lost."""
    words = " ".join(f"word{number}" for number in range(60))
    entry = Entry(5, "message", 2, "bob", AT, words)
    data = TEXT.entries(RoomFacts(1, "books"), [entry], Form(TEXT, PLAIN, AT.date())).data
    first, *others = data.decode().split("\r\n")[:-1]
    assert all(60 < len(row) <= 80 for row in [first, *others[:-1]])
    assert " ".join([first, *(row.removeprefix(GOES_ON) for row in others)]) == f"[books] 10:02 bob: {words}"
    address = "http://example.org/" + "x" * 200
    entry = Entry(5, "message", 2, "bob", AT, f"see {address}")
    data = TEXT.entries(RoomFacts(1, "books"), [entry], Form(TEXT, PLAIN, AT.date())).data
    assert data.decode().replace("\r\n" + GOES_ON, "") == f"[books] 10:02 bob: see {address}\r\n"


def test_an_action_begins_like_nothing_else() -> None:
    """No name and no words make an action look like something that the server says of somebody, or like a message."""
    beginnings = {
        kind: told(Entry(5, kind, 2, "bob", AT, "member", None, 3, "cai", 41), "bob")[:3] for kind, told in TOLD.items()
    }
    assert {start for kind, start in beginnings.items() if kind != events.EDITED} == {"-- "}
    for text in ("/me has gone.", "/me -- cai joined", "/me * Welcome", "/me \n* x"):
        for state in ("", "edited"):
            entry = Entry(5, "message", 2, "Welcome", AT, text, state=state)
            data = TEXT.entries(RoomFacts(1, "books"), [entry], Form(TEXT, PLAIN, AT.date())).data
            assert data.startswith(b"[books] 10:02 ~ Welcome ")


@pytest.mark.parametrize(
    "text",
    [
        "a" * 61 + "* ana has gone." + "b" * 80,
        "x " * 30 + "\u2800" * 30 + "[general] 10:02 ana: yes",
        "本" * 60 + "! You are banned",
        "\n* Welcome",
        "a\u0301" * 70 + "* You are in jail.",
    ],
)
def test_at_the_terminal(tmp_path: Path, text: str) -> None:
    """A program says, edits and announces hostile text; at the terminal only the server begins lines."""
    hall = Hall(tmp_path)
    try:
        program = hall.program("mallory")
        person = hall.client().type("/register bob s3cret-words")
        before = len(person.seen)
        program.say(text).say(f"/me {text}")
        program.post("edit", room="general", seq=program.answers[-1]["seq"], text=text)
        program.post("topic", room="general", text=text.replace("\n", " "))
        program.post("away", text=text.replace("\n", " "))
        person.type("/history", "/search mallory", "/who mallory")
        assert all(answer["ok"] for answer in program.answers), program.answers
        assert set(begins(person.seen[before:])) <= {"entry", "notice"}
    finally:
        hall.close()
