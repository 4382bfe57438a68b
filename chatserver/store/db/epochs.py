"""Epochs: how far the log that a client knows is the one that there is now.

A database may be set back: by a failover to a standby that lacks the last commits, by a restored backup, by a copy of a
file. Numbers are then given again, to other entries. So the logs have an *epoch*, which is in the database: whoever
knows entries of an epoch that is not the present one can compute the last number that both have in common.

A new epoch begins before anything is written, whenever the database may have been set back unnoticed:

- when a process takes its lease while no other one serves (`nodes/lease.py`): nobody watched the database until then;
- on PostgreSQL, on the first new connection after the database has moved (`place`): a failover and a point-in-time
  recovery begin a new timeline, a restored dump is another database or has other tables;
- when a server notices by itself that the database has less than it had (`sync/epochs.py`).

Each epoch has the heads that the rooms had when it began (`epoch_head`, only of rooms whose head was another one than
when the epoch before began). These are the last numbers that the epoch before has in common with the present log, since
what it had behind them, if anything, was lost.

Names are random, so an epoch that was lost has the name of no other one. A client also hands over the names of the
epochs before its own (`Epoch.token`): a database that does not know the client's epoch knows one of those as a rule.
"""

import secrets
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import URL, Connection, func, insert, literal, select, text, update
from sqlalchemy.exc import DBAPIError

from chatserver.store.db.database_clock import NOW
from chatserver.store.db.engine import open_engine
from chatserver.store.db.schema import EpochHeadRow, EpochRow, RoomRow
from chatserver.store.db.transactions import note

LINEAGE: Final = 4
"""Maximum number of epochs that a token names."""
BEGINNING: Final = 4005
"""Key of the advisory lock of a process that begins an epoch on PostgreSQL."""
_UNANSWERABLE: Final = ("0A", "42", "55")
"""How the codes of errors begin with which a PostgreSQL refuses to say where it is: it is a relative of PostgreSQL, or
its functions are not for this role."""

# Which data this is: the cluster of databases, the timeline of its log, the database, and the table. In recovery there
# is no current position in the log, and nothing can be written.
_PLACE: Final = """
SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE concat_ws('/', s.system_identifier,
substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), d.oid, CAST(CAST('room' AS regclass) AS oid)) END
FROM pg_control_system() AS s, pg_database AS d WHERE d.datname = current_database()
"""
_NEWEST: Final = f"SELECT id, name FROM epoch ORDER BY id DESC LIMIT {LINEAGE}"
_LOOK: Final = (
    f"SELECT ({_PLACE}), (SELECT string_agg(name, '.' ORDER BY id DESC) FROM ({_NEWEST}) AS newest), "
    "(SELECT place FROM epoch ORDER BY id DESC LIMIT 1)"
)


class Epoch(Struct, frozen=True):
    """`name` is random and ends with the number of all entries when the epoch began. `before`: the names of those
    before it, the newest one first."""

    name: str
    before: tuple[str, ...] = ()

    @property
    def token(self) -> str:
        """What clients keep, and give back."""
        return ".".join((self.name, *self.before))


def epoch_of(token: str) -> Epoch:
    name, *before = token.split(".")
    return Epoch(name, tuple(before[: LINEAGE - 1]))


def current(db: Connection) -> Epoch | None:
    """The present epoch; None before the first one."""
    names = db.scalars(select(EpochRow.name).order_by(EpochRow.id.desc()).limit(LINEAGE)).all()
    return Epoch(names[0], tuple(names[1:])) if names else None


def begin(db: Connection, lost: Mapping[int, int] = {}) -> Epoch:
    """Begins an epoch. `lost`: by room id, the last number that is left of what was delivered, where a server has
    noticed that; the room may have gone on since."""
    _lock(db)
    entries = int(db.scalar(select(func.coalesce(func.sum(RoomRow.last_seq), 0))) or 0)
    place, _, _ = _look(db)
    new = {"name": f"{secrets.token_hex(4)}-{entries:x}", "entries": entries, "place": place, "began_at": NOW}
    id = db.execute(insert(EpochRow).values(new).returning(EpochRow.id)).scalar_one()
    newest = select(EpochHeadRow.room_id, func.max(EpochHeadRow.epoch_id).label("id")).group_by(EpochHeadRow.room_id)
    last = newest.subquery()
    heads = (
        select(RoomRow.id, literal(id), RoomRow.last_seq)
        .join(last, last.c.room_id == RoomRow.id, isouter=True)
        .join(
            EpochHeadRow, (EpochHeadRow.room_id == last.c.room_id) & (EpochHeadRow.epoch_id == last.c.id), isouter=True
        )
        .where(RoomRow.last_seq != func.coalesce(EpochHeadRow.seq, 0))
    )
    db.execute(insert(EpochHeadRow).from_select(["room_id", "epoch_id", "seq"], heads))
    _lower(db, id, lost)
    epoch = current(db)
    assert epoch is not None
    return epoch


def begin_unless_begun(db: Connection, known: str | None, lost: Mapping[int, int] = {}) -> Epoch:
    """Begins an epoch after a server has noticed that the database was set back, unless that was done already.
    `known`: the name of the epoch that the server knows."""
    _lock(db)
    present = db.execute(select(EpochRow.id, EpochRow.name).order_by(EpochRow.id.desc()).limit(1)).first()
    # If the database has forgotten the epoch that the server knows, the present one may be one from before.
    if present is None or known is None or present.name == known or not _ids(db, [known]):
        return begin(db, lost)
    _lower(db, present.id, lost)
    epoch = current(db)
    assert epoch is not None
    return epoch


