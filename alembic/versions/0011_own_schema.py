"""PostgreSQL: the tables are in a schema of their own, and there are no statistics about what people wrote.

`chatserver.store.db.own_schema` has moved the tables before any migration. The functions of chat_v1 name the tables
with their schema.
"""

from types import ModuleType

from alembic import context, op

revision = "0011"
down_revision = "0002"
branch_labels = None
depends_on = None

# As long as the tables were in the schema before.
ROLLING = True
"""Whether servers of the revision before go on serving while this one is applied, and after it."""

_WRITTEN = {
    "account": ("name", "name_key", "skeleton", "password_hash", "display_name"),
    "former_name": ("name", "name_key", "skeleton", "display_name"),
    "preference": ("value",),
    "room": ("name", "topic"),
    "entry": ("text", "search", "client_id", "reactions"),
    "session": ("address", "reason"),
    "token": ("label", "sha256"),
    "certificate": ("label", "sha256"),
    "ban": ("network", "reason"),
    "change": ("detail",),
    "secret": ("value",),
}
"""The columns with what people wrote, and what identifies them. ANALYZE would copy some of it to pg_statistic, where it
stays when it is erased from the table."""


def _chat_v1() -> ModuleType:
    module: ModuleType = context.script.get_revision("0002").module
    return module


def upgrade() -> None:
    db = op.get_bind()
    if db.dialect.name != "postgresql":
        return
    op.execute("DROP TRIGGER chat_v1_posted ON change")
    _chat_v1().upgrade()  # with the present schema of the tables
    for table, columns in _WRITTEN.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")
    # What is there already can be removed by a superuser only, before PostgreSQL 18.
    if db.exec_driver_sql("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").scalar():
        op.execute(
            "DELETE FROM pg_statistic USING pg_attribute AS a WHERE starelid = a.attrelid AND staattnum = a.attnum "
            "AND a.attstattarget = 0 AND a.attrelid IN "
            "(SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace(current_schema()))"
        )
    elif db.dialect.server_version_info >= (18,):
        for table, columns in _WRITTEN.items():
            for column in columns:
                op.execute(f"SELECT pg_clear_attribute_stats(current_schema()::text, '{table}', '{column}', false)")


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in _WRITTEN.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS -1")
