"""`chatctl verify`."""

import click
from msgspec import structs

from chatserver.chatctl.access import Access, access
from chatserver.chatctl.output import bars, json_option, say
from chatserver.store.db.engine import parse_url
from chatserver.store.db.health import Finding
from chatserver.wire.hygiene.text import escaped


@click.command()
@json_option
@access
@click.pass_context
def verify(ctx: click.Context, reach: Access, as_json: bool) -> None:
    """Check that everything in the database is right. Changes nothing.

    Numbers without a gap, the heads of rooms, references, the index of words, unique ids, open sessions, and the
    schema. Servers can keep running. The exit status is 1 if something is wrong.
    """
    from chatserver.store.copies.verify import verify as examine  # brings all of Alembic, which takes a while

    url = parse_url(reach.settings.server.database)
    with bars() as progress:
        findings = list(examine(url, progress))
    good = all(finding.ok for finding in findings)
    if as_json:
        say("", {"ok": good, "items": [structs.asdict(finding) for finding in findings]}, as_json)
    else:
        click.echo("\n".join(escaped(_line(finding)) for finding in findings))
    if not good:
        ctx.exit(1)


def _line(finding: Finding) -> str:
    return f"{'ok   ' if finding.ok else 'WRONG'}  {finding.item}: {finding.text}"
