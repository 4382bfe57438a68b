"""Fills chatserver's database with accounts, rooms and entries, in a few statements, before anybody logs in."""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

Execute = Callable[[str], str]
TAKE = 50
"""How many messages share a transaction."""


@dataclass(frozen=True)
class People:
    """Accounts PREFIXu0 …; number i is a member of room PREFIXr(i mod rooms). The first room has `entries` entries."""

    prefix: str
    count: int
    rooms: int = 1
    entries: int = 0
    room_prefix: str = ""  # `prefix` if empty


class PostgresFill:
    def __init__(self, execute: Execute) -> None:
        self.execute = execute

    def series(self, count: int) -> str:
        """A FROM item that yields s.g = 0, 1, … `count` - 1."""
        return f"generate_series(0, {count - 1}) AS s(g)"

    def sha256(self, text: str) -> str:
        """An expression for the hexadecimal SHA-256 of the expression `text`."""
        return f"encode(sha256(convert_to({text}, 'UTF8')), 'hex')"

    def settle(self, entries: bool) -> None:
        """Does what a slowly grown database would have done already, so that it does not disturb the measurement."""
        self.execute("ANALYZE account, token, room, membership")
        if entries:  # autovacuum never analyzes an empty table
            self.execute("VACUUM ANALYZE entry")
        self.execute("CHECKPOINT")

    def entries(self, room: str, author: str, count: int) -> None:
        """Inserts messages 1 to `count` of a room."""
        self.execute(_entries(self.series(count), room, author))


class SqliteFill(PostgresFill):
    def __init__(self, file: Path) -> None:
        self._file = file
        super().__init__(self._run)

    def _run(self, statement: str) -> str:
        with closing(self._connect()) as db:
            db.create_function(
                "sha256_hex", 1, lambda text: hashlib.sha256(text.encode()).hexdigest(), deterministic=True
            )
            row = db.execute(statement).fetchone()
            return "" if row is None else "|".join(str(value) for value in row)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=60, isolation_level=None)

    def series(self, count: int) -> str:
        counting = f"WITH RECURSIVE t(g) AS (SELECT 0 UNION ALL SELECT g + 1 FROM t WHERE g < {count - 1})"
        return f"({counting} SELECT g FROM t) AS s"

    def sha256(self, text: str) -> str:
        return f"sha256_hex({text})"

    def settle(self, entries: bool) -> None:
        """Only a checkpoint, because SQLite never analyzes by itself."""
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def entries(self, room: str, author: str, count: int) -> None:
        """Inserts in takes, as a server does.

        The number of transactions determines the segments of the full-text index, and when they are merged. After a
        single transaction, the next hundred messages would do the work of a million.
        """
        with closing(self._connect()) as db:
            db.execute("PRAGMA synchronous = OFF")
            for start in range(0, count, TAKE):
                db.execute(_entries(self.series(min(TAKE, count - start)), room, author, start))


def _entries(series: str, room: str, author: str, start: int = 0) -> str:
    return (
        "INSERT INTO entry (room_id, seq, kind, author_id, text, at) "
        f"SELECT r.id, {start} + s.g + 1, 'message', a.id, "
        f"'Stored before: a message of ordinary length, number ' || ({start} + s.g), CURRENT_TIMESTAMP "
        f"FROM {series} CROSS JOIN room AS r CROSS JOIN account AS a WHERE r.name = '{room}' AND a.name = '{author}'"
    )


def token(name: str) -> str:
    """The token that an account logs in with; see profiles/chatserver.profile."""
    return f"bench-{name}"


def fill(into: PostgresFill, people: People) -> None:
    name, room = f"'{people.prefix}u' || s.g", people.room_prefix or people.prefix
    into.execute(
        f"INSERT INTO account (name, name_key, created_at) SELECT {name}, lower({name}), CURRENT_TIMESTAMP "
        f"FROM {into.series(people.count)}"
    )
    given = f"'{token('')}' || a.name"
    into.execute(
        f"INSERT INTO token (account_id, label, sha256, created_at) SELECT a.id, 'bench', "
        f"{into.sha256(given)}, CURRENT_TIMESTAMP "
        f"FROM {into.series(people.count)} JOIN account AS a ON a.name = {name}"
    )
    into.execute(
        f"INSERT INTO room (name, kind, last_seq, created_at) SELECT '{room}r' || s.g, 'public', "
        f"CASE WHEN s.g = 0 THEN {people.entries} ELSE 0 END, CURRENT_TIMESTAMP FROM {into.series(people.rooms)} "
        "WHERE true ON CONFLICT DO NOTHING"
    )
    into.execute(
        "INSERT INTO membership (room_id, account_id, joined_seq) SELECT r.id, a.id, 1 "
        f"FROM {into.series(people.count)} JOIN account AS a ON a.name = {name} "
        f"JOIN room AS r ON r.name = '{room}r' || (s.g % {people.rooms})"
    )
    if people.entries:
        into.entries(f"{room}r0", f"{people.prefix}u0", people.entries)
    into.settle(people.entries > 0)


STORED = "SELECT count(*) FROM entry WHERE text LIKE '@L%'"
HOLES = (
    "SELECT count(*) FROM room AS r JOIN (SELECT room_id, count(*) AS n, max(seq) AS top FROM entry GROUP BY room_id) "
    "AS e ON e.room_id = r.id WHERE e.n <> e.top OR e.top <> r.last_seq"
)
"""Counts the rooms whose log has a gap, or does not end at the room's last number."""
