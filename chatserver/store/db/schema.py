"""The tables. A change here needs a revision in `alembic/versions`."""

from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Float,
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

from chatserver.values.events import AccountKind, EntryKind, Notify, Role, RoomKind

MessageState = Literal["edited", "erased"]
ChangeKind = Literal["room", "account", "token", "certificate", "bans", "membership", "effect"]

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Instant(TypeDecorator[datetime]):
    """A timezone-aware time in UTC. SQLite has no such type and stores it without the zone."""

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
    """A time as SQLite stores it, for statements that do not go through SQLAlchemy's types."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


# SQLite assigns ids only if the type of the key is spelled INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)


class AccountRow(Base):
    """Somebody who can log in. `name_key` is the name in lower case; names are never reused. Names that look alike have
    the same `skeleton`.

    `commands_per_second`, `bytes_per_second` and `connections` replace the limits of the settings for this account.
    `renamed_at`: since when it has its name and display name; what it was called before: see `FormerNameRow`.
    `owner_id`: the person that a bot belongs to.
    """

    __tablename__ = "account"
    __table_args__ = (
        Index(
            "ix_account_owner_id",
            "owner_id",
            postgresql_where=text("owner_id IS NOT NULL"),
            sqlite_where=text("owner_id IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    name_key: Mapped[str] = mapped_column(String(64), unique=True)
    skeleton: Mapped[str | None] = mapped_column(String(64), index=True)
    password_hash: Mapped[str | None] = mapped_column(Text)
    kind: Mapped[AccountKind] = mapped_column(String(16), server_default="person")
    created_at: Mapped[datetime] = mapped_column(Instant)
    last_seen_at: Mapped[datetime | None] = mapped_column(Instant)
    disabled_at: Mapped[datetime | None] = mapped_column(Instant)
    erased_at: Mapped[datetime | None] = mapped_column(Instant)
    commands_per_second: Mapped[float | None] = mapped_column(Float)
    bytes_per_second: Mapped[float | None] = mapped_column(Float)
    connections: Mapped[int | None] = mapped_column(Integer)
    display_name: Mapped[str | None] = mapped_column(String(64))
    renamed_at: Mapped[datetime | None] = mapped_column(Instant)
    owner_id: Mapped[int | None] = mapped_column(BigInteger)


class FormerNameRow(Base):
    """The name of an account until `until`, by the clock of entries. It stays reserved for a while: see
    `store/names.py`."""

    __tablename__ = "former_name"
    __table_args__ = (Index("ix_former_name_account_id", "account_id", "until"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    name: Mapped[str] = mapped_column(String(64))
    name_key: Mapped[str] = mapped_column(String(64), index=True)
    skeleton: Mapped[str | None] = mapped_column(String(64), index=True)
    display_name: Mapped[str | None] = mapped_column(String(64))
    until: Mapped[datetime] = mapped_column(Instant)


class PreferenceRow(Base):
    """How an account wants things shown: see `store/preferences.py`."""

    __tablename__ = "preference"

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[str] = mapped_column(String(64))


class RoomRow(Base):
    """A log of entries. `last_seq` is the number of the newest entry, `last_at` its time: the next one has no earlier
    time. A direct room is named `@id:id`.

    The name of a deleted room is free again. `deactivated_at`: since when nobody is in the room. `past_open`: members
    of a private room may read entries from before they joined. `invites`: who may invite. `pace_seconds`: how long
    a member must wait between messages and changes. `first_seq`: the number of the oldest entry that was not removed.
    `keep_days`, `keep_entries`: they replace the settings' retention; 0 keeps everything.
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
    kind: Mapped[RoomKind] = mapped_column(String(16))
    topic: Mapped[str] = mapped_column(Text, server_default="")
    last_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    last_at: Mapped[datetime | None] = mapped_column(Instant)
    created_by: Mapped[int | None] = mapped_column(ForeignKey("account.id"))
    created_at: Mapped[datetime] = mapped_column(Instant)
    deactivated_at: Mapped[datetime | None] = mapped_column(Instant)
    deleted_at: Mapped[datetime | None] = mapped_column(Instant)
    past_open: Mapped[bool] = mapped_column(Boolean, server_default=false())
    invites: Mapped[Literal["members", "moderators"]] = mapped_column(String(16), server_default="members")
    pace_seconds: Mapped[int] = mapped_column(Integer, server_default="0")
    first_seq: Mapped[int] = mapped_column(BigInteger, server_default="1")
    keep_days: Mapped[float | None] = mapped_column(Float)
    keep_entries: Mapped[int | None] = mapped_column(BigInteger)


