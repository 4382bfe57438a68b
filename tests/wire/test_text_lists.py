"""The dialect of people: lists and help."""

from datetime import UTC, datetime

import pytest

from chatserver.values import answers
from chatserver.values.answers import Answer
from chatserver.values.errors import Rejected
from chatserver.values.stages import Stage
from chatserver.wire.dialect import Asked
from chatserver.wire.screen import Screen
from chatserver.wire.sentences import english
from chatserver.wire.text import Text
from chatserver.wire.text.shown.cells import cells, cut, folded
from chatserver.wire.text.shown.help import ALIASES, GREETING, GROUPS, OVERVIEW, PAGES, Outline
from chatserver.wire.text.typed.parse import BUILDERS, GREETINGS

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)
TEXT = Text(UTC)


def at_a_glance(outline: Outline) -> list[str]:
    """The outline in two columns."""
    column = max(len(usage) for usage, _ in outline.rows)
    return [outline.sentence, *(f"{usage:{column}}  {meaning}" for usage, meaning in outline.rows)]


def shown(answer: Answer) -> list[str]:
    lines = TEXT.answer(Asked(None, 1, "ana"), answer).decode().split("\r\n")
    assert lines.pop() == ""
    assert all(line.startswith(("* ", "   | ")) and cells(line) <= 80 for line in lines)
    return [line.removeprefix("* ") for line in lines]


@pytest.mark.parametrize(
    ("answer", "lines"),
    [
        (answers.RoomList([]), ["There are no rooms to list. /create ROOM creates one."]),
        (
            answers.RoomList(
                [answers.RoomLine("books", "x" * 80, 4, 9, "owner"), answers.RoomLine("go", "", 12, 0)], True
            ),
            [
                "Room   People  Topic (+ you are in it)",
                "books +     4  " + "x" * 62 + "…",
                "go         12",
                "More: /rooms go",
            ],
        ),
        (
            answers.MemberList(
                "books",
                [
                    answers.MemberLine("ana", "owner", True),
                    answers.MemberLine("bob", "member", False),
                    answers.MemberLine("cai", "member", True),
                ],
            ),
            ["books, 2 here: ana (owner), cai", "books, 1 not here: bob"],
        ),
        (answers.UserList([]), ["Nobody is here."]),
        (answers.UserList([answers.UserLine("bob", True)]), ["bob is here."]),
        (answers.UserList([answers.UserLine("bob", True, away="lunch")]), ["bob is away: lunch"]),
        (
            answers.UserList([answers.UserLine("bob", False, AT)]),
            ["bob is not here, last seen on Monday 2 March 2026 at 10:02."],
        ),
        (answers.UserList([answers.UserLine("bob", False)]), ["bob is not here."]),
        (answers.UserList([answers.UserLine("bob", True), answers.UserLine("cai", True)]), ["2 here: bob, cai"]),
        (
            answers.UserList(
                [
                    answers.UserLine("bob", True, AT, "lunch"),
                    answers.UserLine("cai", True),
                    answers.UserLine("somebody-else", False, AT),
                    answers.UserLine("dan", False),
                ]
            ),
            [
                "2 here: bob, cai",
                "Away  Why",
                "bob   lunch",
                "Not here       Last seen",
                "somebody-else  2026-03-02 10:02",
                "dan",
            ],
        ),
        (answers.UserList([answers.UserLine("bob", False), answers.UserLine("cai", False)]),
         ["Nobody is here.", "Not here  Last seen", "bob", "cai"]),
        (
            answers.UnreadList(
                [
                    answers.RoomStatus("general", 1009, 6, unread=answers.Unread(1004, 1003)),
                    answers.RoomStatus("@bob", 7, 6, unread=answers.Unread(1, 1)),
                ]
            ),
            ["Unread  Room", "1003    general", "1       @bob"],
        ),
        (
            answers.UnreadList(
                [
                    answers.RoomStatus("general", 10**6, 6, unread=answers.Unread(10**6, 9000, 12, partial=True)),
                    answers.RoomStatus("books", 7, 6, unread=answers.Unread(1, 1)),
                ]
            ),
            ["Unread  For you  Room", "9000+   12       general", "1                books"],
        ),
        (answers.UnreadList([answers.RoomStatus("general", 9, 9)]), ["You have read everything."]),
        (answers.TokenList([]), ["You have no tokens. /token LABEL creates one."]),
        (
            answers.TokenList(
                [answers.TokenLine("my laptop", AT), answers.TokenLine("deploy", AT, AT, AT, True, "den")]
            ),
            [
                "Created           Last used         Label",
                "2026-03-02 10:02  never             my laptop",
                "2026-03-02 10:02  2026-03-02 10:02  deploy (until 2026-03-02 10:02, only den,",
                "   |                                  read-only)",
            ],
        ),
        (answers.BanList([]), ["Nobody is banned here."]),
        (
            answers.BanList(
                [
                    answers.BanLine("bob", None, None, "ana", ""),
                    answers.BanLine(None, "192.0.2.0/24", AT, "ana", "spam " * 10),
                ]
            ),
            [
                "Who           Until             By whom, and why",
                "bob           permanent         ana",
                "192.0.2.0/24  2026-03-02 10:02  ana: spam spam spam spam spam spam spam spam",
                "   |                              spam spam",
            ],
        ),
        (
            answers.BanList([answers.BanLine(None, "2001:db8:1111:2222:3333:4444:5555:6666/128", AT, "ana", "spam")]),
            [
                "Who  Until  By whom, and why",
                "2001:db8:1111:2222:3333:4444:5555:6666/128  2026-03-02 10:02",
                "   |   ana: spam",
            ],
        ),
        (answers.HelpText(), at_a_glance(OVERVIEW)),
        (answers.HelpText("first"), at_a_glance(GREETING)),
        (answers.HelpText("leave"), ["/leave [ROOM]", "  Leaves a room. What you said there stays. Also: /part."]),
    ],
)  # fmt: skip
def test_lists(answer: Answer, lines: list[str]) -> None:
    """A short list is on one line, a table in columns."""
    assert shown(answer) == lines


