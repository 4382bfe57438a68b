"""`chatctl copy`."""

import click
from msgspec import structs

from chatserver.chatctl.access import Access, access
from chatserver.chatctl.output import bars, json_option, say
from chatserver.store.copies.copying import copy as copy_all
from chatserver.store.db.engine import parse_url, shown_url


@click.command()
@click.option("--to", "to", metavar="URL", required=True, help="The new database, which must be empty.")
@json_option
@access
def copy(reach: Access, to: str, as_json: bool) -> None:
    """Copy everything into another database.

    It may be of the other kind, SQLite or PostgreSQL. Stop the server first. After an interruption, give the same
    command again: it goes on where it stopped. At the end both databases are read and compared. The original is not
    changed.
    """
    source, target = parse_url(reach.settings.server.database), parse_url(to)
    with bars() as progress:
        copied = copy_all(source, target, progress)
    entries = next(table.rows for table in copied.tables if table.table == "entry")
    total = sum(table.rows for table in copied.tables)
    earlier = f" ({copied.before:,} of them before an interruption)" if copied.before else ""
    text = (
        f"{shown_url(target)} has all {total:,} rows, with {entries:,} entries{earlier}. Rows and checksums of "
        f"{len(copied.tables)} tables are the same. Next: set server.database to it, and start the server."
    )
    tables = [structs.asdict(table) for table in copied.tables]
    say(text, {"database": shown_url(target), "before": copied.before, "tables": tables}, as_json)
