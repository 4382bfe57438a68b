"""People in browsers: they come in, talk, are cut off, and come back."""

from collections.abc import Callable

import pytest

from tests.support.process import ChatServer
from tests.support.websocket import WebSocketClient
from tests.web.chromium import ENTER, ESCAPE, UP
from tests.web.conftest import Open

Program = Callable[[str], WebSocketClient]
BADGES = """
    return Object.fromEntries([...document.querySelectorAll(".rooms section .room-row")].map(row => [
        row.querySelector(".label bdi").innerText,
        Number(row.querySelector(".badge:not(.mention)")?.innerText ?? 0)]));"""


def unread(client: WebSocketClient) -> dict[str, int]:
    """The unread messages by room, as the server counts them."""
    return {room["room"].removeprefix("@"): room["messages"] for room in client.ok("unread")["rooms"]}


def test_talk_and_reload(person: Open) -> None:
    """Somebody registers, talks, and is in the same room after a reload, without being asked again."""
    ana = person("ana")
    ana.click(".rooms a", "general")
    ana.say("hello")
    ana.hears("hello")
    ana.reload()
    ana.hears("hello")
    assert ana.run("return location.hash") == "#/general"
    stored = "return [document.cookie, sessionStorage.length, window.localStorage.length]"
    assert ana.run(stored) == ["", 0, 0], "no script can read what keeps the login"


@pytest.mark.slow
def test_log_out_and_in(person: Open) -> None:
    """After a log-out the form is there; a wrong password is said at its field, and the right one lets in."""
    ana = person("ana")
    ana.click(".me")
    ana.click(".item", "Log out")
    ana.login("ana", "wrong-password")
    ana.find(".field-fault", "password")
    assert ana.run("return document.activeElement.name") == "password"
    ana.login("ana")
    ana.find(".shell")
    assert [line for line in ana.console() if "session" not in line] == []


@pytest.mark.slow
def test_register_form(person: Open) -> None:
    """Two passwords that differ, one that is too short and a name that is taken are said at their fields."""
    person("ana")
    bob = person()
    bob.click("button", "Create an account")
    for name, first, second, fault in (
        ("bob", "s3cret-words", "s3cret-word", "differ"),
        ("bob", "short", "short", "at least 8"),
        ("ana", "another-words", "another-words", "taken"),
    ):
        bob.fill("Name", name)
        bob.fill("Password", first)
        bob.fill("Password again", second)
        bob.click("button", "Create account")
        bob.find(".field-fault", fault)


@pytest.mark.slow
def test_badges(person: Open, program: Program) -> None:
    """Two people talk; each badge is what the server tells a second connection."""
    ana, bob = person("ana"), program("bob")
    ana.goto("general")
    for room in ("books", "attic"):
        bob.ok("create", room=room)
        ana.run("location.hash = arguments[0]", f"#/{room}")
        ana.click(".main button", f"Join #{room}")
        ana.find("#box")
    again = program("ana")
    for number in range(5):
        bob.say("books", f"about books {number}")
        bob.say("@ana", f"psst {number}")
    bob.say("general", "ana: look here")
    bob.say("attic", "you see this")
    ana.hears("you see this")
    ana.wait(lambda: ana.run(BADGES) == unread(again), "the badges of the server")
    assert unread(again)["books"] == 5
    ana.find(".badge.mention", "1")
    bob.ok("erase", room="books", seq=bob.ok("say", room="books", text="never mind")["seq"])
    ana.keys("n")
    ana.wait(lambda: ana.run(BADGES) == unread(again), "the badges of the server")