def test_long_lists() -> None:
    """Long lists wrap between names onto lines of at most 80 cells, in columns, and lose none."""
    names = [f"somebody-number-{number}" for number in range(40)]
    for answer in (
        answers.MemberList("books", [answers.MemberLine(name, "member", True) for name in names]),
        answers.UserList([answers.UserLine(name, True) for name in names]),
        answers.UnreadList([answers.RoomStatus(name, 5, 4, unread=answers.Unread(1, 1)) for name in names]),
        answers.Welcome("ana", [answers.RoomStatus(name, 5, 4, unread=answers.Unread(1, 1)) for name in names]),
        answers.RoomList([answers.RoomLine(name, "a topic " * 20, 5, 5) for name in names]),
        answers.BanList([answers.BanLine(name, None, AT, "ana", "a reason " * 9) for name in names]),
    ):
        lines = shown(answer)
        assert len(lines) > 5
        assert set(names) <= {word.strip(",.") for line in lines for word in line.split()}
    members = shown(answers.MemberList("books", [answers.MemberLine(name, "", True) for name in names]))
    assert members[:2] == [
        "books, 40 here:",
        "  somebody-number-0   somebody-number-1   somebody-number-2",
    ]


LONG = "本" * 100


@pytest.mark.parametrize(
    "answer",
    [
        answers.RoomList([answers.RoomLine("r" * 64, LONG, 9**9, 1, "owner")], True),
        answers.MemberList("r" * 64, [answers.MemberLine("n" * 32, "moderator", True)] * 2),
        answers.UserList([answers.UserLine("n" * 32, True, AT, LONG)] * 2),
        answers.UserList([answers.UserLine("n" * 32, False, AT)] * 2),
        answers.UnreadList([answers.RoomStatus("r" * 64, 10**9, 0, unread=answers.Unread(10**9, 10**9))]),
        answers.TokenList([answers.TokenLine("本" * 64, AT, AT)]),
        answers.BanList([answers.BanLine(None, "1111:" * 7 + "1111/128", AT, "n" * 32, LONG + " " + "x" * 400)]),
        answers.BanList([answers.BanLine("n" * 32, None, AT, "n" * 32, LONG)]),
        *(answers.HelpText(name) for name in (*PAGES, "", "all", "first")),
    ],
)
def test_lists_fit_a_terminal(answer: Answer) -> None:
    """No line of a list is wider than 80 cells, however long its items, and wide characters count twice."""
    assert shown(answer)


