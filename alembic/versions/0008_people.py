"""Display names, former names, bots, preferences, ignored accounts, reactions and pinned messages."""

import sqlalchemy as sa
from alembic import op

from chatserver.store.db.schema import Id, Instant

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# As in 0007, with one column more: which message a reply answers.
_MESSAGES = """
SELECT e.room_id, r.name::text AS room, e.seq, e.at, a.name::text AS sender,
       CASE WHEN e.state = 'erased' THEN NULL ELSE e.text END AS text, e.state::text AS state{reply_to}
FROM {tables}.entry AS e JOIN {tables}.room AS r ON r.id = e.room_id
LEFT JOIN {tables}.account AS a ON a.id = e.author_id
WHERE e.kind = 'message' AND r.kind IN ('public', 'private') AND r.deleted_at IS NULL
"""


def _replace_views(*, minor: int, reply_to: str) -> None:
    db = op.get_bind()
    if db.dialect.name != "postgresql":
        return
    tables = db.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    views = {
        "version": f"SELECT 1 AS major, {minor} AS minor",
        "messages": _MESSAGES.format(tables=tables, reply_to=reply_to),
    }
    for name, query in views.items():
        db.exec_driver_sql(f"CREATE OR REPLACE VIEW chat_v1.{name} WITH (security_barrier) AS {query}")


def upgrade() -> None:
    op.add_column("account", sa.Column("display_name", sa.String(64), nullable=True))
    op.add_column("account", sa.Column("renamed_at", Instant(), nullable=True))
    op.add_column("account", sa.Column("owner_id", sa.BigInteger(), nullable=True))
    where = sa.text("owner_id IS NOT NULL")
    op.create_index(
        "ix_account_owner_id", "account", ["owner_id"], postgresql_where=where, sqlite_where=where, unique=False
    )
    op.add_column("entry", sa.Column("reactions", sa.Text(), nullable=True))
    op.add_column("entry", sa.Column("pinned", sa.Boolean(), nullable=True))
    op.add_column("membership", sa.Column("seen", sa.Text(), nullable=True))
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
    _replace_views(minor=1, reply_to=", e.target_seq AS reply_to")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP VIEW chat_v1.messages")  # replacing it would keep the column
    _replace_views(minor=0, reply_to="")
    for table in ("ignore", "preference", "former_name"):
        op.drop_table(table)
    op.drop_column("membership", "seen")
    op.drop_index("ix_entry_pinned", "entry")
    op.drop_column("entry", "pinned")
    op.drop_column("entry", "reactions")
    op.drop_index("ix_account_owner_id", "account")
    for name in ("owner_id", "renamed_at", "display_name"):
        op.drop_column("account", name)
