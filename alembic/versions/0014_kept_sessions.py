"""Kept sessions: a device logs in again with a secret instead of the password."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

ROLLING = True
"""Whether servers of the revision before go on serving while this one is applied, and after it."""

_SESSIONS = "kind = 'session'"


def upgrade() -> None:
    op.add_column("token", sa.Column("kind", sa.String(16), server_default="token", nullable=False))
    op.add_column("token", sa.Column("address", sa.String(64), nullable=True))
    op.add_column("token", sa.Column("secret", sa.Text(), nullable=True))
    op.create_index(
        "ix_token_session",
        "token",
        ["expires_at"],
        postgresql_where=sa.text(_SESSIONS),
        sqlite_where=sa.text(_SESSIONS),
    )
    if op.get_bind().dialect.name == "postgresql":
        for column in ("address", "secret"):
            op.execute(f"ALTER TABLE token ALTER COLUMN {column} SET STATISTICS 0")


def downgrade() -> None:
    op.execute(f"DELETE FROM token WHERE {_SESSIONS}")
    op.drop_index("ix_token_session", "token")
    with op.batch_alter_table("token") as token:
        token.drop_column("secret")
        token.drop_column("address")
        token.drop_column("kind")