class MembershipRow(Base):
    """An interval during which an account is in a room, from `joined_seq` to `left_seq`; open while that is null.

    `blocked`: in a direct room, the other person has blocked this one. `read_seq`: the read mark. `seen`: what a person
    has seen behind it; null: nothing, else a JSON array of pairs, the first and the last number of a stretch.
    `read_era`: rises whenever the mark is moved back (see `values.seen.Seen`). `notify`: which messages the account
    wants to be notified of; null: the default.
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
    role: Mapped[Role] = mapped_column(String(16), server_default="member")
    joined_seq: Mapped[int] = mapped_column(BigInteger)
    left_seq: Mapped[int | None] = mapped_column(BigInteger)
    read_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    read_era: Mapped[int] = mapped_column(Integer, server_default="1")
    seen: Mapped[str | None] = mapped_column(Text)
    muted_until: Mapped[datetime | None] = mapped_column(Instant)
    blocked: Mapped[bool] = mapped_column(Boolean, server_default=false())
    notify: Mapped[Notify | None] = mapped_column(String(16))


def is_reply(prefix: str = "") -> str:
    """The condition for messages that answer one and are not erased, as in the index of them."""
    return f"{prefix}target_seq IS NOT NULL AND {prefix}kind = 'message' AND {prefix}state IS DISTINCT FROM 'erased'"


class EntryRow(Base):
    """An entry of a room's log. `state` is for messages. `target_seq`: the message that it is about, or answers.

    `reactions`: to a message, a JSON object with how often each was given; null: none. `pinned`: it is pinned now.

    A negative `room_id`, with the kind `spent`: the id of a message of that room that was removed. It has no text.

    There are no foreign keys: rooms and accounts are never deleted, and checking the keys would take a fifth of the
    cost of storing a message. The index of words is not described
    here: see `store/words.py` and migration 0016.
    """

    __tablename__ = "entry"
    __table_args__ = (
        # Also finds everything that an account wrote: nulls are distinct.
        Index("uq_entry_author_id_client_id", "author_id", "client_id", unique=True),
        Index(
            "ix_entry_room_id_target_seq",
            "room_id",
            "target_seq",
            postgresql_where=text("target_seq IS NOT NULL"),
            sqlite_where=text("target_seq IS NOT NULL"),
        ),
        Index(
            "ix_entry_replies",
            "room_id",
            "target_seq",
            "seq",
            postgresql_where=text(is_reply()),
            sqlite_where=text(is_reply()),
        ),
        Index("ix_entry_pinned", "room_id", "seq", postgresql_where=text("pinned"), sqlite_where=text("pinned")),
    )

    room_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[EntryKind] = mapped_column(String(16))
    author_id: Mapped[int | None] = mapped_column(BigInteger)
    text: Mapped[str] = mapped_column(Text)
    target_seq: Mapped[int | None] = mapped_column(BigInteger)
    target_id: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[MessageState | None] = mapped_column(String(16))
    client_id: Mapped[str | None] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(Instant)
    reactions: Mapped[str | None] = mapped_column(Text)
    pinned: Mapped[bool | None] = mapped_column(Boolean)


class MentionRow(Base):
    """A message that names an account, or answers a message of it: written with the message (see `store/mentions.py`).

    `author_id` and `at` are those of the message. As for entries, there are no foreign keys. The keys are for what an
    account has not read, for all its mentions by time, and for a message that is changed or removed.
    """

    __tablename__ = "mention"
    __table_args__ = (
        Index("ix_mention_account_id", "account_id", "at"),
        Index("ix_mention_room_id", "room_id", "seq"),
    )

    account_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    room_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    author_id: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(Instant)


class UnscannedRow(Base):
    """Messages whose mentions were not written with them, and have not been looked for yet: those of a room from
    `first_seq` to `last_seq`. They are of a version before mentions, imported, or posted with SQL (see migration 0018).
    """

    __tablename__ = "unscanned"

    room_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    first_seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    last_seq: Mapped[int] = mapped_column(BigInteger)


class SessionRow(Base):
    """A login, from connecting to disconnecting; open while `disconnected_at` is null."""

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


class TokenRow(Base):
    """The credential of a program: the SHA-256 of 256 random bits. Revoked if `revoked_at` is set.

    `read_only`: it can change nothing. `room_id`: it is good for this room only.

    With the kind `session`: a kept session (`store/kept_sessions.py`). `label`: the name of the device; `address`:
    where it was used last; `secret`: the hashes of its secrets, as JSON; `sha256`: of what they have in common.
    """

    __tablename__ = "token"
    __table_args__ = (
        Index("ix_token_account_id", "account_id"),
        Index(
            "ix_token_session",
            "expires_at",
            postgresql_where=text("kind = 'session'"),
            sqlite_where=text("kind = 'session'"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    label: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(Instant)
    last_used_at: Mapped[datetime | None] = mapped_column(Instant)
    expires_at: Mapped[datetime | None] = mapped_column(Instant)
    read_only: Mapped[bool] = mapped_column(Boolean, server_default=false())
    room_id: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)
    kind: Mapped[Literal["token", "session"]] = mapped_column(String(16), server_default="token")
    address: Mapped[str | None] = mapped_column(String(64))
    secret: Mapped[str | None] = mapped_column(Text)


class CertificateRow(Base):
    """A client certificate that an account logs in with, by the SHA-256 of its DER form. Removed: deleted."""

    __tablename__ = "certificate"
    __table_args__ = (Index("ix_certificate_account_id", "account_id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    label: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(Instant)
    last_used_at: Mapped[datetime | None] = mapped_column(Instant)


class InvitationRow(Base):
    """Permission to join a room. Deleted when the account joins."""

    __tablename__ = "invitation"
    __table_args__ = (Index("ix_invitation_invited_by", "invited_by"),)

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True, autoincrement=False)
    room_id: Mapped[int] = mapped_column(ForeignKey("room.id"), primary_key=True, autoincrement=False)
    invited_by: Mapped[int] = mapped_column(ForeignKey("account.id"))
    at: Mapped[datetime] = mapped_column(Instant)


class BanRow(Base):
    """An account, or an address or network, is banned from a room, or (null) from the server; `until` null: forever."""

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


class BlockRow(Base):
    """`account_id` has blocked `blocked_id`."""

    __tablename__ = "block"
    __table_args__ = (Index("ix_block_blocked_id", "blocked_id"),)

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True, autoincrement=False)
    blocked_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(Instant)


class IgnoreRow(Base):
    """`account_id` is not shown what `ignored_id` says."""

    __tablename__ = "ignore"
    __table_args__ = (Index("ix_ignore_ignored_id", "ignored_id"),)

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True, autoincrement=False)
    ignored_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(Instant)


class ChangeRow(Base):
    """A change that running servers must learn of: written by `chatctl` and by other nodes, read by the change feed.

    `kind`: room (its log has new entries), account (its kind, or whether it may log in), token (it is revoked),
    certificate (it is removed), bans (those of addresses and networks), membership (the account has entered a room),
    effect (what else follows from a command, as JSON in `detail`: see `handlers/cluster_notes.py`). `subject`: the id
    of the room, account, token or certificate; 0 for bans. `origin`: the boot of the process that wrote it, which has
    done by itself what there is to do; null: no server.
    """

    __tablename__ = "change"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[ChangeKind] = mapped_column(String(16))
    subject: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(Instant)
    detail: Mapped[str | None] = mapped_column(Text)
    origin: Mapped[str | None] = mapped_column(String(32))


class NodeRow(Base):
    """A server process and its lease: see `lease.py`. `boot` is empty if no process has the lease.

    `beat` counts the heartbeats of all processes that served as this node. Times are the database's.

    For a node that works together with others: its `version`, the number of the last of the `frames` that it sent, the
    id of the last change that it has `applied`, further `facts` as JSON (see `nodes.Facts`), and what an administrator
    has `asked` of it.
    """

    __tablename__ = "node"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    boot: Mapped[str] = mapped_column(String(32))
    host: Mapped[str] = mapped_column(String(255))
    machine: Mapped[str] = mapped_column(String(128))
    pid: Mapped[int] = mapped_column(BigInteger)
    started: Mapped[int] = mapped_column(BigInteger)
    beat: Mapped[int] = mapped_column(BigInteger)
    acquired_at: Mapped[datetime] = mapped_column(Instant)
    heartbeat_at: Mapped[datetime] = mapped_column(Instant)
    version: Mapped[str | None] = mapped_column(String(64))
    frames: Mapped[int] = mapped_column(BigInteger, server_default="0")
    applied: Mapped[int] = mapped_column(BigInteger, server_default="0")
    facts: Mapped[str | None] = mapped_column(Text)
    asked: Mapped[Literal["drain", "rebalance"] | None] = mapped_column(String(16))


class SecretRow(Base):
    """A secret that the servers of this database share: see `store/nodes/secret.py`."""

    __tablename__ = "secret"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    value: Mapped[str] = mapped_column(String(64))


class EpochRow(Base):
    """An epoch of the logs: see `store/db/epochs.py`. `entries`: how many entries all rooms had when it began. `place`:
    where the database was then; null: unknown."""

    __tablename__ = "epoch"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(32), unique=True)
    entries: Mapped[int] = mapped_column(BigInteger)
    place: Mapped[str | None] = mapped_column(String(128))
    began_at: Mapped[datetime] = mapped_column(Instant)


class EpochHeadRow(Base):
    """The number of a room's last entry when an epoch began, if the room has gone on since the epoch before began."""

    __tablename__ = "epoch_head"

    room_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    epoch_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)


class SearchMarkRow(Base):
    """Up to which entry the messages of a room are in the index of words, with the stems of which language: see
    `store/words.py`."""

    __tablename__ = "search_mark"

    room_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    language: Mapped[str] = mapped_column(String(32))


class ErasureRow(Base):
    """An account that is erased, except for what the steps of `store/erasure.py` do. `messages`: also what it said.
    `taken_at`: the last step, by the database's clock."""

    __tablename__ = "erasure"

    account_id: Mapped[int] = mapped_column(Id, ForeignKey("account.id"), primary_key=True, autoincrement=False)
    messages: Mapped[bool] = mapped_column(Boolean)
    taken_at: Mapped[datetime | None] = mapped_column(Instant)
