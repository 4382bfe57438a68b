"""Rooms in browsers: what is unread from somewhere on, private ones, threads, pins, dates, drafts."""

from collections.abc import Callable

import pytest

from tests.support.websocket import WebSocketClient
from tests.web.chromium import Person
from tests.web.conftest import Open
from tests.web.test_talking import BADGES, unread

pytestmark = pytest.mark.slow

Program = Callable[[str], WebSocketClient]


def said(client: WebSocketClient, room: str, *texts: str) -> list[int]:
    return [int(client.ok("say", room=room, text=text)["seq"]) for text in texts]


def shows_badge(page: Person, room: str, count: int) -> None:
    page.wait(lambda: page.run(BADGES)[room] == count, f"{count} unread in {room}")


def test_unread_from_here(person: Open, program: Program) -> None:
    """What one marks as unread stays so in all tabs, though it is on the screen, until one comes to the room again."""
    ana, bob = person("ana"), program("bob")
    device = program("ana")
    ana.goto("general")
    seqs = said(bob, "general", "one", "two", "three", "four")
    tab = ana.tab("/#/general")
    for page in (ana, tab):
        page.hears("four")
        page.wait(lambda: unread(device)["general"] == 0, "everything is read")
    ana.act(seqs[1], "Mark unread from here")
    for page in (ana, tab):
        shows_badge(page, "general", 3)
        page.find(f".row.new + #m-{seqs[1]}")
    said(bob, "general", "five")
    for page in (ana, tab):
        page.hears("five")
        shows_badge(page, "general", 4)
    assert unread(device)["general"] == 4
    tab.run('location.hash = "#/"')
    tab.click(".inbox a", "general")
    for page in (ana, tab):
        shows_badge(page, "general", 0)
    assert unread(device)["general"] == 0


def test_private_room(person: Open) -> None:
    """A private room is created, somebody is invited and comes in; its settings show what is set."""
    ana, bob = person("ana"), person("bob")
    ana.click(".section-head button", "Find or create a room")
    ana.click(".dialog button", "New room")
    ana.fill("Name", "Cellar")
    ana.fill("Topic", "Wine")
    ana.choose("Who may read it", "private")
    ana.click(".dialog button", "Create room")
    ana.find(".room-head", "#cellar")
    bob.run('location.hash = "#/cellar"')
    bob.click(".main button", "Join #cellar")
    bob.find(".toast", "cellar")
    ana.click(".head-acts button", "More about this room")
    ana.click(".item", "Room settings and invitations")
    ana.find(".dialog .head", "Private room")
    ana.choose("Who may invite", "moderators")
    ana.find(".row.event", "moderators may invite")
    ana.choose("Each member may send one message every", "5")
    ana.find(".row.event", "one message every 5 s")
    ana.click(".dialog button", "Close")
    ana.click(".head-acts button", "More about this room")
    ana.click(".item", "Room settings and invitations")
    chosen = "return [...document.querySelectorAll('.dialog select')].map(one => one.value)"
    ana.wait(lambda: ana.run(chosen) == ["moderators", "closed", "5"], "what is set")
    ana.click(".dialog button", "Invite somebody")
    ana.fill("Name of the account", "nobody-here")
    ana.click(".dialog form button", "Invite")
    ana.find(".field-fault", "nobody-here")
    ana.fill("Name of the account", "bob")
    ana.click(".dialog form button", "Invite")
    bob.find(".empty-title", "ana has invited you to #cellar")
    bob.click(".invitation button", "Join")
    bob.say("one")
    bob.say("two")
    bob.find(".pending .status", "In cellar each member may send one message every 5 s.")
    ana.hears("one")
    ana.hears("two")
    bob.gone(".pending")


def test_threads_and_pins(person: Open, program: Program) -> None:
    """A thread at the side grows while one looks; pins come and go; a link to a message and a date lead to it."""
    ana, bob = person("ana"), program("bob")
    ana.goto("general")
    first, second = said(bob, "general", "Shall we?", "Another matter")
    bob.ok("reply", room="general", seq=first, text="I would")
    ana.click("button.thread", "1 reply")
    ana.find(".panel .found", "I would")
    ana.find(".panel textarea").send_keys("Me, too\ue007")
    ana.find(".panel .found", "Me, too")
    bob.ok("reply", room="general", seq=first, text="Then we do")
    ana.find(".panel .rule", "3 replies")
    ana.find(".panel .found", "Then we do")
    ana.click(".panel button", "Close")
    ana.act(second, "Pin")
    ana.find(".row.event", "ana pinned a message")
    ana.click(".head-acts button", "Pinned messages")
    ana.find(".panel .found", "Another matter")
    ana.act(second, "Unpin")
    ana.find(".row.event", "ana unpinned a message")
    ana.gone(".panel .found", "Another matter")
    ana.click(".panel button", "Close")
    ana.run("location.hash = arguments[0]", f"#/general/{first}")
    ana.find(f"#m-{first}.is-target")
    ana.click(".head-acts button", "More about this room")
    ana.click(".item", "Go to a date")
    ana.click(".dialog button", "Go there")
    ana.gone(".dialog")
    ana.find(f".row.is-target:not(#m-{first})")


def test_who_reacted(person: Open, program: Program) -> None:
    """A reaction says who gave it, to those who point at it and to those who come to it by keys."""
    ana, bob, cleo = person("ana"), program("bob"), program("cleo")
    ana.goto("general")
    [seq] = said(bob, "general", "Cake?")
    ana.hears("Cake?")
    for one in (bob, cleo):
        one.ok("react", room="general", seq=seq, reaction="tada")
    ana.find(".reaction .count", "2")
    ana.run("document.querySelector('.reaction').focus()")
    ana.find(".reaction[title='bob and cleo reacted with tada']", "by bob and cleo")
    ana.click(".reaction")
    ana.find(".reaction.is-mine .count", "3")
    ana.act(seq, "Who reacted")
    ana.find(".reactors dd", "ana, bob, cleo")


def drafts(page: Person) -> list[str]:
    return list(page.run("return [...document.querySelectorAll('ul[aria-label=Drafts] li')].map(one => one.innerText)"))


def test_drafts(person: Open, program: Program) -> None:
    """Drafts are listed in the inbox, also of conversations that have not begun; one goes on, also renamed."""
    ana = person("ana")
    program("bob")
    for place, text in (("general", "half a thought"), ("@bob", "psst")):
        ana.goto(place)
        ana.find("#box").send_keys(text)
    ana.run('location.hash = "#/"')
    ana.find(".rooms .draft")
    ana.reload()
    ana.run('location.hash = "#/"')
    ana.find(".inbox", "half a thought")
    assert len(drafts(ana)) == 2
    ana.click(".inbox li a", "Go on")
    ana.wait(lambda: ana.run("return document.querySelector('#box')?.value") in ("half a thought", "psst"), "the draft")
    ana.find("#box").send_keys("\ue007")
    ana.run('location.hash = "#/"')
    ana.find(".inbox")
    ana.wait(lambda: len(drafts(ana)) == 1, "one draft is left")
    program("ana").ok("rename", name="anna")
    ana.find(".me-name", "anna")
    ana.reload()
    ana.run('location.hash = "#/"')
    ana.wait(lambda: len(drafts(ana)) == 1, "the draft goes on under the other name")
