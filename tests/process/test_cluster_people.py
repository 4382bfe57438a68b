"""Two servers on one PostgreSQL: who is online, near and away, and what is unread, as if there were one."""

from typing import Any

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.client import JsonClient, TextClient
from tests.support.process import wait_until

pytestmark = pytest.mark.slow

HERE, GONE = ("ana", True), ("ana", False)


def config(node: str) -> str:
    return f'{QUICK}[server]\nnode = "{node}"\n[bus]\nurl = "postgres"\n[limits]\npresence_seconds = 0.3\n'


def told(client: JsonClient, name: str) -> list[tuple[Any, ...]]:
    """The last news of this account: whether it is online, and its away text."""
    news = [event for event in client.events if event["event"] == "presence" and event["name"] == name]
    return [(one["name"], one["online"], *([one["away"]] if "away" in one else [])) for one in news]


def who(client: JsonClient) -> dict[str, str]:
    return {user["name"]: user.get("away", "") for user in client.ok("who")["users"]}


def test_people_at_two_nodes(server: StartServer, postgres_url: str, connect: Connect) -> None:
    """They see each other come, be away, change nodes and go; those at a node that is killed are told to be gone, once;
    and what a terminal at one node has shown is read at the other."""
    one, two = (server(postgres_url, config=config(node)) for node in ("one", "two"))
    one.wait_log("Node two is there")
    two.wait_log("Node one is there")
    ana, bob = connect(one, JsonClient), connect(two, JsonClient)
    bob.register("bob")
    ana.register("ana")
    wait_until(lambda: bool(bob.ok("ping")) and told(bob, "ana") == [HERE], what="bob is told of ana")
    assert who(ana) == who(bob) == {"ana": "", "bob": ""}
    ana.ok("away", text="lunch")
    wait_until(lambda: who(bob)["ana"] == "lunch", what="bob sees that ana is away")
    assert told(bob, "ana") == [HERE, (*HERE, "lunch")]
    second = connect(two, JsonClient)
    second.login("ana")
    second.ok("away", text="")
    wait_until(lambda: who(ana)["ana"] == "", what="ana is back at both nodes")
    phone = connect(one, TextClient)
    phone.login("ana")
    bob.say("general", "hello")
    phone.expect("bob: hello")
    wait_until(lambda: second.ok("unread")["rooms"][0]["unread"] == 0, what="what the phone has shown is read")
    second.ok("quit")
    wait_until(lambda: who(bob) == {"ana": "", "bob": ""}, what="ana is still there")
    one.kill()
    wait_until(lambda: who(bob) == {"bob": ""}, timeout=15, what="ana is gone with her node")
    wait_until(lambda: bool(bob.ok("ping")) and told(bob, "ana")[-1] == GONE, what="bob is told so")
    assert told(bob, "ana") == [HERE, (*HERE, "lunch"), HERE, GONE]
