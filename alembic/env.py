"""Alembic's entry: with the server's own connection where it hands one over, else by CHATSERVER_DATABASE."""

import os

from alembic import context

from chatserver.store.database import open_engine, parse_url
from chatserver.store.schema import Base


def ours(name, kind, parent) -> bool:
    """What serves search is made by hand in the migrations, and is not in the models."""
    return not (name or "").startswith(("entry_search", "ix_entry_search")) and (kind, name) != ("column", "search")


def run(connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        compare_type=True,
        include_name=ours,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    engine = open_engine(parse_url(os.environ.get("CHATSERVER_DATABASE", "sqlite:///chatserver.db")))
    with engine.begin() as db:
        run(db)