def test_widths() -> None:
    """Cutting and folding go by the cells that a terminal needs, and folding loses nothing but blanks."""
    assert (cells("ana"), cells("本e\u0301")) == (3, 3)
    assert (cut("本本本", 6), cut("本本本", 5), cut("abc", 2)) == ("本本本", "本本…", "a…")
    assert folded("a bb  ccccc d", 3) == ["a", "bb", "ccc", "cc", "d"]
    assert folded("本本", 3) == ["本", "本"]
    assert folded(" ", 3) == []


# Help


def test_every_command_has_help() -> None:
    """Each command has a page and each page a command, aliases stand for commands, and `/help all` lists them all."""
    assert set(BUILDERS) == set(PAGES)
    assert set(GREETINGS) <= set(PAGES)
    assert len(PAGES) == sum(map(len, GROUPS.values()))
    assert set(ALIASES.values()) <= set(PAGES)
    assert not set(ALIASES) & set(PAGES)
    listed = {word.strip(",") for line in shown(answers.HelpText("all")) for word in line.split()}
    assert {f"/{name}" for name in PAGES} <= listed


@pytest.mark.parametrize("word", [*PAGES, *ALIASES])
def test_help_about_each(word: str) -> None:
    """For every command, by each of its names, help shows its usage and a sentence."""
    about = TEXT.parse(f"/help {word.upper()}", Stage.IN)
    usage, *sentence = shown(answers.HelpText(getattr(about, "about")))  # noqa: B009
    name = ALIASES.get(word, word)
    assert usage.split()[0].rstrip(",") == f"/{name}"
    assert 1 <= len(sentence) <= 4
    assert word == name or f"/{word}" in " ".join(sentence)


def test_overview_is_a_screen() -> None:
    """The overview is twelve lines, and names only commands that exist."""
    lines = shown(answers.HelpText())
    assert len(lines) == 12
    for line in lines[1:]:
        for word in line.split():
            if word.startswith("/"):
                assert word.strip("/,") in PAGES


def test_overview_on_a_small_screen() -> None:
    """At 40 columns the overview has every usage still, and no more lines than such a screen."""
    asked = Asked(None, 1, "ana", Screen(columns=40))
    lines = TEXT.answer(asked, answers.HelpText()).decode().splitlines()
    assert len(lines) <= 15
    assert max(map(len, lines)) <= 40
    text = " ".join(line.removeprefix("*").strip() for line in lines)
    assert all(usage in text for usages, _ in OVERVIEW.rows for usage in usages.split(", "))


def test_usage_is_what_is_understood() -> None:
    """Without arguments a command does what its usage says, or shows its usage."""
    for name, page in PAGES.items():
        parsed = TEXT.parse(f"/{name}", Stage.IN)
        shown = english(parsed.refused.sentence) if isinstance(parsed, Rejected) else ""
        if name in ("login", "register", "guest"):
            assert shown.startswith("You are already logged in.")
        else:
            assert shown in ("", f"Usage: {page.usage}")
        if " " not in page.usage:
            assert not shown.startswith("Usage")
