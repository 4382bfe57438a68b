"""The budgets of the page that can be counted: rows, memory, bytes, requests, pixels. `bench/web.py` has the others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from bench import fill
from tests.support.process import ChatServer
from tests.support.websocket import WebSocketClient
from tests.web.conftest import Open
from tests.web.devtools import DevTools

pytestmark = pytest.mark.slow

Program = Callable[[str], WebSocketClient]

ENTRIES: Final = 100_000
ROOM: Final = "deepr0"
PLACES: Final = (20_000, 40_000, 60_000, 80_000)
PAGES: Final = 12
"""Number of pages that are read above each of these places."""
ROWS: Final = 400
HEAP: Final = 10_000_000
LOGIN: Final = 10_000
ROOMS: Final = 20
POINT: Final = (700, 500)
FILES: Final = 30
"""Number of files that a view of the page needs at least."""
HEAD: Final = 1000
"""Size of an answer that says that nothing has changed, in bytes."""

MOST_ROWS: Final = """
    const rows = document.querySelector(".rows");
    window.most = rows.children.length;
    const count = () => { window.most = Math.max(window.most, rows.children.length); };
    new MutationObserver(count).observe(rows, {childList: true});"""
"""Keeps the largest number of rows that there ever were in `most`."""
FIRST_ROW: Final = "return document.querySelector('.rows > article').id"
TO_TOP: Final = "document.querySelector('.log').scrollTop = 0"
TOP_AND_WATCH: Final = """
    document.querySelector(".log").scrollTop = 0;
    const [x, y] = arguments, row = document.elementFromPoint(x, y).closest(".row"), {id} = row;
    const top = row.getBoundingClientRect().top;
    window.watched = id;
    window.moved = 0;
    const look = () => {
        if (window.watched !== id) return;
        const now = document.getElementById(id)?.getBoundingClientRect().top ?? Infinity;
        window.moved = Math.max(window.moved, Math.abs(now - top));
        requestAnimationFrame(() => setTimeout(look));
    };
    look();
    return id;"""
"""Scrolls to the top, and keeps in `moved` by how many pixels the row at a point is ever away, after each frame."""
SHIFTS: Final = """new Promise(done => {
    const found = [], name = node => node && (node.id || node.className || node.nodeName);
    const note = list => list.getEntries().forEach(({sources}) => found.push(sources.map(({node}) => name(node))));
    new PerformanceObserver(note).observe({type: "layout-shift", buffered: true});
    setTimeout(() => done(found), 500);
})"""
"""What has shifted since the page was loaded, as Chromium sees it."""


@pytest.fixture
def deep(chat: ChatServer) -> str:
    """The name of a room with a hundred thousand messages."""
    file = Path(chat.database.removeprefix("sqlite:///"))
    fill.fill(fill.SqliteFill(file), fill.People("deep", 1, 1, ENTRIES))
    return ROOM


def test_a_hundred_thousand(person: Open, program: Program, deep: str) -> None:
    """Wherever one is in a hundred thousand messages, and whatever comes, there are few rows, and the heap is small."""
    ana = person("ana")
    program("ana").ok("join", room=deep)
    ana.goto(deep)
    ana.hears(f"number {ENTRIES - 1}")
    ana.run(MOST_ROWS)
    for place in PLACES:
        ana.run("location.hash = arguments[0]", f"#/{deep}/{place}")
        ana.find(f"#m-{place}")
        for _ in range(PAGES):
            first = ana.run(FIRST_ROW)
            ana.run(TO_TOP)
            ana.wait(lambda first=first: ana.run(FIRST_ROW) != first, "an earlier page")  # type: ignore[misc]
    ana.run("document.querySelector('.rows > article').focus()")
    ana.keys("HOME")
    ana.find("#m-1")
    ana.keys("END")
    ana.find(".row.event", "ana joined")
    ana.run("document.querySelector('.log').scrollTop -= 300")
    bob = program("bob")
    bob.ok("join", room=deep)
    last = [bob.post("say", room=deep, text=f"live {number}") for number in range(2 * ROWS)][-1]
    seq = bob.answer(last)["seq"]
    ana.find(".log-jump", "new messages")
    assert ana.run("return window.most") <= ROWS
    ana.click(".log-jump")
    ana.find(f"#m-{seq}")
    with DevTools(ana) as tools:
        assert tools.heap() <= HEAP
    assert ana.run("return window.most") <= ROWS


def test_the_row_under_the_pointer(person: Open, program: Program, deep: str) -> None:
    """It does not move by a pixel while pages come above, messages below, and reactions in between."""
    ana = person("ana")
    program("ana").ok("join", room=deep)
    bob = program("bob")
    bob.ok("join", room=deep)
    ana.goto(deep)
    ana.hears(f"number {ENTRIES - 1}")
    with DevTools(ana) as tools:
        for _ in range(3):
            first = ana.run(FIRST_ROW)
            row = ana.run(TOP_AND_WATCH, *POINT)
            last = [bob.post("say", room=deep, text=f"live {number}") for number in range(100)][-1]
            ana.wait(lambda first=first: ana.run(FIRST_ROW) != first, "an earlier page")  # type: ignore[misc]
            tools.call("Input.dispatchMouseEvent", type="mouseMoved", x=POINT[0], y=POINT[1])
            above = int(row.removeprefix("m-")) - 3
            bob.answer(last)
            bob.ok("react", room=deep, seq=above, reaction="👍")
            ana.find(f"#m-{above} .reaction")
            assert ana.run("return window.moved") == 0


def test_login(person: Open, program: Program) -> None:
    """Somebody with twenty rooms is in after one frame each way, and nothing is asked about the rooms one by one."""
    bob = program("bob")
    ana = person("ana")
    again = program("ana")
    for number in range(ROOMS):
        bob.ok("create", room=f"room-{number}", topic=f"What there is to be said about the number {number}")
        again.ok("join", room=f"room-{number}")
        for text in ("Is anybody here?", "ana: please look at this when you have time"):
            bob.say(f"room-{number}", text)
    ana.find(".room-row", "room-19")
    with DevTools(ana) as tools:
        ana.here().get("about:blank")
        tools.call("Storage.clearDataForOrigin", origin=ana.url, storageTypes="indexeddb")
        tools.call("Network.enable")
        ana.open("/#/room-7")
        ana.hears("Is anybody here?")
        ana.find(".room-row", "room-19")
        tools.wait(
            lambda: all(word in received(tools) for word in ("login", "who", "ignore", "history")), "all answers"
        )
        assert sorted(sent(tools)) == ["history", "ignore", "login", "server", "who"]
        assert sum(map(len, (*sent(tools).values(), *received(tools).values()))) <= LOGIN


def sent(tools: DevTools) -> dict[str, bytes]:
    """What the page has sent, each command once, by its word."""
    frames = [event["response"]["payloadData"] for event in tools.of("Network.webSocketFrameSent")]
    found = {json.loads(frame)["cmd"]: frame.encode() for frame in frames}
    assert len(found) == len(frames), frames
    return found


def received(tools: DevTools) -> dict[str, bytes]:
    """What has come for the page, by the word of the command that it answers, or of the event."""
    found: dict[str, bytes] = {}
    for event in tools.of("Network.webSocketFrameReceived"):
        frame = event["response"]["payloadData"]
        first = json.loads(frame.splitlines()[0])
        word = first.get("cmd") or first["event"]
        found[word] = found.get(word, b"") + frame.encode()
    return found


def test_requests(person: Open) -> None:
    """No other host is asked for anything, whatever people write, and nothing is fetched twice: a page that was here
    before comes from the browser's cache, or from that of the service worker, without a byte of any file."""
    ana = person()
    with DevTools(ana) as tools:
        tools.call("Network.enable")
        ana.register("ana")
        ana.goto("general")
        ana.say("https://example.org/picture.png ![](https://example.org/x.gif) <img src=//example.org/y.gif>")
        ana.hears("picture.png")
        ana.wait(lambda: ana.run("return navigator.serviceWorker.controller !== null"), "the service worker")
        for is_bypassed in (True, False):
            tools.call("Network.setBypassServiceWorker", bypass=is_bypassed)
            ana.here().get("about:blank")
            seen = len(tools.of("Network.loadingFinished"))
            ana.open("/#/general")
            ana.hears("picture.png")
            fetched = [event["encodedDataLength"] for event in tools.of("Network.loadingFinished")][seen:]
            assert len(fetched) > FILES
            assert sum(fetched) <= HEAD
        urls = {event["request"]["url"] for event in tools.of("Network.requestWillBeSent")}
        urls |= {event["url"].replace("ws:", "http:") for event in tools.of("Network.webSocketCreated")}
    assert [url for url in urls if not url.startswith((f"{ana.url}/", "about:"))] == []


def test_nothing_shifts(person: Open, program: Program) -> None:
    """From the first paint on everything stays in its place: in the form, and in a room after a reload."""
    bob = program("bob")
    for number in range(50):
        bob.say("general", f"number {number}")
    ana = person()
    ana.find("form")
    with DevTools(ana) as tools:
        assert tools.evaluate(SHIFTS) == []
        ana.register("ana")
        ana.goto("general")
        ana.hears("number 49")
        ana.reload()
        ana.hears("number 49")
        assert tools.evaluate(SHIFTS) == []
