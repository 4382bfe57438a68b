"""Alembic's entry point. Uses the connection that the server passes, or else opens CHATSERVER_DATABASE."""

import os

from alembic import context

from chatserver.store.db import own_schema
from chatserver.store.db.engine import open_engine, parse_url
from chatserver.store.db.schema import Base


def ours(name, kind, parent) -> bool:
    """Whether autogenerate compares this. The migrations create the search indexes by hand; the models lack them."""
    return not (name or "").startswith(("entry_search", "ix_entry_search"))


def run(connection) -> None:
    own_schema.ensure(connection, [*Base.metadata.tables, "alembic_version"])
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
