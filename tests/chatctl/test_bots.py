"""`chatctl user add --bot`: accounts of programs, which belong to a person."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from chatserver.store.db.engine import open_ready, parse_url
from tests.chatctl.conftest import PASSWORD, Chatctl
from tests.conftest import Connect, StartServer
from tests.support.client import JsonClient
from tests.support.process import migrate


def test_adding(chatctl: Chatctl) -> None:
    """A bot is created with an owner and a token, which is printed alone and only once, and without a password."""
    chatctl.add("ana", "bob")
    token = chatctl("user", "add", "Deploy", "--bot", "--owner", "ANA").removesuffix("\n")
    assert token.startswith("ct_")
    shown = chatctl.json("user", "show", "deploy")
    assert (shown["name"], shown["kind"], shown["owner"]) == ("Deploy", "bot", "ana")
    assert shown["rooms"] == [{"room": "general", "role": "member"}]
    assert [one["label"] for one in shown["tokens"]] == ["first"]
    assert "Owner:        ana\n" in chatctl("user", "show", "deploy")
    assert "Bots:         Deploy\n" in chatctl("user", "show", "ana")
    made = chatctl.json("user", "add", "cron", "--bot", "--owner", "ana", "--label", "backup host")
    assert (made["owner"], made["label"], made["token"][:3]) == ("ana", "backup host", "ct_")
    assert chatctl.json("user", "show", "ana")["bots"] == ["Deploy", "cron"]
    assert [one["name"] for one in chatctl.json("user", "list", "--kind", "bot")] == ["Deploy", "cron"]
    assert chatctl.json("user", "owner", "cron", "bob") == {"name": "cron", "owner": "bob"}
    assert chatctl.json("user", "show", "ana")["bots"] == ["Deploy"]
    assert "no bot" in chatctl.fails("user", "owner", "bob", "ana")


def test_what_a_bot_cannot_be(chatctl: Chatctl) -> None:
    """Only somebody who can log in owns bots; a bot owns none, has no password, and is no operator."""
    chatctl.add("ana")
    assert "belong together" in chatctl.misused("user", "add", "deploy", "--bot")
    assert "belong together" in chatctl.misused("user", "add", "deploy", "--owner", "ana")
    assert "for bots only" in chatctl.misused("user", "add", "deploy", "--label", "first")
    assert "There is no user bob" in chatctl.fails("user", "add", "deploy", "--bot", "--owner", "bob")
    chatctl("user", "add", "deploy", "--bot", "--owner", "ana")
    assert "A bot belongs to a person" in chatctl.fails("user", "add", "cron", "--bot", "--owner", "deploy")
    assert "has no password" in chatctl.fails("user", "password", "deploy", "--password-stdin", typed=PASSWORD)
    assert "cannot be an operator" in chatctl.fails("user", "operator", "deploy")
    chatctl("user", "disable", "ana")
    assert "A bot belongs to a person" in chatctl.fails("user", "add", "cron", "--bot", "--owner", "ana")
    assert "There is no user cron" in chatctl.fails("user", "show", "cron")


def test_the_owner_is_disabled(chatctl: Chatctl) -> None:
    """Bots are disabled and enabled with their owner, but one that was disabled before stays so; a bot whose owner is
    erased needs another owner first."""
    chatctl.add("ana", "bob")
    for name in ("deploy", "cron"):
        chatctl("user", "add", name, "--bot", "--owner", "ana")
    chatctl("user", "disable", "cron")

    def disabled() -> list[str]:
        return [one["name"] for one in chatctl.json("user", "list") if "disabled" in one]

    chatctl("user", "disable", "ana")
    assert disabled() == ["ana", "deploy", "cron"]
    assert "cannot log in" in chatctl.fails("user", "disable", "deploy", "--off")
    chatctl("user", "disable", "ana", "--off")
    assert disabled() == ["cron"]
    chatctl("user", "erase", "ana", "--yes")
    assert disabled() == ["deploy", "cron"]
    assert "cannot log in" in chatctl.fails("user", "disable", "deploy", "--off")
    chatctl("user", "owner", "deploy", "bob")
    chatctl("user", "disable", "deploy", "--off")
    assert disabled() == ["cron"]
    chatctl("user", "erase", "deploy", "--yes")
    assert chatctl.json("user", "list", "--all")[2]["kind"] == "bot"
    assert "bots" not in chatctl.json("user", "show", "bob")


def test_a_running_server(
    chatctl: Chatctl, server: StartServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bot posts under its own name and is marked in entries, members, who and the list of sessions; it logs in only
    by token, and a ban of its owner ends its connections."""
    chat = server(chatctl.database, migrated=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(chat.folder))  # where its control socket is
    ana, bot = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    token = chatctl("user", "add", "deploy", "--bot", "--owner", "ana").strip()
    assert bot.cmd("login", name="deploy", password="")["error"] == "bad-command"
    assert bot.cmd("login", name="deploy", password=PASSWORD.strip())["error"] == "bad-credentials"
    assert bot.cmd("login", token=token)["name"] == "deploy"
    bot.cmd("say", room="general", text="release 1.4 is out")
    heard = ana.wait_event("message")
    assert (heard["from"], heard["bot"]) == ("deploy", True)
    assert ana.cmd("history", room="general")["entries"][-1]["bot"] is True
    assert ana.cmd("members", room="general")["members"][1] == {
        "name": "deploy", "role": "member", "online": True, "bot": True
    }  # fmt: skip
    bot.cmd("say", room="@ana", text="psst")
    assert [one.get("bot") for one in ana.cmd("members", room="@deploy")["members"]] == [None, True]
    assert [one.get("bot") for one in ana.cmd("who")["users"]] == [None, True]
    assert ana.cmd("who", name="deploy")["users"][0]["bot"] is True
    sessions = {one["user"]: one for one in chatctl.json("session", "list")}
    assert (sessions["ana"]["kind"], sessions["deploy"]["kind"]) == ("person", "bot")
    for command, fields in {
        "password": {"old": "", "new": "other-words"},
        "token": {"label": "more", "password": "x"},
        "forget": {"password": "x"},
    }.items():
        assert bot.cmd(command, **fields)["error"] == "not-allowed", command
    chatctl("ban", "add", "ana", "--reason", "no more")
    assert bot.wait_closing()["reason"] == "banned"
    again = connect(chat, JsonClient)
    assert again.cmd("login", token=token)["error"] == "banned"
    chatctl("ban", "remove", "ana")
    assert again.cmd("login", token=token)["ok"]
    chatctl("user", "disable", "ana")
    assert again.wait_closing()["reason"] == "disabled"
    chatctl("user", "disable", "ana", "--off")
    owner, bot = connect(chat, JsonClient), connect(chat, JsonClient)
    owner.login("ana")
    bot.ok("login", token=token)
    assert owner.cmd("forget", password=PASSWORD)["ok"]
    assert bot.wait_closing()["reason"] == "disabled"


