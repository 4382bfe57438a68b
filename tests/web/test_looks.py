"""What the page looks like: nothing runs over at any width, everybody can use it, and no text does harm."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.websocket import WebSocketClient
from tests.web.chromium import ESCAPE, Person
from tests.web.conftest import Open
from tests.web.scene import move_in, settle

pytestmark = pytest.mark.slow

SIZES = ((320, 640), (768, 1024), (1280, 800), (2560, 1440))
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
OVER = "return document.documentElement.scrollWidth > innerWidth || document.body.scrollWidth > innerWidth"
PICTURES = os.environ.get("CHATSERVER_PICTURES")
"""A folder that gets a picture of every state, to be looked at."""

HOSTILE = [
    "<script>window.hit = 1</script>",
    "<img src=x onerror=window.hit=1>",
    "javascript:window.hit=1",
    "data:text/html,<b>hit",
    'https://example.org/"onmouseover="window.hit=1',
    "[x](javascript:window.hit=1)",
    "`<svg onload=window.hit=1>`",
    "&lt;b&gt;",
    "\u202e" * 50 + "abc",
    "W" * 4000,
    "https://example.org/" + "a" * 3000,
    "漢" * 2000,
    "👩‍👩‍👧‍👦" * 200,
    "a\u0301\u0302\u0303" * 800,
    "\n" * 98 + "x",
    "ـ" * 900,
    "مرحبا بالعالم " * 60,
    "שלום <b>" * 100,
    "> " * 500,
    "- " * 500,
    "*" * 4000,
    "_*~`" * 900,
    "```\n" + "x" * 3000,
    "`" * 999,
    "(" * 4000,
    "[" * 4000,
    "http://" + "[" * 500,
    "https://a.b/?" + "&x=1" * 700,
    "@" * 4000,
    "@ana " * 700,
    "#general " * 400,
    ":" * 4000,
    "://" * 900,
    "http://http://" * 200,
    "{{constructor.constructor('window.hit=1')()}}",
    "${window.hit=1}",
    "\u00a0" * 500 + "x",
    "x" + " " * 3000 + "x",
    "\u2028\u2029",
    "😀" * 1900,
    "1. " * 900,
    "1.\n" * 90 + "x",
    "> \n" * 90 + "x",
    "- a\n" * 90 + "x",
    "*a _b ~c `d" * 300,
    "**" * 1500 + "a" + "**" * 300,
    "/me <b>waves</b>",
    "/me " + "W" * 3000,
    "<iframe src=https://example.org>",
    "<style>*{display:none}</style>",
    "<base href=//example.org>",
    "<form action=//example.org><button>Log in",
    "<!--",
    "]]>",
    "https://user:pass@example.org:99999/%00%ff",
    "https://EXAMPLE.org.",
    "HTTPS://example.org/(a)(b)",
    "mailto:a@b",
    "//example.org",
    "\\\\" * 900,
]


@pytest.fixture
def ana(person: Open, program: Callable[[str], WebSocketClient]) -> Person:
    """Somebody whose page shows a room where people have talked."""
    settle(program)
    one = person()
    move_in(one, program)
    return one


def snap(person: Person, name: str) -> None:
    if PICTURES:
        person.picture(Path(PICTURES) / f"{name}.png")


def findings(person: Person) -> list[str]:
    """What axe finds wrong, in words."""
    person.run(f"if (!window.axe) {{ {AXE} }}")
    script = """
        const done = arguments[arguments.length - 1];
        axe.run(document, {resultTypes: ["violations"]}).then(found => done(found.violations.flatMap(
            one => one.nodes.map(node => `${one.id}: ${node.target.join(" ")} ${node.failureSummary}`))),
            error => done([String(error)]));"""
    return list(person.here().execute_async_script(script))


def test_sizes(ana: Person) -> None:
    """At every size, light and dark, the message box is in view and nothing is wider than the window."""
    for dark in (False, True):
        for width, height in SIZES:
            ana.resize(width, height, dark=dark, touch=width < 720)
            ana.find("#box")
            assert not ana.run(OVER), (width, dark)
            bottom = ana.run("return document.querySelector('#box').getBoundingClientRect().bottom")
            assert bottom <= height, (width, height)
            snap(ana, f"room-{width}-{'dark' if dark else 'light'}")
    ana.resize(320, 640, touch=True)
    ana.run('location.hash = "#/"')
    ana.find(".rooms-list")
    assert not ana.run(OVER)
    snap(ana, "rooms-320")


def test_touch_targets(ana: Person) -> None:
    """On a phone everything that can be tapped in the rooms, the head and the box is 44 px high."""
    ana.resize(360, 720, touch=True)
    ana.chromium.cdp("Emulation.setTouchEmulationEnabled", enabled=True)
    small = """
        const all = document.querySelectorAll(".rooms button, .rooms a, .room-head button, .room-head a, .box button");
        return [...all].filter(one => one.checkVisibility() && one.getBoundingClientRect().height < 44)
            .map(one => one.outerHTML.slice(0, 100));"""
    assert ana.run(small) == []
    ana.run('location.hash = "#/"')
    ana.find(".rooms-list")
    assert ana.run(small) == []
    ana.chromium.cdp("Emulation.setTouchEmulationEnabled", enabled=False)


def test_everybody_can_use_it(ana: Person, person: Open) -> None:
    """axe finds nothing in twelve states: forms, rooms, panels, dialogs, dark, and a phone's width."""
    found: dict[str, list[str]] = {}

    def look(name: str, one: Person = ana) -> None:
        snap(one, f"state-{name}")
        found[name] = findings(one)

    visitor = person()
    visitor.find("form")
    look("login", visitor)
    visitor.click("button", "Create an account")
    look("register", visitor)
    ana.find("#box")
    look("room")
    ana.keys("Control+k")
    ana.find(".switch-row")
    look("switcher")
    ana.keys(ESCAPE)
    ana.click(".members-button")
    ana.find(".person")
    look("members")
    ana.keys("Control+f")
    ana.fill("Words to find", "tea")
    ana.click(".search button", "Search")
    ana.find(".found")
    look("search")
    ana.click(".panel button", "Close")
    ana.run("document.querySelector('article.message').focus()")
    ana.keys("ENTER")
    ana.find(".item")
    look("menu")
    ana.keys(ESCAPE)
    ana.click(".me")
    ana.click(".item", "Settings")
    ana.find(".tab")
    look("settings")
    ana.keys(ESCAPE)
    ana.click(".section-head button", "Find or create a room")
    ana.find(".list-row")
    look("browse")
    ana.keys(ESCAPE)
    ana.resize(1280, 800, dark=True)
    look("dark")
    ana.run('location.hash = "#/"')
    ana.find(".inbox")
    look("inbox")
    ana.resize(320, 640)
    ana.find(".rooms-list")
    look("narrow")
    assert len(found) == 12
    faults = [f"{name}: {fault}" for name, state in found.items() for fault in state]
    assert not faults, "\n".join(faults)


