"""The first tables: all but the schema for other applications (0002)."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

from chatserver.store.db.schema import Id, Instant

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROLLING = False
"""Whether servers of the revision before go on serving while this one is applied, and after it."""

# The rowid of an entry in the index: its room and seq in one number, which, unlike SQLite's own rowid, never changes.
_ROW = "({0}.room_id << 36) | {0}.seq"
_ADD = f"INSERT INTO entry_search (rowid, text) SELECT {_ROW.format('new')}, new.text WHERE new.kind = 'message';"
_DROP = (
    "INSERT INTO entry_search (entry_search, rowid, text) "
    f"SELECT 'delete', {_ROW.format('old')}, old.text WHERE old.kind = 'message';"
)
_TRIGGERS = (
    ("added", "AFTER INSERT", _ADD),
    ("changed", "AFTER UPDATE OF text", _DROP + _ADD),
    ("removed", "AFTER DELETE", _DROP),
)

_WORDS = "CASE WHEN kind = 'message' THEN to_tsvector('simple', text) END"
"""The words of an entry in PostgreSQL's index."""


def upgrade() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    _create_accounts()
    _create_rooms()
    _create_entries(postgres)
    _create_what_accounts_have()
    _create_what_rooms_have()
    _create_what_servers_have()
    # The models describe neither the column `search` nor the indexes of words.
    if postgres:
        op.execute("CREATE INDEX ix_entry_search ON entry USING gin (search)")
        return
    op.execute(
        "CREATE VIRTUAL TABLE entry_search USING fts5(text, content='', tokenize='unicode61 remove_diacritics 0')"
    )
    for name, event, statements in _TRIGGERS:
        op.execute(f"CREATE TRIGGER entry_search_{name} {event} ON entry BEGIN {statements} END")


