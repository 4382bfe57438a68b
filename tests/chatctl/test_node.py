"""`chatctl node`, and what `chatctl check` says of the nodes that run."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from chatserver.cluster import frames
from chatserver.cluster.drain import TOLERATED, too_many
from chatserver.store.db.engine import known_migrations, migrate_to, open_engine, parse_url
from chatserver.store.nodes import compatibility
from tests.chatctl.conftest import Chatctl


def add_node(database: str, name: str, facts: dict[str, Any] | None = None, *, seconds: float = 0) -> None:
    """A node on another machine, whose last heartbeat was so long ago."""
    engine = open_engine(parse_url(database))
    values: dict[str, Any] = {"name": name, "facts": None}
    if facts is not None:
        values["facts"] = msgspec.json.encode({"boot": f"boot-{name}", **facts}).decode()
    with engine.begin() as db:
        sqlite = engine.dialect.name == "sqlite"
        now = "strftime('%Y-%m-%d %H:%M:%f000', 'now')" if sqlite else f"now() - interval '{seconds} s'"
        columns = "name, boot, host, machine, pid, started, beat, acquired_at, heartbeat_at"
        row = f":name, 'boot-{name}', 'there', '', 7, 0, 1, {now}, {now}"
        if facts is not None:
            columns, row = f"{columns}, version, facts", f"{row}, '1.1.0', :facts"
        db.execute(text(f"INSERT INTO node ({columns}) VALUES ({row})"), values)
    engine.dispose()


@pytest.mark.slow
def test_the_list(chatctl: Chatctl) -> None:
    """Each node with what it says of itself; one that says nothing has no numbers."""
    assert chatctl("node", "list") == ""
    add_node(chatctl.database, "a", {"connections": 1200, "rooms": 7, "lag": 0.0021, "speaks": 1})
    add_node(chatctl.database, "b")
    one, two = chatctl("node", "list").splitlines()
    assert one.split() == ["a", "1.1.0", "serving", one.split()[3], "1,200", "7", "2.1ms", "there", "7"]
    assert two.split() == ["b", "serving", two.split()[2], "there", "7"]
    found = chatctl.json("node", "list")
    assert [line["name"] for line in found] == ["a", "b"]
    assert found[0]["connections"] == 1200
    assert "connections" not in found[1]


def test_a_dead_node(postgres_url: str) -> None:
    """Its last heartbeat is older than a lease; nobody counts on it."""
    chatctl = Chatctl(postgres_url)
    add_node(postgres_url, "a", {"speaks": 1})
    add_node(postgres_url, "b", {"speaks": 1}, seconds=70)
    assert [line["state"] for line in chatctl.json("node", "list")] == ["serving", "dead"]
    assert "1m10s" in chatctl("node", "list")
    assert chatctl.fails("node", "drain", "a").startswith("No other node serves, so nobody could connect.")


@pytest.mark.slow
def test_a_node_that_does_not_answer(postgres_url: str) -> None:
    """The command ends in time, and says whom it waits for, what is and what to do; what it has asked for stays
    asked."""
    chatctl = Chatctl(postgres_url)
    chatctl.add("ana", "bob", "cai", "dee", "eve", "fay", "gil")
    add_node(postgres_url, "a", {"speaks": 1, "connections": 9})
    add_node(postgres_url, "b", {"speaks": 1})
    engine = open_engine(parse_url(postgres_url))
    opened = "INSERT INTO session (id, account_id, node, address, connected_at, disconnected_at, reason)"
    with engine.begin() as db:
        for number, (name, node, ended) in enumerate((("bob", "b", "NULL"), ("cai", "a", "now()"))):
            one = f"SELECT '{number}', id, '{node}', '::1', now(), {ended}, NULL FROM account WHERE name = '{name}'"
            db.execute(text(f"{opened} {one}"))
        one = "SELECT name || number, id, 'a', '::1', now(), NULL, NULL FROM account, generate_series(1, 2) AS number"
        db.execute(text(f"{opened} {one} WHERE name NOT IN ('bob', 'cai', 'gil')"))
    says = "Node a is not drained yet, and goes on with it. See: chatctl node list"
    assert chatctl.run("node", "drain", "a", "--timeout", "0.5").stderr.splitlines() == [
        "Waiting for 9 connections of node a; logged in: ana, dee, eve, fay.",
        f"chatctl: {says}",
    ]
    with engine.begin() as db:
        one = "SELECT name, id, 'a', '::1', now(), NULL, NULL FROM account WHERE name IN ('bob', 'cai', 'gil')"
        db.execute(text(f"{opened} {one}"))
    waiting, _ = chatctl.run("node", "drain", "a", "--timeout", "0.5").stderr.splitlines()
    assert waiting.endswith("; logged in: ana, bob, cai, dee, eve and 2 more.")
    with engine.connect() as db:
        assert db.scalars(text("SELECT name FROM node WHERE asked = 'drain'")).all() == ["a"]
    engine.dispose()
    assert chatctl.fails("node", "rebalance", "--timeout", "0.5").startswith("Not all nodes have moved their clients")
    assert chatctl.fails("node", "drain", "c") == "No node c is running. See: chatctl node list"


@pytest.mark.slow
def test_a_node_without_a_bus(chatctl: Chatctl) -> None:
    """Nobody can ask it for anything."""
    add_node(chatctl.database, "a", {})
    add_node(chatctl.database, "b", {})
    assert chatctl.fails("node", "drain", "a").startswith("Node a has no bus, and does not hear of this. Set bus.url")
    assert chatctl.fails("node", "rebalance").startswith("Fewer than two nodes serve together.")


def test_how_many_move() -> None:
    """A node gives away what it has above the mean, unless that is a tenth of it or less."""
    assert too_many(900, [100, 200]) == 500
    assert too_many(100, [900, 200]) == 0
    assert too_many(round(100 * TOLERATED), [90]) == 0
    assert too_many(115, [85]) == 15
    assert too_many(9, []) == 0


@pytest.fixture
def clustered(postgres_url: str, tmp_path: Path) -> tuple[str, Chatctl]:
    """The words for `chatctl` of a server with a bus."""
    path = tmp_path / "chatserver.toml"
    path.write_text('[bus]\nurl = "postgres"\n[server]\nlisten = ["tcp:0:interface=127.0.0.1"]\n', encoding="utf-8")
    return str(path), Chatctl(postgres_url)


def findings(clustered: tuple[str, Chatctl], item: str) -> list[tuple[bool, bool, str]]:
    path, chatctl = clustered
    value = msgspec.json.decode(chatctl.run("--config", path, "check", "--json").stdout)
    return [(one["ok"], one["warning"], one["text"]) for one in value["items"] if one["item"] == item]


@pytest.mark.slow
def test_whether_a_node_can_join(clustered: tuple[str, Chatctl]) -> None:
    """Beside nodes that understand it; one that has no bus is wrong, and so are other frames."""
    _, chatctl = clustered
    assert findings(clustered, "nodes") == []
    add_node(chatctl.database, "a", {"bus": True, "speaks": frames.VERSION})
    [(ok, warning, text)] = findings(clustered, "nodes")
    assert (ok, warning) == (True, False)
    assert "a (1.1.0) running" in text
    add_node(chatctl.database, "b", {})
    [(ok, warning, text)] = findings(clustered, "nodes")
    assert not ok
    assert text.startswith("b (1.1.0) without a bus, so that no other node starts.")
    add_node(chatctl.database, "c", {"bus": True, "speaks": frames.VERSION + 1})
    [(ok, _, text)] = findings(clustered, "nodes")
    assert not ok
    assert text.startswith("c (1.1.0) would not understand this version on the bus.")


@pytest.mark.slow
@pytest.mark.parametrize("goes_on", [True, False])
def test_whether_nodes_can_go_on(
    clustered: tuple[str, Chatctl], monkeypatch: pytest.MonkeyPatch, *, goes_on: bool
) -> None:
    """While the schema is migrated from the version before, as its migrations say: one that is not ROLLING stops
    all."""
    _, chatctl = clustered
    known = [(one, SimpleNamespace(ROLLING=goes_on or one != "0002")) for one in ("0003", "0002", "0001")]
    engine = open_engine(parse_url(chatctl.database), 1)
    with engine.begin() as db:
        migrate_to(db, "0001")
    engine.dispose()
    assert findings(clustered, "upgrade") == []
    add_node(chatctl.database, "old")
    with monkeypatch.context() as patched:
        patched.setattr(compatibility, "known_migrations", lambda _: known)
        [(ok, _, text)] = findings(clustered, "upgrade")
    assert ok == goes_on
    assert text.startswith(
        "old (of an earlier version) can go on while you migrate."
        if goes_on
        else "Migration 0002 changes what running nodes need. Stop old (of an earlier version), then: chatctl migrate"
    )
    chatctl("migrate")
    assert findings(clustered, "upgrade") == []


def test_every_migration_says_so(postgres_url: str) -> None:
    """It has the constant, true or false."""
    engine = open_engine(parse_url(postgres_url), 1)
    with engine.connect() as db:
        for revision, module in known_migrations(db):
            assert isinstance(module.ROLLING, bool), revision
    engine.dispose()