def test_other_places(chatctl: Chatctl, on: Callable[[str], Chatctl], sqlite_url: str, tmp_path: Path) -> None:
    """An export of the account tells of owner and bots; a room that is imported elsewhere has its bots as bots, without
    an owner; a bot whose owner is missing is found when the database is checked."""
    chatctl.add("ana")
    chatctl("user", "add", "deploy", "--bot", "--owner", "ana")
    assert chatctl.lines("user", "export", "deploy")[0]["account"]["owner"] == "ana"
    assert chatctl.lines("user", "export", "ana")[0]["account"]["bots"] == "deploy"
    chatctl("room", "export", "general", "--output", str(tmp_path / "general.jsonl"))
    elsewhere = on(f"{sqlite_url}.other")
    migrate(elsewhere.database)
    elsewhere("room", "import", str(tmp_path / "general.jsonl"), "--name", "books")
    assert [(one["name"], one["kind"]) for one in elsewhere.json("user", "list")] == [
        ("ana", "person"), ("deploy", "bot")
    ]  # fmt: skip
    assert "owner" not in elsewhere.json("user", "show", "deploy")
    engine = open_ready(parse_url(chatctl.database))
    with engine.begin() as db:
        db.execute(text("UPDATE account SET owner_id = 77 WHERE kind = 'bot'"))
    engine.dispose()
    findings = chatctl.run("verify").output
    assert "account 77, which account.owner_id names, is not there" in findings