def ensure(db: Connection) -> Epoch:
    """The present epoch, which begins now if the database has moved since the last one began, or there is none."""
    place, epoch, former = _look(db)
    if epoch is not None and place in (None, former):
        return epoch
    _lock(db)
    place, epoch, former = _look(db)  # another process may have begun it meanwhile
    return epoch if epoch is not None and place in (None, former) else begin(db)


def ensure_at(connection: Any, url: URL) -> Epoch | None:
    """As `ensure`, on a new connection of PostgreSQL's driver, before anything else is done there; None if the database
    does not say where it is."""
    autocommit = connection.autocommit
    try:
        with connection.cursor() as cursor:
            cursor.execute(_LOOK)
            place, names, former = cursor.fetchone()
    except Exception as error:
        if not (getattr(error, "pgcode", None) or "").startswith(_UNANSWERABLE):
            raise
        return None
    finally:
        if not autocommit and not connection.closed:
            connection.rollback()
    if names and place in (None, former):
        return epoch_of(names)
    engine = open_engine(url, 1)
    try:
        with engine.begin() as db:
            return ensure(db)
    finally:
        engine.dispose()
        note(connection)


def common(db: Connection, token: str, room_ids: Collection[int]) -> dict[int, int]:
    """By room id, the last number that the epoch of a token has in common with the present log. Empty if the epoch is
    the present one: all numbers are.

    What the database cannot know is too low rather than too high: the client is then sent entries again that it had.
    """
    names = token.split(".")[:LINEAGE]
    ids = _ids(db, names)
    index = next((index for index, name in enumerate(names) if name in ids), None)
    if index is None:
        return dict.fromkeys(room_ids, 0)
    known = ids[names[index]]
    following = db.execute(
        select(EpochRow.id, EpochRow.entries).where(EpochRow.id > known).order_by(EpochRow.id).limit(1)
    ).first()
    if index == 0:
        return {} if following is None else _heads(db, following.id, room_ids)
    # An epoch that was lost has followed this one. If it began with fewer entries than the one that follows now, an
    # older state was restored first, and then a newer one: both logs have at least the beginning of this epoch.
    lost_entries = _entries(names[index - 1])
    if following is not None and lost_entries >= following.entries:
        known = following.id
    return _heads(db, known, room_ids)


# One JSON text instead of a parameter for each of perhaps thousands of rooms.
_HEADS: Final = {
    name: text(
        f"SELECT room_id, min(seq) AS seq FROM epoch_head AS e WHERE room_id IN ({ids}) AND epoch_id >= "
        "(SELECT max(epoch_id) FROM epoch_head WHERE room_id = e.room_id AND epoch_id <= :epoch) GROUP BY room_id"
    )
    for name, ids in (
        ("postgresql", "SELECT CAST(value AS bigint) FROM json_array_elements_text(CAST(:ids AS json))"),
        ("sqlite", "SELECT value FROM json_each(:ids)"),
    )
}


def _heads(db: Connection, epoch_id: int, room_ids: Collection[int]) -> dict[int, int]:
    """The heads of these rooms when an epoch began, or later if they were lower then: somebody has removed entries."""
    given = {"epoch": epoch_id, "ids": msgspec.json.encode(list(room_ids)).decode()}
    found = {row.room_id: row.seq for row in db.execute(_HEADS[db.dialect.name], given)}
    return {room_id: found.get(room_id, 0) for room_id in room_ids}


def _ids(db: Connection, names: Collection[str]) -> dict[str, int]:
    rows = db.execute(select(EpochRow.name, EpochRow.id).where(EpochRow.name.in_(names)))
    return {row.name: row.id for row in rows}


def _entries(name: str) -> int:
    try:
        return int(name.partition("-")[2], 16)
    except ValueError:
        return -1


def _lower(db: Connection, epoch_id: int, lost: Mapping[int, int]) -> None:
    """The heads of these rooms when an epoch began were no higher than this."""
    for room_id, last in lost.items():
        there = (EpochHeadRow.epoch_id == epoch_id, EpochHeadRow.room_id == room_id)
        known = db.scalar(select(EpochHeadRow.seq).where(*there))
        if known is None:
            db.execute(insert(EpochHeadRow).values(room_id=room_id, epoch_id=epoch_id, seq=last))
        elif last < known:
            db.execute(update(EpochHeadRow).where(*there).values(seq=last))


def _lock(db: Connection) -> None:
    """One process at a time begins an epoch. On SQLite there is only one, and one transaction at a time."""
    if db.dialect.name == "postgresql":
        db.execute(select(func.pg_advisory_xact_lock(BEGINNING)))


def _look(db: Connection) -> tuple[str | None, Epoch | None, str | None]:
    """Where the database is (None: unknown), the present epoch, and where the database was when that began."""
    if db.dialect.name == "postgresql":
        try:
            with db.begin_nested():
                place, names, former = db.execute(text(_LOOK)).one()
            return place, epoch_of(names) if names else None, former
        except DBAPIError as error:
            if not (getattr(error.orig, "pgcode", None) or "").startswith(_UNANSWERABLE):
                raise
    return None, current(db), None
