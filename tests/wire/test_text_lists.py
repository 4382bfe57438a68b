"""The dialect of people: lists and help."""

from datetime import UTC, datetime

import pytest

from chatserver import events
from chatserver.errors import Refused
from chatserver.events import Answer
from chatserver.wire import text
from chatserver.wire.help import ALIASES, GREETING, GROUPS, OVERVIEW, PAGES
from chatserver.wire.textlines import cells, cut, folded
from chatserver.wire.textparse import BUILDERS, GREETINGS

AT = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)


def shown(answer: Answer) -> list[str]:
    lines = text.reply(answer, "ana", 1, UTC).decode().split("\r\n")
    assert lines.pop() == ""
    assert all(line.startswith("* ") and cells(line) <= 80 for line in lines)
    return [line[2:] for line in lines]


@pytest.mark.parametrize(
    ("answer", "lines"),
    [
        (events.RoomList([]), ["There are no rooms here. /create ROOM makes one."]),
        (
            events.RoomList(
                [events.RoomLine("books", "x" * 80, 4, 9, "owner"), events.RoomLine("go", "", 12, 0)], True
            ),
            [
                "Room   People  Topic (+ you are in it)",
                "books +     4  " + "x" * 62 + "…",
                "go         12",
                "More: /rooms go",
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
            ["books, 2 here: ana (owner), cai", "books, 1 not here: bob"],
        ),
        (events.UserList([]), ["Nobody is here."]),
        (events.UserList([events.UserLine("bob", True)]), ["bob is here."]),
        (events.UserList([events.UserLine("bob", True, away="lunch")]), ["bob is away: lunch"]),
        (
            events.UserList([events.UserLine("bob", False, AT)]),
            ["bob is not here, last seen on Monday 2 March 2026 at 10:02."],
        ),
        (events.UserList([events.UserLine("bob", False)]), ["bob is not here."]),
        (events.UserList([events.UserLine("bob", True), events.UserLine("cai", True)]), ["2 here: bob, cai"]),
        (
            events.UserList(
                [
                    events.UserLine("bob", True, AT, "lunch"),
                    events.UserLine("cai", True),
                    events.UserLine("somebody-else", False, AT),
                    events.UserLine("dan", False),
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
        (events.UserList([events.UserLine("bob", False), events.UserLine("cai", False)]),
         ["Nobody is here.", "Not here  Last seen", "bob", "cai"]),
        (
            events.UnreadList([events.RoomStatus("general", 1009, 6), events.RoomStatus("@bob", 7, 6)]),
            ["Unread  Room", "1003    general", "1       @bob"],
        ),
        (events.UnreadList([events.RoomStatus("general", 9, 9)]), ["You have read everything."]),
        (events.TokenList([]), ["You have no tokens. /token LABEL makes one."]),
        (
            events.TokenList([events.TokenLine("my laptop", AT), events.TokenLine("deploy", AT, AT)]),
            [
                "Made              Last used         Label",
                "2026-03-02 10:02  never             my laptop",
                "2026-03-02 10:02  2026-03-02 10:02  deploy",
            ],
        ),
        (events.BanList([]), ["Nobody is banned here."]),
        (
            events.BanList(
                [
                    events.BanLine("bob", None, None, "ana", ""),
                    events.BanLine(None, "192.0.2.0/24", AT, "ana", "spam " * 10),
                ]
            ),
            [
                "Who           Until             By whom, and why",
                "bob           for ever          ana",
                "192.0.2.0/24  2026-03-02 10:02  ana: spam spam spam spam spam spam spam spam",
                "                                spam spam",
            ],
        ),
        (
            events.BanList([events.BanLine(None, "2001:db8:1111:2222:3333:4444:5555:6666/128", AT, "ana", "spam")]),
            [
                "Who  Until  By whom, and why",
                "2001:db8:1111:2222:3333:4444:5555:6666/128  2026-03-02 10:02",
                "    ana: spam",
            ],
        ),
        (events.HelpText(), OVERVIEW.split("\n")),
        (events.HelpText("first"), GREETING.split("\n")),
        (events.HelpText("leave"), ["/leave [ROOM]", "  Leaves a room. What you said there stays. Also: /part."]),
    ],
)  # fmt: skip
def test_lists(answer: Answer, lines: list[str]) -> None:
    """A list is for reading: what is short stands in one line, what belongs together in columns."""
    assert shown(answer) == lines


def test_long_lists() -> None:
    """Long lists go on in further lines of 80, broken between names, in columns, and none is lost."""
    names = [f"somebody-number-{number}" for number in range(40)]
    for answer in (
        events.MemberList("books", [events.MemberLine(name, "member", True) for name in names]),
        events.UserList([events.UserLine(name, True) for name in names]),
        events.UnreadList([events.RoomStatus(name, 5, 4) for name in names]),
        events.Welcome("ana", [events.RoomStatus(name, 5, 4) for name in names]),
        events.RoomList([events.RoomLine(name, "a topic " * 20, 5, 5) for name in names]),
        events.BanList([events.BanLine(name, None, AT, "ana", "a reason " * 9) for name in names]),
    ):
        lines = shown(answer)
        assert len(lines) > 5
        assert set(names) <= {word.strip(",.") for line in lines for word in line.split()}
    members = shown(events.MemberList("books", [events.MemberLine(name, "", True) for name in names]))
    assert members[:2] == [
        "books, 40 here:",
        "  somebody-number-0   somebody-number-1   somebody-number-2",
    ]


LONG = "本" * 100


@pytest.mark.parametrize(
    "answer",
    [
        events.RoomList([events.RoomLine("r" * 64, LONG, 9**9, 1, "owner")], True),
        events.MemberList("r" * 64, [events.MemberLine("n" * 32, "moderator", True)] * 2),
        events.UserList([events.UserLine("n" * 32, True, AT, LONG)] * 2),
        events.UserList([events.UserLine("n" * 32, False, AT)] * 2),
        events.UnreadList([events.RoomStatus("r" * 64, 10**9, 0)]),
        events.TokenList([events.TokenLine("本" * 64, AT, AT)]),
        events.BanList([events.BanLine(None, "1111:" * 7 + "1111/128", AT, "n" * 32, LONG + " " + "x" * 400)]),
        events.BanList([events.BanLine("n" * 32, None, AT, "n" * 32, LONG)]),
        *(events.HelpText(name) for name in (*PAGES, "", "all", "first")),
    ],
)
def test_lists_fit_a_terminal(answer: Answer) -> None:
    """No line of a list is wider than 80, however long what is in it, and wide characters count twice."""
    assert shown(answer)


def test_widths() -> None:
    """What is cut or folded is so by what a terminal shows, and folding loses nothing but blanks."""
    assert (cells("ana"), cells("本e\u0301")) == (3, 3)
    assert (cut("本本本", 6), cut("本本本", 5), cut("abc", 2)) == ("本本本", "本本…", "a…")
    assert folded("a bb  ccccc d", 3) == ["a", "bb", "ccc", "cc", "d"]
    assert folded("本本", 3) == ["本", "本"]
    assert folded(" ", 3) == []


# Help


def test_every_command_has_help() -> None:
    """Each command has a page and each page a command, aliases lead to commands, and all can be found."""
    assert set(BUILDERS) == set(PAGES)
    assert set(GREETINGS) <= set(PAGES)
    assert len(PAGES) == sum(map(len, GROUPS.values()))
    assert set(ALIASES.values()) <= set(PAGES)
    assert not set(ALIASES) & set(PAGES)
    listed = {word.strip(",") for line in shown(events.HelpText("all")) for word in line.split()}
    assert {f"/{name}" for name in PAGES} <= listed


@pytest.mark.parametrize("word", [*PAGES, *ALIASES])
def test_help_about_each(word: str) -> None:
    """About every command and every other word for it there is its usage and a sentence."""
    about = text.parse(f"/help {word.upper()}")
    usage, *sentence = shown(events.HelpText(getattr(about, "about")))  # noqa: B009
    name = ALIASES.get(word, word)
    assert usage.split()[0].rstrip(",") == f"/{name}"
    assert len(sentence) in (1, 2)
    assert word == name or f"/{word}" in " ".join(sentence)


def test_overview_is_a_screen() -> None:
    """The commands that one needs first fit ten lines, and each of them is one."""
    lines = shown(events.HelpText())
    assert len(lines) == 10
    for line in lines[1:]:
        for word in line.split():
            if word.startswith("/"):
                assert word.strip("/,") in PAGES


def test_usage_is_what_is_understood() -> None:
    """Without arguments a command does what its usage says, or shows it."""
    for name, page in PAGES.items():
        try:
            text.parse(f"/{name}")
            shown = ""
        except Refused as refused:
            shown = refused.text
        if name in ("login", "register", "guest"):
            assert shown.startswith("You are logged in already.")
        else:
            assert shown in ("", f"Usage: {page.usage}")
        if " " not in page.usage:
            assert not shown.startswith("Usage")
