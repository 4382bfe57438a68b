"""`chatctl user rename`: what an account is called."""

from datetime import datetime

import click

from chatserver.chatctl.access import Access, Problem, access, find_person
from chatserver.chatctl.output import json_option, say
from chatserver.store import Connection, change_rows, renames
from chatserver.store.renames import Quota
from chatserver.values.errors import Refused
from chatserver.wire.hygiene.display_names import check_words
from chatserver.wire.hygiene.lookalikes import check_new
from chatserver.wire.hygiene.text import display_name, user_name
from chatserver.wire.sentences import english


@click.command()
@click.argument("name")
@click.argument("new", metavar="[NEW]", required=False)
@click.option(
    "--display", metavar="TEXT", help='What the person wants to be called; "" for nothing else than the name.'
)
@json_option
@access
def rename(reach: Access, name: str, new: str | None, display: str | None, as_json: bool) -> None:
    """Change the name of an account, its display name, or both. Everybody in its rooms is told.

    The account logs in with the new name from then on. Nobody else can have the old one for limits.former_name_days.
    """
    if new is None and display is None:
        raise click.UsageError("Give a new name, --display, or both.")
    server, limits = reach.settings.server, reach.settings.limits
    try:
        if new is not None:
            new = user_name(new)
            if new.lower() != name.lower():
                check_new(new, server.reserved_names)
        shown = None if display is None else display_name(display)
        check_words(shown or "", server.reserved_names)
        quota = Quota(former_days=limits.former_name_days)
        called, known_as = reach.write(_rename, name, new, shown, reach.now(), quota)
    except Refused as refused:
        raise Problem(english(refused.sentence)) from None
    note = f"{name} is now called {f'{known_as} ({called})' if known_as else called}."
    say(note, {"former": name, "name": called, "display": known_as}, as_json)


def _rename(
    db: Connection, name: str, new: str | None, display: str | None, at: datetime, quota: Quota
) -> tuple[str, str]:
    id = find_person(db, name).id
    done = renames.rename(db, id, new, display, at, quota)
    if done is not None:
        change_rows.note(db, "account", id, at)
        change_rows.grown(db, [facts.id for facts, _ in done.announced], at)
    called, known_as, _ = renames.called(db, id)
    return called, known_as
