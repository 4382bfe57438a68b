"""`chatctl user`: managing accounts."""

from pathlib import Path

import pytest

from chatserver.store import accounts, entries, messages
from chatserver.store.db.engine import open_ready, parse_url
from chatserver.store.messages import Draft
from tests.chatctl.conftest import PASSWORD, Chatctl


def hash_of(chatctl: Chatctl, name: str) -> str:
    engine = open_ready(parse_url(chatctl.database))
    with engine.begin() as db:
        found = accounts.find(db, name)
    engine.dispose()
    assert found is not None
    return found.password_hash


def test_adding(chatctl: Chatctl) -> None:
    """A new account is in the default rooms, as if it had registered, and its name is kept as written."""
    assert chatctl.json("user", "add", "Ana", "--password-stdin", typed=PASSWORD) == {
        "id": 1,
        "name": "Ana",
        "rooms": ["general"],
    }
    assert hash_of(chatctl, "ana").startswith("$argon2id$")
    assert chatctl("user", "add", "bob", "--password-stdin", typed=f"{PASSWORD}\r\nmore\n") == (
        "bob is registered and has joined general.\n"
    )
    log = chatctl.lines("room", "export", "general")
    assert [(line["event"], line["name"]) for line in log[1:]] == [("joined", "Ana"), ("joined", "bob")]
    assert "is taken" in chatctl.fails("user", "add", "ANA", "--password-stdin", typed=PASSWORD)
    assert "A name is a letter" in chatctl.fails("user", "add", "a\x1b[2J", "--password-stdin", typed=PASSWORD)


def test_the_settings_hold(chatctl: Chatctl, tmp_path: Path) -> None:
    """The cost of a hash, the default rooms and the least length of a password come from the server's settings."""
    file = tmp_path / "chatserver.toml"
    file.write_text(
        '[server]\ndefault_rooms = ["lobby", "books"]\n[passwords]\nmemory_kib = 64\ntime_cost = 1\nmin_length = 4\n'
    )
    added = chatctl.json("--config", str(file), "user", "add", "ana", "--password-stdin", typed="four")
    assert added["rooms"] == ["lobby", "books"]
    assert "$m=64,t=1,p=1$" in hash_of(chatctl, "ana")
    assert "4 characters" in chatctl.fails(
        "--config", str(file), "user", "add", "bob", "--password-stdin", typed="abc\n"
    )


