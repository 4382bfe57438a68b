"""Leases: one process at a time serves as a node, and on a SQLite file one process at all.

The table `node` has a row for each node. A process holds the lease while its `boot` is in the row, and sends a
heartbeat every second. A lease is free if the row has no boot, or if its holder

- ran on this host and has ended: known from the kernel, at once; or
- ran elsewhere and has sent no heartbeat for LAPSE_SECONDS by the database's clock; or
- has sent no heartbeat for LAPSE_SECONDS while somebody watched: whatever the clocks say, a holder that is running
  somewhere sends one a second.

A process that acquires the lease puts another boot into the row, under the row's lock. So a process that finds its own
boot there knows that nobody has served as this node since it acquired the lease, however long it did not ask.

`beat` counts the heartbeats of a node and survives its processes: it never decreases, unless the database was set back.
"""

import os
import secrets
import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Row, delete, exists, func, insert, select, update

from chatserver import __version__
from chatserver.settings.tables import NAME_CHARACTERS
from chatserver.store.db.database_clock import NOW, now
from chatserver.store.db.epochs import Epoch, begin, ensure
from chatserver.store.db.schema import NodeRow, SessionRow
from chatserver.util.times import awake_seconds, rfc3339

BEAT_SECONDS: Final = 1.0
LAPSE_SECONDS: Final = 5.0
"""How long a holder may be without a heartbeat before it is dead: several heartbeats must fail, not one slow commit."""
KEPT: Final = timedelta(days=1)
"""How long the row of a node without a process is kept: generated names come and go."""
JOINING: Final = 4004
"""Key of the advisory lock of a process that acquires a lease on PostgreSQL."""
PREPARING: Final = 4002
"""Key of the advisory lock of a process that prepares the database for serving."""
MOST_NAMES: Final = 99
"""Maximum number of processes of one host that find a name."""


class Process(Struct, frozen=True):
    """A process that serves as a node.

    `boot` is random. `machine` identifies the running kernel and the namespace of `pid`: two containers on one host may
    both have a process 1. `started`: when the process started, in ticks of the kernel, because pids are reused. Without
    /proc `machine` is empty and `started` is 0; then only heartbeats tell whether the process is running. `bus`: it has
    a bus, and so can serve beside other nodes that have one.
    """

    node: str
    boot: str
    host: str
    machine: str
    pid: int
    started: int
    bus: bool = False


class Holder(Protocol):
    """Holds the lease of this node."""

    @property
    def me(self) -> Process:
        """This process, with its present boot."""


class Held(Struct, frozen=True):
    """The lease is another process's. `alive`: its heartbeat has advanced while we watched. `one_file`: the database is
    a SQLite file, on which no second server may run, whatever its node. `here`: it is running on this machine, as the
    kernel says. `with_bus`: the servers that have a bus, (this one, the other one)."""

    node: str
    host: str
    pid: int
    since: datetime
    alive: bool
    one_file: bool
    here: bool = False
    with_bus: tuple[bool, bool] = (True, True)

    def __str__(self) -> str:
        who = f"as node {self.node} (process {self.pid} on {self.host}, since {rfc3339(self.since)}). Stop that server"
        if self.one_file:
            return f"Another server is running on this SQLite file {who}; only one can use the file."
        return f"Another server is running on this database {who}, or {INSTEAD[self.with_bus]}."


INSTEAD: Final = {
    (True, True): "set server.node to another name for this one",
    (True, False): "set bus.url there, too",
    (False, True): "set bus.url here as it is there",
    (False, False): "set bus.url for both, and server.node to another name for this one",
}
"""The settings with which this server can run beside another one, by `Held.with_bus`."""


class _Joins(Struct, frozen=True):
    """Fields of `nodes.Facts`."""

    boot: str = ""
    bus: bool = False


class Beat(Struct, frozen=True):
    """`beat`: the node's counter in the database, 0 without a row. `ours`: whether the lease is still ours. `now`: the
    database's time, if there is a row. `epoch`: the present one, if the lease is ours."""

    beat: int
    ours: bool
    now: datetime | None = None
    epoch: Epoch | None = None


def this_process(node: str, *, bus: bool = False) -> Process:
    """The present process, with a new boot."""
    pid = os.getpid()
    return Process(node, secrets.token_hex(16), socket.gethostname(), _machine(), pid, _started(pid) or 0, bus)


def names(host: str) -> Iterator[str]:
    """The names for the nodes of a host that were given none, in the order in which they are taken."""
    for number in range(1, MOST_NAMES + 1):
        suffix = f"-{number}" if number > 1 else ""
        yield f"{host[: NAME_CHARACTERS - len(suffix)]}{suffix}"


