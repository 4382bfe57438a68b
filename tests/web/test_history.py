"""Long histories, several tabs, and a page without its server."""

import os
import random
from collections.abc import Callable
from functools import partial
from typing import Final

import pytest

from tests.support.process import ChatServer, wait_until
from tests.support.websocket import WebSocketClient
from tests.web.chromium import Person
from tests.web.conftest import Open

pytestmark = pytest.mark.slow

KEPT: Final = """
    return new Promise(done => {
        indexedDB.open("chat").onsuccess = ({target}) => {
            const {result: db} = target;
            db.transaction("rooms").objectStore("rooms").getAll().onsuccess = ({target: all}) => {
                db.close();
                done(JSON.stringify(all.result));
            };
        };
    });
"""
"""The rooms that the page has stored in the browser, as JSON."""

Program = Callable[[str], WebSocketClient]
MESSAGES = 2000
KILLS = int(os.environ.get("CHATSERVER_KILLS", "3"))
"""How often the server is killed, and tabs are loaded again. With 20, give pytest `-o faulthandler_timeout=0`: it takes
minutes."""
EACH = 12 if KILLS < 20 else 200
"""Number of messages that each tab sends."""
ROWS = "return document.querySelectorAll('.rows > .row').length"
ANCHOR = """
    const log = document.querySelector(".log"), top = log.getBoundingClientRect().top;
    const row = [...log.querySelectorAll("article")].find(one => one.getBoundingClientRect().top >= top + 20);
    return [row.id, row.getBoundingClientRect().bottom];"""
"""A row, and its lower edge: above its text there may be a name, until more of the same author's come above it."""
BOTTOM = "return document.getElementById(arguments[0]).getBoundingClientRect().bottom"


def test_history(person: Open, program: Program) -> None:
    """Two thousand messages are read page by page, in at most 400 rows or so, and the row in view stays where it is."""
    bob = program("bob")
    for number in range(MESSAGES):
        bob.post("say", room="general", text=f"number {number}")
        if number % 100 == 99:
            bob.hears(f"number {number}")
    ana = person("ana")
    ana.goto("general")
    ana.hears(f"number {MESSAGES - 1}")
    ana.run("document.querySelector('.log').scrollTop = 300")
    for _ in range(3):
        before = ana.run("return document.querySelector('article').id")
        ana.run("document.querySelector('.log').scrollTop = 60")
        row, bottom = ana.run(ANCHOR)
        earlier = f"return document.querySelector('article').id !== {before!r}"
        ana.wait(partial(ana.run, earlier), "an earlier page")
        assert abs(ana.run(BOTTOM, row) - bottom) < 1, "the row that was in view has moved"
        assert ana.run(ROWS) < 450
    row, bottom = ana.run(ANCHOR)
    bob.say("general", "the newest")
    ana.find(".log-jump", "1 new message")
    assert abs(ana.run(BOTTOM, row) - bottom) < 1
    ana.click(".log-jump")
    ana.hears("the newest")
    ana.run("document.querySelector('article:last-of-type').focus()")
    ana.keys("HOME")
    ana.hears("number 0")
    ana.keys("END")
    ana.hears("the newest")
    ana.run('location.hash = "#/general/1000"')
    ana.wait(lambda: ana.run("return document.querySelector('.is-target')?.id") == "m-1000", "the message of the link")


def test_typing_at_the_end(person: Open, program: Program) -> None:
    """Whoever is at the end stays there while the box grows with what they type and others talk."""
    bob = program("bob")
    for number in range(60):
        bob.say("general", f"number {number}")
    ana = person("ana")
    ana.goto("general")
    ana.hears("number 59")
    ana.find("#box").click()
    for number in range(8):
        bob.post("say", room="general", text=f"live {number}")
        ana.keys("a", "Shift+ENTER", "b")
        bob.post("say", room="general", text=f"and more {number}")
    ana.hears("and more 7")
    rest = "const log = document.querySelector('.log'); return log.scrollHeight - log.scrollTop - log.clientHeight"
    ana.wait(lambda: ana.run(rest) < 1, "the end is in view")
    assert ana.run("return document.querySelector('.log-jump').hidden")


def test_offline_reload(person: Open, chat: ChatServer) -> None:
    """Without the server a reload shows the page, the last messages, and what is to be sent; later that is sent."""
    ana = person("ana")
    ana.goto("general")
    ana.say("stored")
    ana.hears("stored")
    ana.wait(lambda: ana.run("return navigator.serviceWorker.controller !== null"), "the service worker")
    ana.reload()
    ana.hears("stored")
    ana.wait(lambda: "stored" in ana.run(KEPT), "what this device keeps")  # it does so a few times a second
    chat.kill()
    ana.find(".connection-line")
    ana.say("typed without a server")
    ana.find(".pending", "typed without a server")
    ana.reload()
    ana.hears("stored")
    ana.find(".pending", "typed without a server")
    chat.start()
    ana.hears("typed without a server")
    ana.gone(".pending")


def test_reload_of_what_is_not_here(person: Open, program: Program) -> None:
    """A page that begins with what this device has gets the rest from the server: what came before, and where its
    address leads."""
    bob = program("bob")
    for number in range(300):
        bob.say("general", f"number {number}")
    ana = person("ana")
    ana.find(".rooms")
    bob.say("general", "the newest")
    ana.wait(lambda: "the newest" in ana.run(KEPT), "what this device keeps")
    ana.run("location.hash = '#/general/150'; location.reload()")
    ana.wait(lambda: ana.run("return document.querySelector('.is-target')?.id") == "m-150", "the message of the link")
    ana.run("location.hash = '#/general'; location.reload()")
    ana.hears("number 299")


def test_many_kills(person: Open, chat: ChatServer, program: Program) -> None:
    """Two people with two tabs each send messages from each tab, through kills of the server and reloads:
    each message is stored once, in the order of its tab."""
    tabs: dict[str, Person] = {}
    for name in ("ana", "bob"):
        first = person(name)
        tabs[f"{name}-1"], tabs[f"{name}-2"] = first, first.tab("/#/general")
    for tab in tabs.values():
        tab.goto("general")
    dice = random.Random(7)
    steps = [(name, number) for number in range(EACH) for name in tabs]
    kills = set(dice.sample(range(len(steps)), KILLS))
    reloads = set(dice.sample(range(len(steps)), KILLS))
    for step, (name, number) in enumerate(steps):
        tabs[name].say(f"{name} {number}")
        if step in kills:
            chat.kill()
            chat.start()
        if step in reloads:
            tabs[name].reload()
            tabs[name].find("#box")
    reader = program("cai")

    def stored() -> list[str]:
        entries, after = [], 0
        while page := reader.ok("history", room="general", after=after, limit=500)["entries"]:
            entries += page
            after = page[-1]["seq"]
        return [entry["text"] for entry in entries if entry["event"] == "message"]

    last = {f"{name} {EACH - 1}" for name in tabs}
    wait_until(lambda: last <= set(stored()), 60.0, "the last message of each tab is stored")
    for name in tabs:
        mine = [text for text in stored() if text.startswith(f"{name} ")]
        assert mine == [f"{name} {number}" for number in range(EACH)]
    assert len(stored()) == len(steps)