@pytest.mark.slow
def test_everyday_acts(person: Open, program: Program) -> None:
    """A reply, a reaction, an edit, a pin and an erasure, each from the page, arrive at everybody else."""
    ana, bob = person("ana"), program("bob")
    ana.goto("general")
    seq = bob.ok("say", room="general", text="Shall we read it?")["seq"]
    row = f"#m-{seq}"
    ana.hears("Shall we read it?")
    ana.act(seq, "Reply")
    ana.say("Yes, this winter.")
    ana.find("article .quote", "Shall we read it?")
    ana.act(seq, "React")
    ana.fill("Reaction", "tada")
    ana.keys(ENTER)
    assert bob.wait_event("reacted")["reaction"] == "🎉"
    ana.find(f"{row} .reaction.is-mine", "🎉")
    ana.act(seq, "Pin")
    assert bob.wait_event("pinned")["of"] == seq
    box = ana.find("#box")
    box.send_keys(UP)
    ana.find(".box-banner", "Editing")
    box.clear()
    ana.say("Yes, this summer.")
    edited = bob.wait_event("edited")
    assert edited["text"] == "Yes, this summer."
    ana.find(f"#m-{edited['of']}", "Yes, this summer.")  # the message itself, not the change that was on its way
    ana.act(edited["of"], "Edit")
    ana.find(".box-banner", "Editing")
    ana.keys("END", "!", ENTER)
    ana.find("article", "Yes, this summer.!")
    bob.ok("erase", room="general", seq=seq)
    ana.find(f"{row}.is-erased", "erased")


@pytest.mark.slow
def test_refused(person: Open, program: Program) -> None:
    """A message that the server refuses says why, and can be discarded."""
    ana, bob = person("ana"), program("bob")
    bob.ok("block", name="ana")
    ana.run('location.hash = "#/@bob"')
    ana.find("#box")
    bob.ok("create", room="quiet")
    ana.run('location.hash = "#/quiet"')
    ana.click(".main button", "Join")
    ana.find("#box")
    bob.ok("mute", room="quiet", name="ana")
    ana.say("can you hear me")
    ana.find(".is-refused .status", "Not sent")
    ana.click(".is-refused button", "Discard")
    ana.gone(".pending")


@pytest.mark.slow
def test_killed_while_sending(person: Open, chat: ChatServer, program: Program) -> None:
    """The server is killed while somebody sends: nothing is lost or doubled, and the order is theirs."""
    ana = person("ana")
    ana.goto("general")
    sent = [f"message {number}" for number in range(20)]
    for number, text in enumerate(sent):
        if number % 5 == 2:
            chat.kill()
        ana.say(text)
        if number % 5 == 4:
            chat.start()
    ana.hears(sent[-1])
    ana.gone(".pending")
    entries = program("bob").ok("history", room="general", limit=100)["entries"]
    assert [entry["text"] for entry in entries if entry["event"] == "message"] == sent
    assert [text for text in ana.texts() if text.startswith("message")] == sent


@pytest.mark.slow
def test_offline_says_so(person: Open, chat: ChatServer) -> None:
    """Without a server the page says that it connects, and how many messages will be sent; then it sends them."""
    ana = person("ana")
    ana.goto("general")
    ana.say("before")
    ana.hears("before")
    chat.kill()
    ana.find(".connection-line")
    ana.say("one")
    ana.say("two")
    ana.find(".connection-line", "Your 2 messages will be sent.")
    chat.start()
    ana.hears("one")
    ana.hears("two")
    ana.gone(".connection-line")


@pytest.mark.slow
def test_keyboard_only(person: Open, program: Program) -> None:
    """Everything by keys: the switcher, rooms, the list of keys, completion, an edit, and back with Esc."""
    ana, bob = person("ana"), program("bob")
    bob.ok("create", room="books", topic="What we read")
    ana.keys("Control+k")
    ana.keys(*"books", ENTER)
    ana.click(".main button", "Join #books")
    ana.find("#box")
    ana.keys("Control+k")
    ana.keys(*"gener", ENTER)
    ana.wait(lambda: ana.run("return location.hash") == "#/general")
    ana.wait(lambda: ana.run("return document.activeElement.id") == "box")
    ana.keys(*"@bo")
    ana.find(".complete li", "@bob")
    ana.keys("TAB", *"hi", ENTER)
    ana.hears("@bob hi")
    ana.keys("Alt+ARROW_DOWN")
    ana.wait(lambda: ana.run("return location.hash") != "#/general")
    ana.keys("Alt+ARROW_UP")
    ana.wait(lambda: ana.run("return location.hash") == "#/general")
    ana.keys("Control+f")
    ana.wait(lambda: ana.run("return document.activeElement.name") == "text")
    ana.keys(*"hi", ENTER)
    ana.find(".found", "hi")
    ana.keys(ESCAPE)
    ana.gone(".panel")
