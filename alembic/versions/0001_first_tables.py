"""The first tables."""

import sqlalchemy as sa
from alembic import op

from chatserver.store.db.schema import Instant

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

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
)


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("name_key", sa.String(length=64), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("kind", sa.String(length=16), server_default="person", nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("last_seen_at", Instant(), nullable=True),
        sa.Column("disabled_at", Instant(), nullable=True),
        sa.Column("erased_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("name_key", name=op.f("uq_account_name_key")),
    )
    op.create_table(
        "change",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.BigInteger(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change")),
    )
    op.create_table(
        "entry",
        sa.Column("room_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("author_id", sa.BigInteger(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("target_seq", sa.BigInteger(), nullable=True),
        sa.Column("target_id", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=True),
        sa.Column("client_id", sa.String(length=64), nullable=True),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("room_id", "seq", name=op.f("pk_entry")),
    )
    with op.batch_alter_table("entry", schema=None) as batch_op:
        batch_op.create_index("uq_entry_author_id_client_id", ["author_id", "client_id"], unique=True)
        batch_op.create_index(
            "ix_entry_room_id_target_seq",
            ["room_id", "target_seq"],
            postgresql_where=sa.text("target_seq IS NOT NULL"),
            sqlite_where=sa.text("target_seq IS NOT NULL"),
        )

    op.create_table(
        "block",
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column(
            "blocked_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_block_account_id_account")),
        sa.ForeignKeyConstraint(["blocked_id"], ["account.id"], name=op.f("fk_block_blocked_id_account")),
        sa.PrimaryKeyConstraint("account_id", "blocked_id", name=op.f("pk_block")),
    )
    with op.batch_alter_table("block", schema=None) as batch_op:
        batch_op.create_index("ix_block_blocked_id", ["blocked_id"], unique=False)

    op.create_table(
        "room",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("topic", sa.Text(), server_default="", nullable=False),
        sa.Column("last_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_by", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("deactivated_at", Instant(), nullable=True),
        sa.Column("deleted_at", Instant(), nullable=True),
        sa.Column("past_open", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("invites", sa.String(length=16), server_default="members", nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["account.id"], name=op.f("fk_room_created_by_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_room")),
    )
    with op.batch_alter_table("room", schema=None) as batch_op:
        batch_op.create_index(
            "uq_room_name_kept",
            ["name"],
            unique=True,
            postgresql_where=sa.text("deleted_at IS NULL"),
            sqlite_where=sa.text("deleted_at IS NULL"),
        )

    op.create_table(
        "session",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("connected_at", Instant(), nullable=False),
        sa.Column("disconnected_at", Instant(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_session_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
    )
    with op.batch_alter_table("session", schema=None) as batch_op:
        batch_op.create_index("ix_session_account_id", ["account_id"], unique=False)
        batch_op.create_index(
            "ix_session_open",
            ["node"],
            unique=False,
            postgresql_where=sa.text("disconnected_at IS NULL"),
            sqlite_where=sa.text("disconnected_at IS NULL"),
        )

    op.create_table(
        "token",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("last_used_at", Instant(), nullable=True),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_token_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("sha256", name=op.f("uq_token_sha256")),
    )
    with op.batch_alter_table("token", schema=None) as batch_op:
        batch_op.create_index("ix_token_account_id", ["account_id"], unique=False)

    op.create_table(
        "ban",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("network", sa.String(length=64), nullable=True),
        sa.Column("room_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("until", Instant(), nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("by", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_ban_account_id_account")),
        sa.ForeignKeyConstraint(["by"], ["account.id"], name=op.f("fk_ban_by_account")),
        sa.ForeignKeyConstraint(["room_id"], ["room.id"], name=op.f("fk_ban_room_id_room")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ban")),
    )
    with op.batch_alter_table("ban", schema=None) as batch_op:
        batch_op.create_index("ix_ban_room_id_account_id", ["room_id", "account_id"], unique=False)

    op.create_table(
        "invitation",
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("room_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("invited_by", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_invitation_account_id_account")),
        sa.ForeignKeyConstraint(["invited_by"], ["account.id"], name=op.f("fk_invitation_invited_by_account")),
        sa.ForeignKeyConstraint(["room_id"], ["room.id"], name=op.f("fk_invitation_room_id_room")),
        sa.PrimaryKeyConstraint("account_id", "room_id", name=op.f("pk_invitation")),
    )
    op.create_table(
        "membership",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("room_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("role", sa.String(length=16), server_default="member", nullable=False),
        sa.Column("joined_seq", sa.BigInteger(), nullable=False),
        sa.Column("left_seq", sa.BigInteger(), nullable=True),
        sa.Column("read_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("muted_until", Instant(), nullable=True),
        sa.Column("blocked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_membership_account_id_account")),
        sa.ForeignKeyConstraint(["room_id"], ["room.id"], name=op.f("fk_membership_room_id_room")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_membership")),
    )
    with op.batch_alter_table("membership", schema=None) as batch_op:
        batch_op.create_index("ix_membership_account_id", ["account_id", "room_id"], unique=False)
        batch_op.create_index(
            "uq_membership_room_id_account_id_open",
            ["room_id", "account_id"],
            unique=True,
            postgresql_where=sa.text("left_seq IS NULL"),
            sqlite_where=sa.text("left_seq IS NULL"),
        )

    # The search index of each database. The models do not describe the columns and tables created here.
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE entry ADD COLUMN search tsvector GENERATED ALWAYS AS "
            "(CASE WHEN kind = 'message' THEN to_tsvector('simple', text) END) STORED"
        )
        op.execute("CREATE INDEX ix_entry_search ON entry USING gin (search)")
    else:
        op.execute(
            "CREATE VIRTUAL TABLE entry_search USING fts5(text, content='', tokenize='unicode61 remove_diacritics 0')"
        )
        for name, event, statements in _TRIGGERS:
            op.execute(f"CREATE TRIGGER entry_search_{name} {event} ON entry BEGIN {statements} END")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP INDEX ix_entry_search")
        op.execute("ALTER TABLE entry DROP COLUMN search")
    else:
        for name, _, _ in _TRIGGERS:
            op.execute(f"DROP TRIGGER entry_search_{name}")
        op.execute("DROP TABLE entry_search")
    with op.batch_alter_table("membership", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_membership_room_id_account_id_open",
            postgresql_where=sa.text("left_seq IS NULL"),
            sqlite_where=sa.text("left_seq IS NULL"),
        )
        batch_op.drop_index("ix_membership_account_id")

    op.drop_table("membership")
    op.drop_table("invitation")
    with op.batch_alter_table("ban", schema=None) as batch_op:
        batch_op.drop_index("ix_ban_room_id_account_id")

    op.drop_table("ban")
    with op.batch_alter_table("token", schema=None) as batch_op:
        batch_op.drop_index("ix_token_account_id")

    op.drop_table("token")
    with op.batch_alter_table("session", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_session_open",
            postgresql_where=sa.text("disconnected_at IS NULL"),
            sqlite_where=sa.text("disconnected_at IS NULL"),
        )
        batch_op.drop_index("ix_session_account_id")

    op.drop_table("session")
    with op.batch_alter_table("room", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_room_name_kept",
            postgresql_where=sa.text("deleted_at IS NULL"),
            sqlite_where=sa.text("deleted_at IS NULL"),
        )

    op.drop_table("room")
    with op.batch_alter_table("block", schema=None) as batch_op:
        batch_op.drop_index("ix_block_blocked_id")

    op.drop_table("block")
    with op.batch_alter_table("entry", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_entry_room_id_target_seq",
            postgresql_where=sa.text("target_seq IS NOT NULL"),
            sqlite_where=sa.text("target_seq IS NOT NULL"),
        )
        batch_op.drop_index("uq_entry_author_id_client_id")

    op.drop_table("entry")
    op.drop_table("change")
    op.drop_table("account")
