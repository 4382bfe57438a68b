"""The nodes of a cluster: each publishes facts in its row of the table `node`, and reads those of the others."""

from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, Row, select, text, update

from chatserver.store.db.schema import AccountRow, NodeRow, SessionRow
from chatserver.store.nodes.lease import Process, has_ended

LOCKS = 4001
"""First key of the advisory locks by which nodes show on PostgreSQL that they are connected. The second key is the hash
of the name."""

DRAIN: Final = "drain"
REBALANCE: Final = "rebalance"
"""Requests to a node, in the column `asked`."""


class Facts(Struct, frozen=True, kw_only=True):
    """A node's facts for `chatctl node list`. Fields are only ever added, with a default."""

    connections: int = 0
    rooms: int = 0  # with connected members
    lag: float | None = None  # of the bus, in seconds; None: it is not known
    state: str = "serving"  # or "draining", "drained", "stopping"
    boot: str = ""  # of the process that says so
    bus: bool = False  # it has a bus
    speaks: int = 0  # the version of its frames; 0: it has no bus, or has just started
    held: bool = False  # systemd has its sockets, too


class Said(Struct, frozen=True):
    """The row that this node publishes. `frames`: the number of its last frame; `applied`: the last change that it
    applied."""

    version: str
    frames: int
    applied: int
    facts: Facts


class NodeNow(Struct, frozen=True):
    """A process that has the lease of a node. `ended`: it ran on this machine, and does not run any more. `connected`:
    it has its advisory lock; a node that lost it has perhaps been killed. `version` None: its version knows no other
    nodes, and has published nothing."""

    name: str
    boot: str
    host: str
    pid: int
    beat: int
    since: datetime
    heartbeat_at: datetime
    version: str | None
    frames: int
    applied: int
    facts: Facts
    asked: str | None
    ended: bool
    connected: bool


_CONNECTED = text(
    "SELECT name FROM node WHERE hashtext(name) IN (SELECT CAST(CAST(objid AS bigint) - CASE WHEN objid::bigint > "
    "2147483647 THEN 4294967296 ELSE 0 END AS integer) FROM pg_locks WHERE locktype = 'advisory' AND classid = :locks "
    "AND objsubid = 2 AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
).bindparams(locks=LOCKS)


def exchange(db: Connection, me: Process, said: Said | None) -> list[NodeNow]:
    """Says what this node has to say (None: nothing new), and returns all nodes with a lease, also this one."""
    if said is not None:
        mine = (NodeRow.name == me.node, NodeRow.boot == me.boot)
        values = {
            "version": said.version, "frames": said.frames, "applied": said.applied,
            "facts": msgspec.json.encode(replace(said.facts, boot=me.boot)).decode(),
        }  # fmt: skip
        db.execute(update(NodeRow).where(*mine).values(values))
    return present(db, me)


def present(db: Connection, me: Process) -> list[NodeNow]:
    """All nodes with a lease, by name."""
    connected = set(db.scalars(_CONNECTED)) if db.dialect.name == "postgresql" else set()
    query = select(NodeRow.__table__).where(NodeRow.boot != "").order_by(NodeRow.name)
    return [_now(row, me, row.name in connected) for row in db.execute(query).all()]


def _now(row: Row[Any], me: Process, connected: bool) -> NodeNow:
    facts = facts_in(row.facts)
    # A process of a version that knows no facts leaves those of the process before it.
    version, frames, applied = (row.version, row.frames, row.applied) if facts.boot == row.boot else (None, 0, 0)
    return NodeNow(
        row.name, row.boot, row.host, row.pid, row.beat, row.acquired_at, row.heartbeat_at, version, frames, applied,
        facts if version else Facts(), row.asked, has_ended(row, me), connected,
    )  # fmt: skip


def facts_in(stored: str | None) -> Facts:
    """Decodes the column `facts`."""
    try:
        return msgspec.json.decode(stored or "{}", type=Facts)
    except msgspec.DecodeError:  # of a later version
        return Facts()


def ask(db: Connection, node: NodeNow, what: str) -> bool:
    """Sends a request to a node, which reads it from the database. Returns whether this process still has the node."""
    same = (NodeRow.name == node.name, NodeRow.boot == node.boot)
    return bool(db.execute(update(NodeRow).where(*same).values(asked=what)).rowcount)


def people(db: Connection, node: str) -> list[str]:
    """The names of those who are logged in at a node, each once, as far as their sessions are recorded."""
    here = select(SessionRow.account_id).where(SessionRow.node == node, SessionRow.disconnected_at.is_(None))
    return list(db.scalars(select(AccountRow.name).where(AccountRow.id.in_(here)).order_by(AccountRow.name_key)))


def done(db: Connection, me: Process, what: str) -> None:
    """Removes the request that this node has fulfilled."""
    mine = (NodeRow.name == me.node, NodeRow.boot == me.boot, NodeRow.asked == what)
    db.execute(update(NodeRow).where(*mine).values(asked=None))
