"""Sessions: logins, from where, from when to when, and how they ended, at the latest with their node."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, or_, select, text, update

from chatserver.store import rooms
from chatserver.store.db import database_clock
from chatserver.store.db.schema import AccountRow, NodeRow, SessionRow, as_sqlite
from chatserver.store.nodes import lease
from chatserver.store.nodes.nodes import NodeNow
from chatserver.values.events import Person
from chatserver.values.seen import Seen, as_seen
from chatserver.wire.addresses import counted


class Opened(Struct, frozen=True):
    """`token_id`, `certificate_id`: the credential of the login; 0 if it was another kind."""

    id: str
    account_id: int
    node: str
    address: str
    at: datetime
    token_id: int = 0
    certificate_id: int = 0


class Closed(Struct, frozen=True):
    id: str
    account_id: int
    at: datetime
    reason: str


Change = Opened | Closed

# Each statement takes many rows as one JSON text: binding a parameter for each value would keep the thread busy, and
# with it the reactor. {said} stands for the rows, {at[n]} for a time at position n of a row.
_TEXTS = {
    "opened": """INSERT INTO session (id, account_id, node, address, connected_at)
        SELECT v ->> 0, CAST(v ->> 1 AS bigint), v ->> 2, v ->> 3, {at[4]} FROM {said} WHERE true
        ON CONFLICT DO NOTHING""",
    "shown": "UPDATE certificate SET last_used_at = {at[1]} FROM {said} WHERE certificate.id = CAST(v ->> 0 AS bigint)",
    "used": "UPDATE token SET last_used_at = {at[1]} FROM {said} WHERE token.id = CAST(v ->> 0 AS bigint)",
    "closed": """UPDATE session SET disconnected_at = {at[1]}, reason = v ->> 2 FROM {said}
        WHERE session.id = v ->> 0""",
    "seen": "UPDATE account SET last_seen_at = {at[1]} FROM {said} WHERE account.id = CAST(v ->> 0 AS bigint)",
}
_MARKS = {
    "known": """SELECT m.account_id, m.room_id, r.last_seq, m.read_seq, m.seen, m.read_era FROM {said}
        JOIN membership AS m ON m.account_id = CAST(v ->> 0 AS bigint) AND m.room_id = CAST(v ->> 1 AS bigint)
        AND m.left_seq IS NULL JOIN room AS r ON r.id = m.room_id""",
    "marked": """UPDATE membership SET seen = v ->> 3,
        read_seq = CASE WHEN read_seq < CAST(v ->> 2 AS bigint) THEN CAST(v ->> 2 AS bigint) ELSE read_seq END
        FROM {said} WHERE account_id = CAST(v ->> 0 AS bigint) AND room_id = CAST(v ->> 1 AS bigint)
        AND left_seq IS NULL AND read_era = CAST(v ->> 4 AS integer)""",
}
MARKS = 1000
"""Maximum number of marks that are stored in one statement."""
_STATEMENTS = {
    dialect: {
        name: text(words.format(said=said, at=[at.format(position) for position in range(5)]))
        for name, words in {**_TEXTS, **_MARKS}.items()
    }
    for dialect, said, at in (
        ("postgresql", "json_array_elements(CAST(:said AS json)) AS t(v)", "CAST(v ->> {} AS timestamptz)"),
        ("sqlite", "(SELECT value AS v FROM json_each(:said)) AS t", "v ->> {}"),
    )
}


def record(db: Connection, changes: Sequence[Change]) -> None:
    """Stores the beginnings and ends of many sessions at once. Storing the same again changes nothing."""
    said: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _TEXTS}
    used: dict[int, Any] = {}
    shown: dict[int, Any] = {}
    seen: dict[int, Any] = {}
    for change in changes:
        at = as_sqlite(change.at) if db.dialect.name == "sqlite" else change.at
        seen[change.account_id] = at
        if isinstance(change, Opened):
            said["opened"].append((change.id, change.account_id, change.node, change.address, at))
            if change.token_id:
                used[change.token_id] = at
            if change.certificate_id:
                shown[change.certificate_id] = at
        else:
            said["closed"].append((change.id, at, change.reason))
    # In the order of ids, so that two nodes rarely deadlock.
    said["used"] = sorted(used.items())
    said["shown"] = sorted(shown.items())
    said["seen"] = sorted(seen.items())
    for name, values in said.items():
        if values:
            _execute(db, name, values)


def mark(db: Connection, marks: Mapping[int, Mapping[int, Seen]]) -> None:
    """Stores the entries that people have seen, by account and room, in addition to what is stored, unless they were
    seen before the mark was moved back."""
    wanted = [(account_id, room_id) for account_id, rooms in sorted(marks.items()) for room_id in sorted(rooms)]
    for start in range(0, len(wanted), MARKS):
        changed = []
        for account_id, room_id, last, read, stored, era in sorted(
            _execute(db, "known", wanted[start : start + MARKS])
        ):
            seen, known = marks[account_id][room_id], as_seen(read, stored, era)
            if seen.era not in (0, era):
                continue
            now = known.union(seen.up_to(last))
            if (now.mark, now.stored) != (read, stored):
                changed.append((account_id, room_id, now.mark, now.stored, era))
        if changed:
            _execute(db, "marked", changed)


def _execute(db: Connection, name: str, values: Sequence[tuple[Any, ...]]) -> Any:
    return db.execute(_STATEMENTS[db.dialect.name][name], {"said": msgspec.json.encode(values).decode()})


def places(db: Connection, names: Sequence[str]) -> list[frozenset[str]]:
    """For each of these names, the addresses, as of `counted`, from which its account has logged in, as far as sessions
    are kept. Empty if there is no such account."""
    found: dict[str, set[str]] = {name.lower(): set() for name in names}
    theirs = select(AccountRow.name_key, SessionRow.address).join(SessionRow, SessionRow.account_id == AccountRow.id)
    for key, address in db.execute(theirs.where(AccountRow.name_key.in_(found)).distinct()):
        found[key].add(counted(address))
    return [frozenset(found[name.lower()]) for name in names]


_ALIVE: Final = select(NodeRow.name).where(NodeRow.boot != "")
"""The nodes that have a process. A node without a row has none: a copy of a database has its sessions, and no nodes."""


def close_left_open(db: Connection, node: str, at: datetime) -> int:
    """Closes the sessions that a crash of this node left open, and those of nodes that are not alive. Returns their
    number.

    The caller has the lease of `node`. Call `lease.release_dead` first.
    """
    return _close(db, or_(SessionRow.node == node, SessionRow.node.not_in(_ALIVE)), at)


def close_of_dead(db: Connection, at: datetime) -> int:
    """Closes the sessions of nodes that have no process. Returns their number."""
    return _close(db, SessionRow.node.not_in(_ALIVE), at)


def bury(db: Connection, dead: NodeNow) -> list[Person] | None:
    """Takes the lease of a dead process away, closes its sessions, and returns the guests that only it had: the caller
    dismisses them. None if it sent another heartbeat, another node was faster, or its row is locked: ask again."""
    if not lease.take_away(db, dead.name, dead.boot, dead.beat):
        return None
    guests = rooms.guests_of_dead(db, dead.name)
    close_of_dead(db, database_clock.now(db))
    lease.remove_old(db)
    return guests


def tidy(db: Connection) -> list[Person]:
    """Closes the sessions, and returns the guests, of which the database learned only after the death of their node, or
    whose dismissal ended with another one. The caller dismisses them."""
    now = database_clock.now(db)
    close_of_dead(db, now)
    return rooms.stray_guests(db, now)


def _close(db: Connection, theirs: ColumnElement[bool], at: datetime) -> int:
    crashed = {"disconnected_at": at, "reason": "crash"}
    return db.execute(update(SessionRow).where(theirs, SessionRow.disconnected_at.is_(None)).values(crashed)).rowcount