def _create_accounts() -> None:
    op.create_table(
        "account",
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("name_key", sa.String(64), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("kind", sa.String(16), server_default="person", nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("last_seen_at", Instant(), nullable=True),
        sa.Column("disabled_at", Instant(), nullable=True),
        sa.Column("erased_at", Instant(), nullable=True),
        sa.Column("skeleton", sa.String(64), nullable=True),
        sa.Column("commands_per_second", sa.Float(), nullable=True),
        sa.Column("bytes_per_second", sa.Float(), nullable=True),
        sa.Column("connections", sa.Integer(), nullable=True),
        sa.Column("display_name", sa.String(64), nullable=True),
        sa.Column("renamed_at", Instant(), nullable=True),
        sa.Column("owner_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("name_key", name=op.f("uq_account_name_key")),
    )
    op.create_index(op.f("ix_account_skeleton"), "account", ["skeleton"])
    _create_partial_index("ix_account_owner_id", "account", ["owner_id"], "owner_id IS NOT NULL")
    op.create_table(
        "former_name",
        sa.Column("id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("name_key", sa.String(64), nullable=False),
        sa.Column("skeleton", sa.String(64), nullable=True),
        sa.Column("display_name", sa.String(64), nullable=True),
        sa.Column("until", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_former_name_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_former_name")),
    )
    op.create_index("ix_former_name_account_id", "former_name", ["account_id", "until"])
    op.create_index("ix_former_name_name_key", "former_name", ["name_key"])
    op.create_index("ix_former_name_skeleton", "former_name", ["skeleton"])
    op.create_table(
        "erasure",
        sa.Column("account_id", Id, autoincrement=False, nullable=False),
        sa.Column("messages", sa.Boolean(), nullable=False),
        sa.Column("taken_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_erasure_account_id_account")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_erasure")),
    )


def _create_rooms() -> None:
    op.create_table(
        "room",
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("topic", sa.Text(), server_default="", nullable=False),
        sa.Column("last_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_by", Id, nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("deactivated_at", Instant(), nullable=True),
        sa.Column("deleted_at", Instant(), nullable=True),
        sa.Column("past_open", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("invites", sa.String(16), server_default="members", nullable=False),
        sa.Column("last_at", Instant(), nullable=True),
        sa.Column("pace_seconds", sa.Integer(), server_default="0", nullable=False),
        sa.Column("first_seq", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("keep_days", sa.Float(), nullable=True),
        sa.Column("keep_entries", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["created_by"], ["account.id"], name=op.f("fk_room_created_by_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_room")),
    )
    _create_partial_index("uq_room_name_kept", "room", ["name"], "deleted_at IS NULL", unique=True)


def _create_entries(postgres: bool) -> None:
    search = [sa.Column("search", TSVECTOR(), sa.Computed(_WORDS, persisted=True), nullable=True)] if postgres else []
    op.create_table(
        "entry",
        sa.Column("room_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("author_id", sa.BigInteger(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("target_seq", sa.BigInteger(), nullable=True),
        sa.Column("target_id", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(16), nullable=True),
        sa.Column("client_id", sa.String(64), nullable=True),
        sa.Column("at", Instant(), nullable=False),
        *search,
        sa.Column("reactions", sa.Text(), nullable=True),
        sa.Column("pinned", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("room_id", "seq", name=op.f("pk_entry")),
    )
    op.create_index("uq_entry_author_id_client_id", "entry", ["author_id", "client_id"], unique=True)
    _create_partial_index("ix_entry_room_id_target_seq", "entry", ["room_id", "target_seq"], "target_seq IS NOT NULL")
    _create_partial_index("ix_entry_pinned", "entry", ["room_id", "seq"], "pinned")


def _create_what_accounts_have() -> None:
    op.create_table(
        "session",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("connected_at", Instant(), nullable=False),
        sa.Column("disconnected_at", Instant(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_session_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
    )
    op.create_index("ix_session_account_id", "session", ["account_id"])
    _create_partial_index("ix_session_open", "session", ["node"], "disconnected_at IS NULL")
    op.create_table(
        "token",
        sa.Column("id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("last_used_at", Instant(), nullable=True),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.Column("expires_at", Instant(), nullable=True),
        sa.Column("read_only", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("room_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_token_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("sha256", name=op.f("uq_token_sha256")),
    )
    op.create_index("ix_token_account_id", "token", ["account_id"])
    op.create_table(
        "certificate",
        sa.Column("id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("last_used_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_certificate_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate")),
        sa.UniqueConstraint("sha256", name=op.f("uq_certificate_sha256")),
    )
    op.create_index("ix_certificate_account_id", "certificate", ["account_id"])
    op.create_table(
        "preference",
        sa.Column("account_id", Id, nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_preference_account_id_account")),
        sa.PrimaryKeyConstraint("account_id", "name", name=op.f("pk_preference")),
    )
    op.create_table(
        "block",
        sa.Column("account_id", Id, autoincrement=False, nullable=False),
        sa.Column("blocked_id", Id, autoincrement=False, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_block_account_id_account")),
        sa.ForeignKeyConstraint(["blocked_id"], ["account.id"], name=op.f("fk_block_blocked_id_account")),
        sa.PrimaryKeyConstraint("account_id", "blocked_id", name=op.f("pk_block")),
    )
    op.create_index("ix_block_blocked_id", "block", ["blocked_id"])
    op.create_table(
        "ignore",
        sa.Column("account_id", Id, autoincrement=False, nullable=False),
        sa.Column("ignored_id", Id, autoincrement=False, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_ignore_account_id_account")),
        sa.ForeignKeyConstraint(["ignored_id"], ["account.id"], name=op.f("fk_ignore_ignored_id_account")),
        sa.PrimaryKeyConstraint("account_id", "ignored_id", name=op.f("pk_ignore")),
    )
    op.create_index("ix_ignore_ignored_id", "ignore", ["ignored_id"])


def _create_what_rooms_have() -> None:
    op.create_table(
        "membership",
        sa.Column("id", Id, nullable=False),
        sa.Column("room_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("role", sa.String(16), server_default="member", nullable=False),
        sa.Column("joined_seq", sa.BigInteger(), nullable=False),
        sa.Column("left_seq", sa.BigInteger(), nullable=True),
        sa.Column("read_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("muted_until", Instant(), nullable=True),
        sa.Column("blocked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("seen", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_membership_account_id_account")),
        sa.ForeignKeyConstraint(["room_id"], ["room.id"], name=op.f("fk_membership_room_id_room")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_membership")),
    )
    op.create_index("ix_membership_account_id", "membership", ["account_id", "room_id"])
    _create_partial_index(
        "uq_membership_room_id_account_id_open", "membership", ["room_id", "account_id"], "left_seq IS NULL",
        unique=True,
    )  # fmt: skip
    op.create_table(
        "invitation",
        sa.Column("account_id", Id, autoincrement=False, nullable=False),
        sa.Column("room_id", Id, autoincrement=False, nullable=False),
        sa.Column("invited_by", Id, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_invitation_account_id_account")),
        sa.ForeignKeyConstraint(["invited_by"], ["account.id"], name=op.f("fk_invitation_invited_by_account")),
        sa.ForeignKeyConstraint(["room_id"], ["room.id"], name=op.f("fk_invitation_room_id_room")),
        sa.PrimaryKeyConstraint("account_id", "room_id", name=op.f("pk_invitation")),
    )
    op.create_index("ix_invitation_invited_by", "invitation", ["invited_by"])
    op.create_table(
        "ban",
        sa.Column("id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=True),
        sa.Column("network", sa.String(64), nullable=True),
        sa.Column("room_id", Id, nullable=True),
        sa.Column("until", Instant(), nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("by", Id, nullable=True),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_ban_account_id_account")),
        sa.ForeignKeyConstraint(["by"], ["account.id"], name=op.f("fk_ban_by_account")),
        sa.ForeignKeyConstraint(["room_id"], ["room.id"], name=op.f("fk_ban_room_id_room")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ban")),
    )
    op.create_index("ix_ban_room_id_account_id", "ban", ["room_id", "account_id"])


def _create_what_servers_have() -> None:
    op.create_table(
        "node",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("boot", sa.String(32), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("machine", sa.String(128), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("acquired_at", Instant(), nullable=False),
        sa.Column("heartbeat_at", Instant(), nullable=False),
        sa.Column("version", sa.String(64), nullable=True),
        sa.Column("frames", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("applied", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("facts", sa.Text(), nullable=True),
        sa.Column("asked", sa.String(16), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_node")),
    )
    op.create_table(
        "change",
        sa.Column("id", Id, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.BigInteger(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("origin", sa.String(32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change")),
    )
    op.create_table(
        "secret",
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secret")),
    )


def _create_partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, postgresql_where=condition, sqlite_where=condition)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE entry_search")
    for table in (
        *("secret", "change", "node", "ban", "invitation", "membership"),
        *("ignore", "block", "preference", "certificate", "token", "session"),
        *("entry", "room", "erasure", "former_name", "account"),
    ):
        op.drop_table(table)
