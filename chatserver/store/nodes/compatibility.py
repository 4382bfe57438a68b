"""Whether a server of this version can join those that run on a database, and replace them one after another."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import URL, Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from chatserver.store.db.engine import is_missing, known_migrations, open_engine, revision_of
from chatserver.store.db.health import Finding
from chatserver.store.nodes.lease import LAPSE_SECONDS

# The columns that there are, whatever the version of the schema is.
_NODES = text(
    "SELECT CAST(to_jsonb(node) AS text) FROM node WHERE boot <> '' "
    "AND EXTRACT(EPOCH FROM statement_timestamp() - heartbeat_at) < :seconds ORDER BY name"
).bindparams(seconds=LAPSE_SECONDS)


class _Facts(Struct, frozen=True):
    """As far as they matter here: see `nodes.Facts`."""

    boot: str = ""
    bus: bool = False
    speaks: int = 0


class _Node(Struct, frozen=True):
    name: str
    boot: str
    version: str | None = None
    facts: str | None = None

    @property
    def said(self) -> _Facts:
        facts = msgspec.json.decode(self.facts or "{}", type=_Facts)
        return facts if facts.boot == self.boot else _Facts()

    def __str__(self) -> str:
        return f"{self.name} ({self.version or 'of an earlier version'})"


def rolling(url: URL, speaks: int, *, bus: bool) -> Iterator[Finding]:
    """The findings of `chatctl check` about running nodes, on PostgreSQL. `speaks`: the version of this server's
    frames; `bus`: whether it has a bus. Changes nothing. Yields nothing if the database does not answer."""
    if url.get_backend_name() != "postgresql" or is_missing(url):
        return
    engine = open_engine(url, 1)
    try:
        with engine.connect() as db:
            nodes = _running(db)
            migrations = _pending(db)
    except DBAPIError:
        return  # which is another finding
    finally:
        engine.dispose()
    if not nodes:
        return
    named = ", ".join(map(str, nodes))
    if stopping := [revision for revision, rolls in migrations if not rolls]:
        text = f"Migration {', '.join(stopping)} changes what running nodes need. Stop {named}, then: chatctl migrate"
        yield Finding("upgrade", False, text)
    elif migrations:
        text = f"{named} can go on while you migrate. Then start them anew with this version, one after another."
        yield Finding("upgrade", True, text)
    yield _company(nodes, named, speaks, bus)


def _company(nodes: list[_Node], named: str, speaks: int, bus: bool) -> Finding:
    other = [node for node in nodes if bus and node.said.speaks not in (0, speaks)]
    alone = [node for node in nodes if node.said.bus != bus]
    those = ", ".join(map(str, other or alone))
    if other:
        text = f"{those} would not understand this version on the bus. Stop all nodes, then start all."
        return Finding("nodes", False, text)
    if alone:
        here = (
            "without a bus, so that no other node starts. Set bus.url there, too."
            if bus
            else "with a bus, and bus.url is not set here. Set it as it is there."
        )
        return Finding("nodes", False, f"{those} {here}")
    join = "and a node of this version can join" if bus else "and another node can join once both have bus.url"
    return Finding("nodes", True, f"{named} running, {join}")


def _running(db: Connection) -> list[_Node]:
    if not inspect(db).has_table("node"):
        return []
    return [msgspec.json.decode(row, type=_Node) for row in db.scalars(_NODES)]


def _pending(db: Connection) -> list[tuple[str, bool]]:
    """The migrations that this database lacks, oldest first, and whether nodes of the version before can go on."""
    present = revision_of(db)
    found: list[tuple[str, bool]] = []
    known: list[tuple[str, Any]] = known_migrations(db)
    if present is not None and present not in [revision for revision, _ in known]:
        return []  # it is newer
    for revision, module in known:
        if revision == present:
            break
        found.append((revision, bool(getattr(module, "ROLLING", False))))
    return found[::-1]
