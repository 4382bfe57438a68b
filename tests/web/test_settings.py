"""One's own things in browsers: names, password, clock, devices, tokens, the export, and the end of the account."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.process import ChatServer, wait_until
from tests.support.websocket import WebSocketClient
from tests.web.chromium import Person
from tests.web.conftest import Open

pytestmark = pytest.mark.slow

Program = Callable[[str], WebSocketClient]


def settings(page: Person, tab: str) -> None:
    """Open a part of the settings."""
    page.find("#box")
    page.click(".me")
    page.click(".item", "Settings")
    page.click(".tab", tab)


def test_names_and_clock(person: Open, program: Program) -> None:
    """A display name takes the password and shows everywhere; the clock changes the times at once."""
    ana, bob = person("ana"), program("bob")
    ana.goto("general")
    ana.say("Hello")
    ana.hears("Hello")
    settings(ana, "You")
    ana.fill("What people see beside ana", "Ana B.")
    ana.fill("Your password", "wrong-words")
    ana.click(".dialog form button", "Save")
    ana.find(".field-fault", "password")
    ana.fill("Your password", "s3cret-words")
    ana.click(".dialog form button", "Save")
    assert bob.wait_event("renamed")["display"] == "Ana B."
    ana.find(".me-name", "Ana B.")
    ana.choose("Hours", "12")
    ana.find("article time", "M")  # AM or PM, in any case of a browser that speaks English
    ana.choose("Hours", "24")
    ana.gone("article time", "M")
    ana.click(".dialog button", "Close")
    ana.find(".row.event", "ana is now called Ana B.")


def test_password_and_devices(person: Open, program: Program) -> None:
    """Devices are listed, one is ended and finds itself logged out; a new password is the one that lets in."""
    ana, other = person("ana"), person()
    other.login("ana")
    other.find(".shell")
    settings(ana, "Devices")
    ana.find(".list-row", "this device")
    ana.click(".list-row button", "End")
    other.find("form")
    ana.gone(".list-row button", "End")
    ana.click(".tab", "You")
    ana.fill("Password until now", "s3cret-words")
    ana.fill("New password", "other-words")
    ana.fill("New password again", "other-word")
    ana.click(".dialog form button", "Change password")
    ana.find(".field-fault", "differ")
    ana.fill("New password again", "other-words")
    ana.click(".dialog form button", "Change password")
    ana.find(".dialog .toast", "The password is changed")
    other.login("ana", "s3cret-words")
    other.find(".field-fault", "password")
    other.login("ana", "other-words")
    other.find(".shell")
    ana.reload()
    ana.find(".shell")


def test_tokens(person: Open, chat: ChatServer) -> None:
    """A token is shown once, logs a program in, and does so no longer when it is revoked."""
    ana = person("ana")
    settings(ana, "Tokens")
    ana.find(".dialog .hint", "Programs log in")
    ana.fill("What it is for", "news")
    ana.fill("Your password", "s3cret-words")
    ana.click(".dialog form button", "Create token")
    token = ana.find(".secret").text
    first = WebSocketClient(chat.address)
    assert first.cmd("login", token=token)["name"] == "ana"
    first.close()
    ana.click(".tab", "Devices")
    ana.click(".tab", "Tokens")
    ana.find(".list-row", "news")
    ana.gone(".secret")
    ana.click(".list-row button", "Revoke")
    ana.gone(".list-row", "news")
    second = WebSocketClient(chat.address)
    assert second.cmd("login", token=token)["error"] == "bad-credentials"
    second.close()


def test_export_and_erase(person: Open, program: Program, tmp_path: Path) -> None:
    """The export has what one wrote; an account that is erased is out, and cannot come back."""
    ana, bob = person("ana"), program("bob")
    ana.goto("general")
    ana.say("Remember me")
    bob.hears("Remember me")
    ana.chromium.call(
        "Browser.setDownloadBehavior", behavior="allow", browserContextId=ana.context, downloadPath=str(tmp_path)
    )
    settings(ana, "Account")
    ana.click(".dialog button", "Save the file")
    file = tmp_path / "ana.json"
    wait_until(file.exists, 30.0, "the file of the export")
    written = json.loads(file.read_text(encoding="utf-8"))
    assert written["account"]["name"] == "ana"
    assert [entry.get("text") for entry in written["entries"]][-1] == "Remember me"
    ana.click(".dialog button", "Erase my account…")
    ana.fill("Your password", "wrong-words")
    ana.click(".dialog form button", "Erase my account")
    ana.find(".field-fault", "password")
    ana.choose("Your messages", "erase")
    ana.fill("Your password", "s3cret-words")
    ana.click(".dialog form button", "Erase my account")
    ana.find("form button", "Log in")
    wait_until(lambda: not bob.ok("search", text="Remember", room="general")["entries"], 30.0, "the message is erased")
    ana.login("ana")
    ana.find(".field-fault", "password")
