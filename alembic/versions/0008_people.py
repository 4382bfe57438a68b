"""Display names, former names, bots, preferences, ignored accounts, reactions and pinned messages."""

import sqlalchemy as sa
from alembic import op

from chatserver.store.schema import Id, Instant

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("account", sa.Column("display_name", sa.String(64), nullable=True))
    op.add_column("account", sa.Column("renamed_at", Instant(), nullable=True))
    op.add_column("account", sa.Column("owner_id", sa.BigInteger(), nullable=True))
    op.add_column("entry", sa.Column("reactions", sa.Text(), nullable=True))
    op.add_column("entry", sa.Column("pinned", sa.Boolean(), nullable=True))
    where = sa.text("pinned")
    op.create_index(
        "ix_entry_pinned", "entry", ["room_id", "seq"], postgresql_where=where, sqlite_where=where, unique=False
    )
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
        "preference",
        sa.Column("account_id", Id, nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_preference_account_id_account")),
        sa.PrimaryKeyConstraint("account_id", "name", name=op.f("pk_preference")),
    )
    op.create_table(
        "ignore",
        sa.Column("account_id", Id, nullable=False),
        sa.Column("ignored_id", Id, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_ignore_account_id_account")),
        sa.ForeignKeyConstraint(["ignored_id"], ["account.id"], name=op.f("fk_ignore_ignored_id_account")),
        sa.PrimaryKeyConstraint("account_id", "ignored_id", name=op.f("pk_ignore")),
    )
    op.create_index("ix_ignore_ignored_id", "ignore", ["ignored_id"])


def downgrade() -> None:
    for table in ("ignore", "preference", "former_name"):
        op.drop_table(table)
    op.drop_index("ix_entry_pinned", "entry")
    op.drop_column("entry", "pinned")
    op.drop_column("entry", "reactions")
    for name in ("owner_id", "renamed_at", "display_name"):
        op.drop_column("account", name)