def test_everybody_can_use_the_rest(ana: Person, program: Callable[[str], WebSocketClient]) -> None:
    """axe finds nothing in what is behind menus and buttons, on a screen in light and on a phone in the dark."""
    found: dict[str, list[str]] = {}

    def look(name: str, *, phone: bool = True) -> None:
        for width, height, dark in ((1280, 800, False), (360, 740, True)) if phone else ((1280, 800, False),):
            ana.resize(width, height, dark=dark)
            assert not ana.run(OVER), name
            snap(ana, f"more-{name}-{width}")
            found[f"{name} {width}"] = findings(ana)
        ana.resize(1280, 800)

    def head(item: str) -> None:
        ana.click(".head-acts button", "More about this room")
        ana.click(".item", item)

    ana.act(6, "Mark unread from here")
    ana.find(".row.new")
    look("unread")
    ana.run("document.querySelector('.reaction').focus()")
    ana.find(".reaction[title]")
    ana.find("#box").send_keys("half a thought")
    ana.click("button.thread")
    ana.find(".panel .found", "No spoilers")
    look("thread")
    ana.click(".panel button", "Close")
    ana.click(".head-acts button", "Pinned messages")
    ana.find(".panel .found")
    look("pins")
    ana.click("article .name", "Cleo")
    ana.click(".profile button", "Block")
    ana.click(".dialog form button", "Block")
    ana.find(".profile", "Blocked")
    look("profile")
    ana.click(".panel button", "Close")
    ana.click(".members-button")
    ana.click(".person button", "More about dara")
    look("member-menu")
    ana.keys(ESCAPE)
    ana.click(".panel button", "Close")
    head("Go to a date")
    look("date")
    ana.keys(ESCAPE)
    program("ana").ok("create", room="cellar", visibility="private")
    ana.goto("cellar")
    head("Room settings")
    ana.find(".dialog", "New members may read")
    look("room-settings")
    ana.keys(ESCAPE)
    program("ana").ok("token", label="news", password="s3cret-words")
    ana.click(".me")
    ana.click(".item", "Settings")
    for tab in ("Notifications", "Devices", "Tokens", "Account"):
        ana.click(".tab", tab)
        ana.find(".dialog h3")
        look(f"settings-{tab.lower()}", phone=tab == "Tokens")
    ana.keys(ESCAPE)
    ana.run('location.hash = "#/@emil"')
    ana.find(".empty-title", "emil")
    look("direct")
    ana.run('location.hash = "#/nowhere"')
    ana.find(".empty-title", "You are not in #nowhere")
    look("stranger")
    ana.run('location.hash = "#/"')
    ana.find(".inbox", "half a thought")
    look("drafts", phone=False)
    faults = [f"{name}: {fault}" for name, state in found.items() for fault in state]
    assert not faults, "\n".join(faults)


def test_hostile_texts(person: Open, program: Callable[[str], WebSocketClient]) -> None:
    """Whatever people write is shown as text: nothing runs, nothing loads, and nothing is wider than a phone."""
    assert len(HOSTILE) >= 60
    bob = program("bob")
    stored = [text for text in HOSTILE if bob.cmd("say", room="general", text=text)["ok"]]
    assert len(stored) >= 50
    bob.ok("say", room="general", text="the end")
    ana = person("ana", width=320, height=640)
    ana.goto("general")
    ana.hears("the end")
    for _ in range(3):
        ana.keys("Control+HOME")
        assert ana.run("return window.hit") is None
        assert not ana.run(OVER)
        assert not ana.run("const log = document.querySelector('.log'); return log.scrollWidth > log.clientWidth")
    strange = """
        const made = ".rows script, .rows img, .rows iframe, .rows style, .rows form, .rows base";
        return document.querySelectorAll(made).length + [...document.querySelectorAll(".rows a")].filter(
                one => !/^(https?:|#)/.test(one.getAttribute("href"))).length;"""
    assert ana.run(strange) == 0
    snap(ana, "hostile-320")


def test_picture_of_the_readme(ana: Person) -> None:
    """The README's picture: a room with a conversation. `make picture` takes it anew."""
    ana.find("article", "I have been warned")
    if PICTURES:
        ana.picture(Path(PICTURES) / "page.png")
