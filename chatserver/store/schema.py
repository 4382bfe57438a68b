"""The tables. Changes here need a revision in `alembic/versions`."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Instant(TypeDecorator[datetime]):
    """A timezone-aware time in UTC; SQLite, which has no such type, keeps it without the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        time: datetime = value
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def as_sqlite(at: datetime) -> str:
    """A time as SQLite keeps it, for statements that are not SQLAlchemy's."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


# SQLite numbers rows by itself only where the key is spelt INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)


class Account(Base):
    """Somebody who can log in. `name_key` is the name in lower case; names are never given out twice.

    `kind` is person, operator (of the whole server) or guest.
    """

    __tablename__ = "account"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    name_key: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str | None] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(16), server_default="person")
    created_at: Mapped[datetime] = mapped_column(Instant)
    last_seen_at: Mapped[datetime | None] = mapped_column(Instant)
    disabled_at: Mapped[datetime | None] = mapped_column(Instant)
    erased_at: Mapped[datetime | None] = mapped_column(Instant)


class Room(Base):
    """A log of entries. `last_seq` is the number of its newest one; a direct room is called `@id:id`.

    A deleted room's name is free again. `past_open`: who joins a private room may read what was before;
    `invites`: members, or moderators only.
    """

    __tablename__ = "room"
    __table_args__ = (
        Index(
            "uq_room_name_kept",
            "name",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
            sqlite_where=text("deleted_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    topic: Mapped[str] = mapped_column(Text, server_default="")
    last_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    created_by: Mapped[int | None] = mapped_column(ForeignKey("account.id"))
    created_at: Mapped[datetime] = mapped_column(Instant)
    deactivated_at: Mapped[datetime | None] = mapped_column(Instant)
    deleted_at: Mapped[datetime | None] = mapped_column(Instant)
    past_open: Mapped[bool] = mapped_column(Boolean, server_default=false())
    invites: Mapped[str] = mapped_column(String(16), server_default="members")


class Membership(Base):
    """An interval of somebody's being in a room, from `joined_seq` to `left_seq`; open while that is null.

    `blocked`: of a direct room, where the other one has blocked this one.
    """

    __tablename__ = "membership"
    __table_args__ = (
        Index(
            "uq_membership_room_id_account_id_open",
            "room_id",
            "account_id",
            unique=True,
            postgresql_where=text("left_seq IS NULL"),
            sqlite_where=text("left_seq IS NULL"),
        ),
        Index("ix_membership_account_id", "account_id", "room_id"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    room_id: Mapped[int] = mapped_column(ForeignKey("room.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    role: Mapped[str] = mapped_column(String(16), server_default="member")
    joined_seq: Mapped[int] = mapped_column(BigInteger)
    left_seq: Mapped[int | None] = mapped_column(BigInteger)
    read_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    muted_until: Mapped[datetime | None] = mapped_column(Instant)
    blocked: Mapped[bool] = mapped_column(Boolean, server_default=false())


class EntryRow(Base):
    """An entry of a room's log; `state` of a message is null, edited or erased.

    No foreign keys: rooms and accounts are never deleted, and each would be looked up again for every message (a fifth
    of the cost of storing one). What is found by words has an index that each database makes in its own way: see
    the first migration.
    """

    __tablename__ = "entry"
    __table_args__ = (
        # Also finds all that somebody wrote: null ids are distinct.
        Index("uq_entry_author_id_client_id", "author_id", "client_id", unique=True),
        Index(
            "ix_entry_room_id_target_seq",
            "room_id",
            "target_seq",
            postgresql_where=text("target_seq IS NOT NULL"),
            sqlite_where=text("target_seq IS NOT NULL"),
        ),
    )

    room_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16))
    author_id: Mapped[int | None] = mapped_column(BigInteger)
    text: Mapped[str] = mapped_column(Text)
    target_seq: Mapped[int | None] = mapped_column(BigInteger)
    target_id: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[str | None] = mapped_column(String(16))
    client_id: Mapped[str | None] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(Instant)


class SessionRow(Base):
    """A login, from connection to disconnection; open while `disconnected_at` is null."""

    __tablename__ = "session"
    __table_args__ = (
        Index(
            "ix_session_open",
            "node",
            postgresql_where=text("disconnected_at IS NULL"),
            sqlite_where=text("disconnected_at IS NULL"),
        ),
        Index("ix_session_account_id", "account_id"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    node: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64))
    connected_at: Mapped[datetime] = mapped_column(Instant)
    disconnected_at: Mapped[datetime | None] = mapped_column(Instant)
    reason: Mapped[str | None] = mapped_column(Text)


class Token(Base):
    """What a program logs in with: the SHA-256 of 256 random bits. Revoked where `revoked_at` is set."""

    __tablename__ = "token"
    __table_args__ = (Index("ix_token_account_id", "account_id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    label: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(Instant)
    last_used_at: Mapped[datetime | None] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)


class Invitation(Base):
    """Somebody may join a private room; gone once they have."""

    __tablename__ = "invitation"

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True, autoincrement=False)
    room_id: Mapped[int] = mapped_column(ForeignKey("room.id"), primary_key=True, autoincrement=False)
    invited_by: Mapped[int] = mapped_column(ForeignKey("account.id"))
    at: Mapped[datetime] = mapped_column(Instant)


class Ban(Base):
    """An account, or an address or network, may not come into a room, or (null) onto the server; `until` null: ever."""

    __tablename__ = "ban"
    __table_args__ = (Index("ix_ban_room_id_account_id", "room_id", "account_id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id"))
    network: Mapped[str | None] = mapped_column(String(64))
    room_id: Mapped[int | None] = mapped_column(ForeignKey("room.id"))
    until: Mapped[datetime | None] = mapped_column(Instant)
    reason: Mapped[str] = mapped_column(Text, server_default="")
    by: Mapped[int | None] = mapped_column(ForeignKey("account.id"))
    at: Mapped[datetime] = mapped_column(Instant)


class Block(Base):
    """`account_id` hears nothing from `blocked_id`."""

    __tablename__ = "block"
    __table_args__ = (Index("ix_block_blocked_id", "blocked_id"),)

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True, autoincrement=False)
    blocked_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(Instant)


class Change(Base):
    """Something that running servers are to take note of: written by `chatctl`, read by `watch.py`.

    `kind`: room (its log has grown), account (it may no longer log in), token (it is revoked), bans (there are other
    ones). `subject`: the id of the room, account or token.
    """

    __tablename__ = "change"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    subject: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(Instant)
