"""The rows of the database, read past the server."""

from collections import defaultdict
from typing import Any, NamedTuple

from sqlalchemy import NullPool, create_engine, text

from chatserver.store.db.own_schema import OPTION

GENERAL = "general"


class Row(NamedTuple):
    """An entry as it is stored. `id` is the one that its author chose."""

    seq: int
    kind: str
    text: str
    author: str
    id: str | None


class Room(NamedTuple):
    """A room with its head, its present members, and what each of its accounts calls it."""

    name: str
    head: int
    members: frozenset[str]


class Database:
    def __init__(self, url: str) -> None:
        options = {"options": OPTION} if url.startswith("postgresql") else {}
        self._engine = create_engine(url, poolclass=NullPool, connect_args=options)

    def rooms(self) -> dict[str, Room]:
        """All rooms by name; that of a direct room is `@` and the names of both accounts, sorted, with a colon."""
        query = "SELECT room.id, room.name, last_seq FROM room WHERE deleted_at IS NULL"
        members = defaultdict(set)
        for room, name in self._query(
            "SELECT room_id, account.name FROM membership JOIN account ON account.id = account_id"
            " WHERE left_seq IS NULL"
        ):
            members[room].add(name)
        people = self._people()
        return {
            (shown := self._shown(name, people)): Room(shown, head, frozenset(members[id]))
            for id, name, head in self._query(query)
        }

    def logs(self) -> dict[str, list[Row]]:
        """By room, all entries in ascending order."""
        logs: dict[str, list[Row]] = defaultdict(list)
        people = self._people()
        for room, seq, kind, said, author, id in self._query(
            "SELECT room.name, seq, entry.kind, text, author_id, client_id FROM entry"
            " JOIN room ON room.id = room_id ORDER BY room_id, seq"
        ):
            logs[self._shown(room, people)].append(Row(seq, kind, said, people.get(author, ""), id))
        return logs

    def last_message(self) -> str:
        """The text of the newest message in the room general."""
        rows = self._query(
            "SELECT text FROM entry JOIN room ON room.id = room_id"
            f" WHERE room.name = '{GENERAL}' AND entry.kind = 'message' ORDER BY seq DESC LIMIT 1"
        )
        return str(rows[0][0]) if rows else ""

    def open_sessions(self, node: str = "") -> list[str]:
        """The accounts of all sessions without an end, at one node or at all."""
        rows = self._query(
            "SELECT account.name, node FROM session JOIN account ON account.id = account_id"
            " WHERE disconnected_at IS NULL"
        )
        return sorted(str(name) for name, there in rows if not node or there == node)

    def terminate(self, share: float, chance: Any) -> int:
        """PostgreSQL only: end this share of the other connections to this database; returns how many."""
        rows = self._query(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY 1"
        )
        chosen = [int(pid) for (pid,) in rows if chance.random() < share]
        for pid in chosen:
            self._query(f"SELECT pg_terminate_backend({pid})")
        return len(chosen)

    def _people(self) -> dict[int, str]:
        return dict(map(tuple, self._query("SELECT id, name FROM account")))

    def _shown(self, name: str, people: dict[int, str]) -> str:
        if not name.startswith("@"):
            return name
        return "@" + ":".join(sorted(people[int(id)] for id in name[1:].split(":")))

    def _query(self, statement: str) -> list[Any]:
        with self._engine.connect() as db:
            return list(db.execute(text(statement)))


def general_name(label: str, account: str) -> str:
    """The name in `Database.rooms` of a room that this account calls `label`."""
    return "@" + ":".join(sorted((label[1:], account))) if label.startswith("@") else label
