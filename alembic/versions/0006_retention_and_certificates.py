"""Rooms whose oldest entries are removed, and client certificates."""

import sqlalchemy as sa
from alembic import op

from chatserver.store.db.schema import Id, Instant

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ADDED = [
    sa.Column("first_seq", sa.BigInteger(), server_default="1", nullable=False),
    sa.Column("keep_days", sa.Float(), nullable=True),
    sa.Column("keep_entries", sa.BigInteger(), nullable=True),
]


# SQLite's index of words has no entry that was removed: see the first migration.
_TRIGGER = """
CREATE TRIGGER entry_search_removed AFTER DELETE ON entry BEGIN
INSERT INTO entry_search (entry_search, rowid, text)
SELECT 'delete', (old.room_id << 36) | old.seq, old.text WHERE old.kind = 'message';
END
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_TRIGGER)
    for column in _ADDED:
        op.add_column("room", column)
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


def downgrade() -> None:
    op.execute("DELETE FROM entry WHERE room_id < 0")
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER entry_search_removed")
    op.drop_table("certificate")
    for column in _ADDED:
        op.drop_column("room", column.name)
