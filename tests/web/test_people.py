"""People in browsers: moderation and how it looks to the one concerned, profiles, typing, notifications."""

from collections.abc import Callable
from typing import Final

import pytest

from tests.support.websocket import WebSocketClient
from tests.web.chromium import ENTER, Person
from tests.web.conftest import Open

pytestmark = pytest.mark.slow

Program = Callable[[str], WebSocketClient]
COUNTED_NOTES: Final = """
    window.asked = 0;
    window.notes = [];
    window.Notification = class {
        static permission = "default";
        static async requestPermission() {
            window.asked += 1;
            return Notification.permission = "granted";
        }
        constructor(title, options) { window.notes.push(`${title}: ${options.body}`); }
        close() {}
    };
"""
"""A stand-in for what a browser shows outside of its window, which counts what is asked and what is shown."""


def member_menu(page: Person, name: str, item: str) -> None:
    """Choose an item of the menu of a member, in the panel of the members."""
    page.click(".person button", f"More about {name}")
    page.click(".item", item)


def test_moderation(person: Open) -> None:
    """An owner mutes, removes and bans somebody, and takes it back; that one sees each time what is the matter."""
    ana, bob = person("ana"), person("bob")
    ana.click(".section-head button", "Find or create a room")
    ana.click(".dialog button", "New room")
    ana.fill("Name", "books")
    ana.click(".dialog button", "Create room")
    ana.find(".room-head", "#books")
    bob.run('location.hash = "#/books"')
    bob.click(".main button", "Join #books")
    bob.say("Hello")
    ana.hears("Hello")
    ana.click(".members-button")
    member_menu(ana, "bob", "Mute…")
    ana.choose("For how long", "600")
    ana.click(".dialog form button", "Mute")
    bob.find(".row.event", "ana muted bob until")
    bob.say("Why?")
    bob.find(".is-refused .status", "muted")
    member_menu(ana, "bob", "End the mute")
    bob.find(".row.event", "ana lets bob speak again")
    bob.click(".is-refused button", "Try again")
    ana.hears("Why?")
    member_menu(ana, "bob", "Make moderator")
    ana.find(".person .tag", "moderator")
    bob.click(".members-button")
    bob.find(".person", "ana")
    bob.click(".person button", "More about ana")
    bob.find(".item", "Profile")
    assert not bob.run("return [...document.querySelectorAll('.item')].some(one => /Mute|Ban/.test(one.innerText))")
    bob.click(".item", "Profile")
    member_menu(ana, "bob", "Remove from the room…")
    ana.fill("Reason", "off topic")
    ana.click(".dialog form button", "Remove")
    bob.find(".connection-line", "ana removed you from #books: off topic")
    bob.find(".empty-title", "You are not in #books")
    ana.gone(".person", "bob")
    bob.click(".main button", "Join #books")
    bob.find("#box")
    member_menu(ana, "bob", "Ban…")
    ana.fill("Reason", "again")
    ana.click(".dialog form button", "Ban")
    bob.find(".connection-line", "ana banned you from #books: again")
    bob.click(".main button", "Join #books")
    bob.find(".toast", "banned")
    ana.click(".head-acts button", "More about this room")
    ana.click(".item", "Room settings")
    ana.find(".dialog .list-row", "again")
    ana.click(".dialog .list-row button", "End")
    ana.gone(".dialog .list-row", "again")
    bob.click(".main button", "Join #books")
    bob.find("#box")


def test_block_and_ignore(person: Open, program: Program) -> None:
    """What an ignored person says is hidden until one stops; a profile knows whom one has blocked, and ends that."""
    ana, bob = person("ana"), program("bob")
    ana.goto("general")
    bob.ok("say", room="general", text="Buy my book")
    ana.hears("Buy my book")
    ana.click("article .name", "bob")
    ana.click(".profile button", "Ignore")
    ana.gone("article", "Buy my book")
    ana.click(".profile button", "Stop ignoring")
    ana.hears("Buy my book")
    ana.click(".profile button", "Block")
    ana.click(".dialog form button", "Block")
    ana.find(".profile .sub", "Blocked")
    assert bob.cmd("say", room="@ana", text="psst")["error"] == "blocked"
    ana.click(".panel button", "Close")
    ana.click("article .name", "bob")
    ana.click(".profile button", "Unblock")
    ana.find(".profile button", "Block")
    ana.find(".profile .sub", "Online")
    bob.ok("say", room="@ana", text="psst")
    ana.find(".rooms .room-row.is-unread", "bob")


def test_typing(person: Open) -> None:
    """While somebody types, others see it, until the message comes."""
    ana, bob = person("ana"), person("bob")
    for one in (ana, bob):
        one.goto("general")
    ana.find("#box").send_keys("Hel")
    bob.find(".typing", "ana is typing")
    ana.find("#box").send_keys("lo", ENTER)
    bob.hears("Hello")
    bob.gone(".typing", "ana")


def test_notifications(person: Open, program: Program) -> None:
    """The page asks for notifications on a click only, and then tells of what is meant for one and not in view."""
    ana, bob = person("ana"), program("bob")
    ana.here()
    ana.chromium.cdp("Page.addScriptToEvaluateOnNewDocument", source=COUNTED_NOTES)
    ana.reload()
    ana.goto("general")
    bob.ok("say", room="@ana", text="before")
    ana.find(".rooms .room-row.is-unread", "bob")
    assert ana.run("return [asked, notes]") == [0, []]
    ana.click(".me")
    ana.click(".item", "Settings")
    ana.click(".tab", "Notifications")
    ana.click(".dialog button", "Notify me")
    ana.find(".toast", "Notifications are on")
    assert ana.run("return asked") == 1
    ana.click(".dialog button", "Close")
    bob.ok("say", room="@ana", text="after")
    ana.wait(lambda: ana.run("return notes") == ["bob · @bob: after"], "one notification")
    bob.ok("say", room="general", text="ana: you look at this")
    ana.hears("you look at this")
    ana.run('location.hash = "#/@bob"')
    ana.hears("after")
    ana.wait(lambda: not ana.run("return document.querySelector('.is-unread')"), "everything is read")
    ana.goto("general")
    program("ana").ok("read", room="@bob", seq=0, back=True)
    ana.find(".rooms .room-row.is-unread", "bob")
    assert ana.run("return notes") == ["bob · @bob: after"], "what is unread again is no news"
    ana.goto("@bob")
    ana.find(".room-head h1", "bob")
    ana.click(".head-acts button", "More about this room")
    ana.click(".item", "Notify me of nothing")
    ana.find(".toast", "Saved")
    ana.goto("general")
    ana.find(".rooms .draft", "notifications off")
    bob.ok("say", room="@ana", text="later")
    ana.find(".rooms .room-row.is-unread", "bob")
    assert ana.run("return notes") == ["bob · @bob: after"]