def test_typing_a_password(chatctl: Chatctl) -> None:
    """A password is typed twice at a prompt and not shown; it is never an argument."""
    result = chatctl.run("user", "add", "ana", typed=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    before = hash_of(chatctl, "ana")
    assert "No such option" in chatctl.misused("user", "password", "ana", "--password", PASSWORD)
    assert "unexpected extra argument" in chatctl.misused("user", "password", "ana", PASSWORD)
    result = chatctl.run("user", "password", "ana", typed="other-words\nother-wards\nother-words\nother-words\n")
    assert result.exit_code == 0
    assert hash_of(chatctl, "ana") != before


@pytest.mark.parametrize("typed", ["", "short\n", "with\x07bell-in-it\n", "x" * 1025])
def test_bad_passwords(chatctl: Chatctl, typed: str) -> None:
    """A password that could not be registered is refused here too, and changes nothing."""
    chatctl.add("ana")
    before = hash_of(chatctl, "ana")
    assert "A password " in chatctl.fails("user", "password", "ana", "--password-stdin", typed=typed)
    assert hash_of(chatctl, "ana") == before
    assert "A password " in chatctl.fails("user", "add", "bob", "--password-stdin", typed=typed)
    assert "There is no user" in chatctl.fails("user", "show", "bob")


def test_listing(chatctl: Chatctl) -> None:
    """Accounts are listed oldest first, without guests and erased ones, with their kind and state."""
    chatctl.add("ana", "bob", "cai", "dan")
    chatctl("user", "operator", "bob")
    chatctl("user", "disable", "cai")
    chatctl("user", "erase", "dan", "--yes")
    listed = chatctl.json("user", "list")
    assert [(one["name"], one["kind"], "disabled" in one) for one in listed] == [
        ("ana", "person", False),
        ("bob", "operator", False),
        ("cai", "person", True),
    ]
    assert [line.split()[:2] for line in chatctl("user", "list", "--all").splitlines()] == [
        ["ana", "person"],
        ["bob", "operator"],
        ["cai", "person"],
        ["erased-4", "person"],
    ]
    assert [one["name"] for one in chatctl.json("user", "list", "--kind", "operator")] == ["bob"]
    assert chatctl.json("user", "list", "--kind", "guest") == []


def test_long_lists(chatctl: Chatctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that is read in several pages is complete."""
    monkeypatch.setattr("chatserver.chatctl.user.PAGE", 2)
    names = ["ana", "bob", "cai", "dan", "eve"]
    chatctl.add(*names)
    assert [one["name"] for one in chatctl.json("user", "list")] == names


def test_showing(chatctl: Chatctl) -> None:
    chatctl.add("Ana")
    chatctl("token", "add", "ana", "ci")
    chatctl("ban", "add", "ana", "--reason", "no more")
    shown = chatctl.json("user", "show", "ANA")
    assert (shown["name"], shown["kind"], shown["connections"], shown["ban"]) == ("Ana", "person", 0, "no more")
    assert shown["rooms"] == [{"room": "general", "role": "member"}]
    assert [token["label"] for token in shown["tokens"]] == ["ci"]
    text = chatctl("user", "show", "ana")
    assert "Banned:       no more\n" in text
    assert "Tokens:       ci\n" in text
    assert chatctl.fails("user", "show", "bo\x9bb") == "There is no user bo\\u009bb. See: chatctl user list"


def test_operators(chatctl: Chatctl) -> None:
    chatctl.add("ana")
    assert chatctl.json("user", "operator", "ana") == {"name": "ana", "kind": "operator"}
    assert chatctl.json("user", "show", "ana")["kind"] == "operator"
    assert chatctl("user", "operator", "ana", "--off") == "ana is no longer an operator of the server.\n"
    assert chatctl.json("user", "show", "ana")["kind"] == "person"
    assert "There is no user" in chatctl.fails("user", "operator", "bob")


def test_disabling(chatctl: Chatctl) -> None:
    chatctl.add("ana")
    assert chatctl.json("user", "disable", "ana") == {"name": "ana", "disabled": True}
    assert "disabled" in chatctl.json("user", "show", "ana")
    assert chatctl("user", "disable", "ana", "--off") == "ana can log in again.\n"
    assert "disabled" not in chatctl.json("user", "show", "ana")


def say(chatctl: Chatctl, author: int, *texts: str) -> None:
    """Sends messages to the first room."""
    engine = open_ready(parse_url(chatctl.database))
    auto = engine.execution_options(isolation_level="AUTOCOMMIT") if engine.dialect.name == "postgresql" else engine
    with auto.begin() as db:
        at = entries.after(db, 1, 0, 1)[0][0].at
        drafts = [Draft(1, author, text, f"id-{author}-{n}") for n, text in enumerate(texts)]
        assert {verdict.outcome for verdict in messages.append(db, drafts, at)} == {"stored"}
    engine.dispose()


@pytest.mark.parametrize("messages", ["keep", "erase"])
def test_erasing(chatctl: Chatctl, messages: str) -> None:
    """An erased account is out of all rooms; its messages stay or go. The name is never reused."""
    chatctl.add("ana", "bob")
    say(chatctl, 1, "hello")
    assert "--yes" in chatctl.misused("user", "erase", "ana", "--messages", messages)
    assert chatctl.json("user", "erase", "ana", "--messages", messages, "--yes") == {
        "name": "ana",
        "erased": True,
        "messages": messages,
    }
    assert "There is no user" in chatctl.fails("user", "erase", "ana", "--yes")
    assert "There is no user" in chatctl.fails("user", "password", "ana", "--password-stdin", typed=PASSWORD)
    assert "is taken" in chatctl.fails("user", "add", "ana", "--password-stdin", typed=PASSWORD)
    assert "Erased: " in chatctl("user", "show", "ana")
    log = chatctl.lines("room", "export", "general")
    assert [(line["event"], line.get("name", line.get("from"))) for line in log[1:]] == [
        ("joined", "erased-1"),
        ("joined", "bob"),
        ("message", "erased-1"),
        ("left", "erased-1"),
    ]
    assert log[3].get("text") == ("hello" if messages == "keep" else None)


def test_exporting(chatctl: Chatctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export has the account, then all its entries, in however many pages; and no control characters."""
    monkeypatch.setattr("chatserver.chatctl.leaving.PAGE", 3)
    chatctl.add("ana", "bob")
    texts = [f"number {n}" for n in range(7)] + ["\x9b2Jé\x7f"]
    say(chatctl, 1, *texts)
    say(chatctl, 2, "not ana's")
    account, joined, *said = chatctl.lines("user", "export", "ana")
    assert account["account"]["name"] == "ana"
    assert joined["event"] == "joined"
    assert [(line["room"], line["text"]) for line in said] == [("general", text) for text in texts]
    assert said[0]["id"] == "id-1-0"
    exported = chatctl("user", "export", "ana", "--json")
    assert "\\u009b2Jé\\u007f" in exported
    assert "hash" not in exported