class Claim:
    """Acquires a lease: call it in a transaction, each BEAT_SECONDS / 4 or so, until it returns a beat (the lease is
    ours) or a Held that is `alive`.

    It takes over from a live-looking holder if its beat stays the same for LAPSE_SECONDS from the first call. A process
    without a bus cannot hear other nodes, nor they it: it acquires a lease only if no other node is alive, and none is
    acquired while such a process is.

    A process that serves alone begins an epoch: nobody has watched the database until now.
    """

    def __init__(self, me: Process, seconds: Callable[[], float] = awake_seconds) -> None:
        self._me = me
        self._seconds = seconds
        self._watched: dict[str, tuple[str, int, float]] = {}  # by node: boot, beat, since when
        self.epoch: Epoch | None = None
        """The present epoch, once the lease is ours."""

    def __call__(self, db: Connection) -> int | Held:
        """Raises IntegrityError (Conflict) if another process inserts the node's first row at the same moment."""
        me = self._me
        one_file = db.dialect.name == "sqlite"
        query = select(NodeRow.__table__, NOW.label("now"))
        alone = True
        if one_file:
            rows = list(db.execute(query.with_for_update()))
        else:
            db.execute(select(func.pg_advisory_xact_lock(JOINING)))
            rows = list(db.execute(query.where(NodeRow.name == me.node).with_for_update()))
            others = list(db.execute(query.where(NodeRow.name != me.node, NodeRow.boot != "")))
            alone = all(_is_free(row, me) for row in others)
            rows += [row for row in others if not (me.bus and _has_bus(row))]
        for row in rows:
            is_dead = _is_free(row, me) or self._is_still(row)
            if is_dead and not one_file and row.name != me.node:
                is_dead = take_away(db, row.name, row.boot, row.beat)
            if not is_dead:
                boot, beat, _ = self._watched.get(row.name, (row.boot, row.beat, 0.0))
                alive = (boot, beat) != (row.boot, row.beat)
                return Held(
                    row.name, row.host, row.pid, row.acquired_at, alive, one_file, _is_here(row, me),
                    (me.bus, _has_bus(row)),
                )  # fmt: skip
        beat = next((row.beat for row in rows if row.name == me.node), 0) + 1
        values = {
            "boot": me.boot, "host": me.host, "machine": me.machine, "pid": me.pid, "started": me.started,
            "beat": beat, "acquired_at": NOW, "heartbeat_at": NOW,
            # Facts about the previous process, and requests to it, no longer apply.
            "version": __version__, "frames": 0, "applied": 0, "facts": facts_of(me), "asked": None,
        }  # fmt: skip
        if beat == 1:
            db.execute(insert(NodeRow).values(name=me.node, **values))
        else:
            db.execute(update(NodeRow).where(NodeRow.name == me.node).values(values))
        if one_file:
            db.execute(update(NodeRow).where(NodeRow.name != me.node).values(boot=""))
        self.epoch = begin(db) if alone else ensure(db)
        return beat

    def _is_still(self, row: Row[Any]) -> bool:
        """Whether the holder must be dead: it has sent no heartbeat for LAPSE_SECONDS since we first looked."""
        boot, beat, since = self._watched.setdefault(row.name, (row.boot, row.beat, self._seconds()))
        return (boot, beat) == (row.boot, row.beat) and self._seconds() - since > LAPSE_SECONDS


def heartbeat(db: Connection, me: Process) -> Beat:
    """Says that this process is running, if the lease is still its own."""
    query = select(NodeRow.boot, NodeRow.beat, NOW.label("now")).where(NodeRow.name == me.node)
    row = db.execute(query.with_for_update()).one_or_none()
    if row is None:
        return Beat(0, ours=False)
    if row.boot != me.boot:
        return Beat(row.beat, ours=False, now=row.now)
    db.execute(update(NodeRow).where(NodeRow.name == me.node).values(beat=row.beat + 1, heartbeat_at=NOW))
    return Beat(row.beat + 1, ours=True, now=row.now, epoch=ensure(db))


def release(db: Connection, me: Process) -> None:
    """Gives up the lease, so that the next process need not wait. Does nothing if it is another's."""
    db.execute(update(NodeRow).where(NodeRow.name == me.node, NodeRow.boot == me.boot).values(boot=""))


