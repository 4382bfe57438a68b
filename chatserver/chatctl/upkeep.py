"""`chatctl migrate`, `check` and `verify`: the database itself."""

from collections.abc import Iterator

import click
from msgspec import structs

from chatserver.chatctl import live
from chatserver.chatctl.access import Access, access
from chatserver.chatctl.output import bars, json_option, say
from chatserver.cluster import frames
from chatserver.settings.tables import ConfigProblem
from chatserver.store.db.engine import DatabaseProblem, is_missing, missing, open_present, parse_url, put_log_aside
from chatserver.store.db.engine import migrate as migrate_database
from chatserver.store.db.health import Finding, examine
from chatserver.store.nodes.compatibility import rolling
from chatserver.util.times import now
from chatserver.wire.hygiene.text import escaped


@click.command()
@click.option("--create", is_flag=True, help="Create a SQLite file that does not exist.")
@click.option("--sqlite-only", is_flag=True, help="Leave PostgreSQL as it is; fail if it needs to be migrated.")
@json_option
@access
def migrate(reach: Access, create: bool, sqlite_only: bool, as_json: bool) -> None:
    """Upgrade the schema of the database to this version.

    Servers of the previous version can keep running meanwhile.
    """
    url = parse_url(reach.settings.server.database)
    if sqlite_only and url.get_backend_name() != "sqlite":
        open_present(url).dispose()
        say("The schema is up to date already.", {"schema": "current", "before": "current"}, as_json)
        return
    if is_missing(url) and not create:
        raise DatabaseProblem(missing(url))
    reach.changing()
    put_aside = put_log_aside(url)
    if put_aside:
        click.echo(f"chatctl: {escaped(put_aside)}", err=True)
    before = migrate_database(url)
    note = "The schema is up to date already." if before == "current" else "The schema is up to date now."
    say(note, {"schema": "current", "before": before}, as_json)


@click.command()
@click.option("--live", "endpoint", metavar="ENDPOINT", help=f"Visit a running server instead: {live.FORMS}.")
@click.option(
    "--timeout", metavar="SECONDS", type=click.FloatRange(0.1, 3600), default=5.0, help="For --live. Default: 5."
)
@json_option
@access
@click.pass_context
def check(ctx: click.Context, reach: Access, endpoint: str | None, timeout: float, as_json: bool) -> None:
    """Check whether a server could run with these settings. Opens no endpoint and changes nothing.

    The exit status is 1 if something is WRONG. A certificate that expires within 14 days is.

    Where nodes run on the database, says whether this version can join them, and whether the schema can be migrated
    while they serve.

    With --live, connects to a server as a client does: how many milliseconds pass until the connection is there, until
    TLS is, until the server greets, and until it answers a ping. The exit status is 1 if it does not answer in time.
    """
    if endpoint is not None:
        ctx.exit(0 if live.report(reach, endpoint, timeout, as_json) else 1)
    _report(ctx, list(_examine(reach)), as_json)


@click.command()
@json_option
@access
@click.pass_context
def verify(ctx: click.Context, reach: Access, as_json: bool) -> None:
    """Check that everything in the database is right. Changes nothing.

    Numbers without a gap, the heads of rooms, references, the index of words, unique ids, open sessions, and the
    schema. Servers can keep running. The exit status is 1 if something is wrong.
    """
    from chatserver.store.copies.verify import verify as verify_database  # brings all of Alembic, which takes a while

    url = parse_url(reach.settings.server.database)
    with bars() as progress:
        findings = list(verify_database(url, progress))
    _report(ctx, findings, as_json)


def _report(ctx: click.Context, findings: list[Finding], as_json: bool) -> None:
    good = all(finding.ok for finding in findings)
    if as_json:
        say("", {"ok": good, "items": [structs.asdict(finding) for finding in findings]}, as_json)
    else:
        lines = [f"{_verdict(finding)}  {finding.item}: {finding.text}" for finding in findings]
        click.echo("\n".join(escaped(line) for line in lines))
    if not good:
        ctx.exit(1)


def _verdict(finding: Finding) -> str:
    return ("warn " if finding.warning else "ok   ") if finding.ok else "WRONG"


def _examine(reach: Access) -> Iterator[Finding]:
    try:
        server = reach.settings.server
        yield Finding("settings", True, f"server {server.name}, to listen on {' '.join(server.listen)}")
    except ConfigProblem as problem:
        yield Finding("settings", False, str(problem))
        return
    from chatserver.chatctl import listening  # brings all of Twisted, which no other command needs

    yield from listening.findings(server, now())
    try:
        url = parse_url(server.database)
    except DatabaseProblem as problem:
        yield Finding("database", False, str(problem))
        return
    yield from examine(url)
    yield from rolling(url, frames.VERSION, bus=bool(reach.settings.bus.url))
