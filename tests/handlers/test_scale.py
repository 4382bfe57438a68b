"""Thousands of rooms and people: frequent commands read few rows, however many there are."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from chatserver.store import words
from chatserver.store.logins import look_up
from chatserver.store.messages import Draft, append
from chatserver.values import commands as c
from chatserver.values.events import Person
from tests.handlers.world import START, World, undone

MANY = 5000
EACH = 4
MINE = 10
FEW = 250
"""Rows of a table that one command may read. A page of rooms is half of them; there are ten times as many members."""

NOW = START + timedelta(days=1)


_NUMBERS = f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY - 1})"
MADE = [
    f"""INSERT INTO account (id, name, name_key, created_at, last_seen_at)
        {_NUMBERS} SELECT 1000 + i, 'p' || i, 'p' || i, :at, :at FROM n""",
    f"""INSERT INTO room (id, name, kind, created_at, last_seq)
        {_NUMBERS}
        SELECT 1000 + i, 'r' || i, CASE WHEN i % 2 = 0 THEN 'public' ELSE 'private' END, :at, {EACH} FROM n""",
    f"""INSERT INTO membership (room_id, account_id, role, joined_seq)
        {_NUMBERS}, m(j) AS (SELECT i FROM n WHERE i < {MINE})
        SELECT 1000 + (i + j) % {MANY}, 1000 + i, 'member', 1 FROM n, m""",
    f"""INSERT INTO entry (room_id, seq, kind, author_id, text, at)
        {_NUMBERS}, m(j) AS (SELECT i FROM n WHERE i < {EACH})
        SELECT 1000 + i, j + 1, 'message', 1000 + i, 'common words ' || i || 'x' || j, :at FROM n, m""",
]


@pytest.fixture(scope="module")
def crowd(engine: Engine) -> Iterator[World]:
    """Everybody is in the rooms with the ten numbers after their own; each room has messages."""
    with undone(engine) as db:
        world = World(db, NOW)
        at = {"at": START if engine.dialect.name == "postgresql" else START.replace(tzinfo=None)}
        for statement in MADE:
            db.execute(text(statement), at if ":at" in statement else {})
        world.people["ana"] = Person(1500, "p500")
        append(db, [Draft(1500, 1500, "a rare one", None)], NOW)
        db.execute(text("INSERT INTO search_mark (room_id, seq, language) SELECT id, last_seq, '' FROM room"))
        if engine.dialect.name == "postgresql":
            db.execute(
                text("INSERT INTO entry_search SELECT room_id, seq, ''::tsvector FROM entry WHERE kind = 'message'")
            )
        words.reindex(db, 1500, db.execute(text("SELECT last_seq FROM room WHERE id = 1500")).scalar_one())
        if engine.dialect.name == "postgresql":
            db.exec_driver_sql("ANALYZE")
        yield world


class Watched:
    """The statements of a connection, and the rows that each of them reads."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self.statements: list[tuple[str, Any]] = []
        event.listen(db, "before_cursor_execute", self._note)

    def _note(self, _db: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if not statement.startswith(("SAVEPOINT", "RELEASE", "EXPLAIN")):
            self.statements.append((statement, parameters))

    def taken(self) -> list[tuple[str, Any]]:
        event.remove(self._db, "before_cursor_execute", self._note)
        return self.statements


def scans(db: Connection, statement: str, parameters: Any) -> list[dict[str, Any]]:
    """The nodes of an executed plan that read a table."""
    rows = db.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).scalar_one()
    found = []
    nodes = [(json.loads(rows) if isinstance(rows, str) else rows)[0]["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if "Relation Name" in node:
            found.append(node)
    return found


def read_rows(node: dict[str, Any]) -> float:
    read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float(read * node["Actual Loops"])


ASKED: dict[str, tuple[c.Command | None, int]] = {
    "login": (None, 5),
    "rooms": (c.Rooms(), 1),
    "rooms from the middle": (c.Rooms(after="r5"), 1),
    "my rooms": (c.Rooms(mine=True), 1),
    "who": (c.Who(name="p77"), 2),
    "unread": (c.Unread(), 3),
    "members": (c.Members(room="r500"), 2),
    "history": (c.History(room="r500"), 3),
    "search": (c.Search(text="rare"), 5),
    "search in a room": (c.Search(text="rare", room="r500"), 6),
    "mentions": (c.Mentions(), 7),
    "pins": (c.Pins(room="r500"), 4),
    "who reacts": (c.Reactions(room="r500", seq=2), 4),
    "replies": (c.Replies(room="r500", seq=2), 4),
    "unread of a room": (c.Missed(room="r500"), 4),
    "history since a time": (c.History(room="r500", since="yesterday"), 7),
    "export": (c.Export(), 12),
    "whom one ignores": (c.Ignore(), 1),
}
"""The commands, and how many statements each may take."""


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_looked_at(crowd: World, asked: str) -> None:
    """A command takes a few statements, none of which scans a table or reads more than some hundreds of its rows."""
    command, most = ASKED[asked]
    db = crowd.db
    watched = Watched(db)
    if command is None:
        look_up(db, [(crowd.people["ana"], 0)])
    else:
        crowd.do("ana", command)
    statements = watched.taken()
    assert 1 <= len(statements) <= most
    if db.dialect.name == "postgresql":
        for statement, parameters in statements:
            for node in scans(db, statement, parameters):
                assert node["Node Type"] != "Seq Scan", (statement, node)
                if (
                    asked not in ("search", "mentions") or node["Relation Name"] == "entry"
                ):  # a search may hash the rooms
                    most = FEW * MINE if node["Relation Name"] == "membership" else FEW
                    assert read_rows(node) <= most, (statement, node)
    else:
        for statement, parameters in statements:
            plan = [row[3] for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            whole = [
                step for step in plan if re.match(r"SCAN (?!CONSTANT|anon_)\w", step) and "VIRTUAL TABLE" not in step
            ]
            # A search looks for rooms that have something which is not in the index.
            assert (
                whole == []
                or asked.startswith("rooms")
                or (asked in ("search", "mentions") and "entry" not in whole[0])
            ), plan


def test_rare_words(crowd: World) -> None:
    """A search for a rare word reads, through the index of words, just the message that has it."""
    db = crowd.db
    watched = Watched(db)
    assert [entry.text for _, entry in crowd.do("ana", c.Search(text="rare")).entries] == ["a rare one"]
    [(statement, parameters)] = [one for one in watched.taken() if "words" in one[0] or "MATCH" in one[0]]
    if db.dialect.name == "postgresql":
        shown = str(db.exec_driver_sql(f"EXPLAIN {statement}", parameters).all())
        assert "ix_entry_search" in shown
        nodes = [node for node in scans(db, statement, parameters) if node["Relation Name"] == "entry"]
        assert nodes
        assert all(read_rows(node) <= 10 for node in nodes)
    else:
        plan = [row[3] for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        assert "VIRTUAL TABLE" in plan[0]


CHANGES: dict[str, c.Command] = {
    "reply": c.Reply(room="r501", seq=2, text="yes"),
    "react": c.React(room="r501", seq=2, reaction="+1"),
    "pin": c.Pin(room="r501", seq=2),
    "erase the last": c.Erase(room="r500", seq=None),
    "direct message": c.Say(room="@p77", text="hello"),
    "reaction to a direct message": c.React(room="@p77", seq=1, reaction="+1"),
    "everything is read": c.ReadAll(),
    "rename": c.Rename(name="p500-b"),
    "block": c.Block(name="p501"),
    "ignore": c.Ignore(name="p501"),
}


@pytest.mark.parametrize("changed", CHANGES)
def test_what_is_looked_at_for_a_change(crowd: World, changed: str) -> None:
    """Nor does a command that changes something scan the accounts, rooms, memberships or entries."""
    db = crowd.db
    if changed == "reaction to a direct message":
        crowd.do("ana", CHANGES["direct message"])
    watched = Watched(db)
    crowd.do("ana", CHANGES[changed])
    for statement, parameters in watched.taken():
        if statement.startswith(("PREPARE", "EXECUTE")):
            continue
        if db.dialect.name == "postgresql":
            shown = [row[0] for row in db.exec_driver_sql(f"EXPLAIN {statement}", parameters)]
            whole = [step for step in shown if re.search("Seq Scan on (account|room|membership|entry)", step)]
        else:
            # An INSERT shows the look-up of rows that would refer to it, which is not done.
            shown = [row[3] for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            shown = [] if statement.startswith("INSERT") else shown
            whole = [step for step in shown if re.match("SCAN (account|room|membership|entry)", step)]
        assert whole == [], statement
