"""Nodes that work together: what each tells the others in its row, and changes that only other nodes need."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Everything new has a default.
ROLLING = True
"""Servers of the revision before go on serving while this one is applied, and after it."""


def upgrade() -> None:
    op.create_table(
        "secret",
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secret")),
    )
    op.add_column("node", sa.Column("version", sa.String(64), nullable=True))
    op.add_column("node", sa.Column("frames", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("node", sa.Column("applied", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("node", sa.Column("facts", sa.Text(), nullable=True))
    op.add_column("node", sa.Column("asked", sa.String(16), nullable=True))
    op.add_column("change", sa.Column("detail", sa.Text(), nullable=True))
    op.add_column("change", sa.Column("origin", sa.String(32), nullable=True))


def downgrade() -> None:
    op.drop_table("secret")
    for table, columns in (
        ("change", ("origin", "detail")),
        ("node", ("asked", "facts", "applied", "frames", "version")),
    ):
        for column in columns:
            op.drop_column(table, column)
