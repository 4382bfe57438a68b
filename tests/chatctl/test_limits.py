"""`chatctl user limits`: limits of single accounts, for bots and for those who abuse theirs."""

import pytest

from chatserver.store import logins
from chatserver.store.db.engine import open_ready, parse_url
from chatserver.values.events import AS_SET, AccountLimits, Person
from tests.chatctl.conftest import CHEAP, PASSWORD, Chatctl
from tests.conftest import Connect, StartServer
from tests.support.client import JsonClient
from tests.support.process import wait_until


def at_login(chatctl: Chatctl, *ids: int) -> list[AccountLimits]:
    """The limits of these accounts that the server reads when they log in."""
    engine = open_ready(parse_url(chatctl.database))
    with engine.begin() as db:
        facts = logins.look_up(db, [(Person(id, f"user{id}"), 0) for id in ids])
    engine.dispose()
    return [one.limits for one in facts]


def test_setting(chatctl: Chatctl) -> None:
    """Each limit is set for itself; what is not set stays as the settings have it."""
    chatctl.add("ana", "bot")
    assert chatctl.json("user", "limits", "bot") == {"name": "bot"}
    assert at_login(chatctl, 1, 2) == [AS_SET, AS_SET]
    assert chatctl.json("user", "limits", "BOT", "--commands-per-second", "0.5") == {
        "name": "bot", "commands_per_second": 0.5
    }  # fmt: skip
    both = {"name": "bot", "commands_per_second": 0.5, "bytes_per_second": 1_000_000, "connections": 0}
    assert chatctl.json("user", "limits", "bot", "--bytes-per-second", "1000000", "--connections", "0") == both
    assert chatctl.json("user", "limits", "bot") == both
    assert at_login(chatctl, 2, 1) == [AccountLimits(0.5, 1_000_000, 0), AS_SET]


def test_giving_up(chatctl: Chatctl) -> None:
    """`--default` gives up all that was set, but for what is set with it."""
    chatctl.add("bot")
    chatctl("user", "limits", "bot", "--commands-per-second", "100", "--connections", "5")
    assert chatctl.json("user", "limits", "bot", "--default", "--connections", "7") == {"name": "bot", "connections": 7}
    assert chatctl.json("user", "limits", "bot", "--default") == {"name": "bot"}
    assert at_login(chatctl, 1) == [AS_SET]


def test_showing(chatctl: Chatctl) -> None:
    """People see which limits hold, and which of them are the account's own."""
    chatctl.add("bot")
    assert chatctl("user", "limits", "bot", "--bytes-per-second", "1000000", "--connections", "0").splitlines() == [
        "Name:         bot",
        "Commands/s:   40 (from the settings)",
        "Bytes/s:      1,000,000",
        "Connections:  no limit",
    ]


@pytest.mark.parametrize("wrong", ["-1", "many", "1e100", "nan"])
def test_what_is_no_limit(wrong: str, chatctl: Chatctl) -> None:
    """A limit is a number from 0 on; there is one for accounts only."""
    chatctl.add("bot")
    assert "--commands-per-second" in chatctl.misused("user", "limits", "bot", "--commands-per-second", wrong)
    assert "There is no user nobody" in chatctl.fails("user", "limits", "nobody")
    assert chatctl.json("user", "limits", "bot") == {"name": "bot"}


def test_a_running_server(server_url: str, server: StartServer, connect: Connect) -> None:
    """A running server follows within two seconds, for those who are connected and those who log in."""
    one = server(server_url, config=CHEAP + "account_commands_per_second = 1\naccount_command_burst = 50\n")
    chatctl = Chatctl(server_url)
    bot, ana = connect(one, JsonClient), connect(one, JsonClient)
    bot.register("bot")
    ana.register("ana")
    for client in (bot, ana):
        for _ in range(60):  # more than the burst
            client.post("ping")
    chatctl("user", "limits", "bot", "--commands-per-second", "0", "--connections", "1")

    def followed() -> bool:
        return all(bot.cmd("ping")["ok"] for _ in range(50))

    wait_until(followed, 30, what="the bot has no limit")
    again = connect(one, JsonClient)
    again.post("login", name="bot", password=PASSWORD)
    assert bot.wait_closing()["reason"] == "too-many-connections"
    assert all(again.cmd("ping")["ok"] for _ in range(100))
