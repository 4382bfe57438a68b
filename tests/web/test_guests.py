"""Guests in browsers: what they may do, and that a connection which ends takes nothing from them."""

from collections.abc import Callable
from typing import Final

import pytest

from tests.conftest import StartServer
from tests.support.process import ChatServer
from tests.support.websocket import WebSocketClient
from tests.web.chromium import Chromium
from tests.web.conftest import QUICK, WEB, Open

pytestmark = pytest.mark.slow

UNSENT: Final = """
    return new Promise(done => {
        indexedDB.open("chat").onsuccess = ({target}) => {
            const {result: db} = target;
            db.transaction("outbox").objectStore("outbox").getAll().onsuccess = ({target: all}) => {
                db.close();
                done(all.result.map(item => item.text));
            };
        };
    });
"""
"""The texts that this browser has still to send."""
WARNS: Final = "return !dispatchEvent(new Event('beforeunload', {cancelable: true}))"


@pytest.fixture
def chat(chromium: Chromium, server: StartServer) -> ChatServer:
    """A server that lets guests in."""
    return server(config=f"{QUICK}[server]\nguests = true\n", listen=[WEB], faultless=False)


def test_guest(person: Open, program: Callable[[str], WebSocketClient], chat: ChatServer) -> None:
    """A guest talks and is offered nothing that guests may not do; after a cut they go on as another guest."""
    guest, bob = person(), program("bob")
    guest.click("button", "Look around as a guest")
    guest.goto("general")
    guest.say("Is this the book club?")
    name = bob.hears("Is this the book club?")["from"]
    assert name.startswith("~")
    guest.hears("book club")
    assert "Direct messages" not in guest.run("return document.querySelector('.rooms').innerText")
    guest.click(".section-head button", "Find or create a room")
    guest.find(".dialog .list-row", "general")
    guest.gone(".dialog button", "New room")
    guest.click(".dialog button", "Close")
    guest.click(".members-button")
    guest.find(".person", "bob")
    guest.gone(".panel button", "Invite")
    guest.click(".person .room-row", "bob")
    guest.find(".profile button", "Ignore")
    guest.gone(".profile button", "Write")
    guest.click(".panel button", "Close")
    chat.kill()
    guest.find(".connection-line")
    guest.say("Or the wine club?")
    guest.find(".pending", "wine club")
    guest.find("#box").send_keys("half a thought")
    assert guest.run(WARNS)
    chat.start()
    guest.find(".is-notice", "You are now called ~")
    guest.hears("Or the wine club?")
    guest.gone(".pending")
    assert guest.run("return document.querySelector('#box').value") == "half a thought"
    assert not guest.run(WARNS)
    said = program("bob").ok("history", room="general")["entries"]
    assert [one["from"] == name for one in said if one["event"] == "message"] == [True, False]


def test_guest_leaves(person: Open, chat: ChatServer) -> None:
    """What a guest did not send is gone with the guest: it waits for nobody, and nobody else sends it."""
    guest = person()
    guest.click("button", "Look around as a guest")
    guest.goto("general")
    chat.kill()
    guest.find(".connection-line")
    guest.say("never to be sent")
    guest.find(".pending", "never to be sent")
    assert guest.run(UNSENT) == ["never to be sent"]
    guest.here().get("about:blank")
    chat.start()
    other = guest.tab()
    other.wait(lambda: other.run(UNSENT) == [], "it is gone")