def take_away(db: Connection, node: str, boot: str, beat: int) -> bool:
    """Ends the lease of a process that is dead, if this was its last heartbeat. Returns whether this call did it.

    A process that acts on another node's death (closes its sessions, dismisses its guests) calls this first in the same
    transaction: of several, one does it, and a process that was only cut off finds its lease gone when it comes back,
    and starts anew.
    """
    # The rows of live nodes are not locked before that: their heartbeats would wait. Nor is one waited for that is
    # locked: by another node that does the same, or by a process that was frozen in the middle of a heartbeat.
    same = (NodeRow.name == node, NodeRow.boot == boot, NodeRow.beat == beat)
    if db.scalar(select(NodeRow.name).where(*same).with_for_update(skip_locked=True)) is None:
        return False
    # To that process, a beat that did not advance would mean that the database was set back.
    db.execute(update(NodeRow).where(NodeRow.name == node).values(boot="", beat=beat + 1))
    return True


def release_dead(db: Connection, me: Process, *, believe_clocks: bool = True) -> list[str]:
    """Ends the leases of other nodes whose process is dead, and returns their names: see `take_away`.

    With `believe_clocks=False` only if the kernel reports their end: after an outage of the database every heartbeat is
    old, and one look cannot show who is dead. Nodes on other machines are watched then: see `cluster/peers`.
    """
    query = select(NodeRow.__table__, NOW.label("now")).where(NodeRow.name != me.node, NodeRow.boot != "")
    dead = []
    for row in db.execute(query.order_by(NodeRow.name)).all():
        is_dead = _is_free(row, me) if believe_clocks else has_ended(row, me)
        if is_dead and take_away(db, row.name, row.boot, row.beat):  # else it has just sent a heartbeat
            dead.append(row.name)
    return dead


def one_at_a_time(db: Connection) -> None:
    """Several nodes that start at the same moment prepare the database one after another."""
    db.execute(select(func.pg_advisory_xact_lock(PREPARING)))


def remove_old(db: Connection) -> None:
    """Removes the rows of nodes that have had no process for KEPT, and whose sessions are all closed."""
    still_open = exists().where(SessionRow.node == NodeRow.name, SessionRow.disconnected_at.is_(None))
    old = (NodeRow.boot == "", NodeRow.heartbeat_at < now(db) - KEPT, ~still_open)
    db.execute(delete(NodeRow).where(*old))


def holders(db: Connection) -> list[Held]:
    """The leases that are held now, as far as one look can show."""
    one_file = db.dialect.name == "sqlite"
    me = this_process("")
    rows = db.execute(select(NodeRow.__table__, NOW.label("now")).order_by(NodeRow.name)).all()
    return [Held(row.name, row.host, row.pid, row.acquired_at, True, one_file) for row in rows if not _is_free(row, me)]


def facts_of(me: Process) -> str:
    """The column `facts` before a process has written its own. The boot marks who wrote it: a version that does not
    know the column leaves another process's facts there."""
    return msgspec.json.encode(_Joins(me.boot, me.bus)).decode()


def _has_bus(row: Row[Any]) -> bool:
    """Whether the process that a row names has a bus."""
    try:
        said = msgspec.json.decode(row.facts or "{}", type=_Joins)
    except msgspec.DecodeError:
        return False
    return said.bus and said.boot == row.boot


def _is_free(row: Row[Any], me: Process) -> bool:
    if not row.boot:
        return True
    if _is_of_this_machine(row, me):
        # Believe the kernel, not the clocks: this process may have been started under another time.
        return (row.pid, row.started) == (me.pid, me.started) or not is_running(row.pid, row.started)
    return bool((row.now - row.heartbeat_at).total_seconds() > LAPSE_SECONDS)


def _is_of_this_machine(row: Row[Any], me: Process) -> bool:
    return bool(me.machine) and (row.host, row.machine) == (me.host, me.machine)


def _is_here(row: Row[Any], me: Process) -> bool:
    return _is_of_this_machine(row, me) and is_running(row.pid, row.started)


def has_ended(row: Row[Any], me: Process) -> bool:
    """Whether the process that a row names ran on this machine, and does not run any more."""
    return _is_of_this_machine(row, me) and not is_running(row.pid, row.started)


def is_running(pid: int, started: int) -> bool:
    """Whether this process is running on this machine. A zombie is not. When in doubt, it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    now = _started(pid)
    return now is None or (now == started and now != 0)


def _started(pid: int) -> int | None:
    """When a process started, in ticks since the machine booted; 0 for a zombie; None if that cannot be read."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may contain anything
    return 0 if fields[0] in "ZX" else int(fields[19])  # fields 3 and 22 of proc_pid_stat(5)


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
