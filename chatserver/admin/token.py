"""`chatctl token`: what programs log in with."""

from datetime import datetime

import click

from chatserver.admin.access import Access, Problem, access, find_person, now
from chatserver.admin.output import json_option, say
from chatserver.handlers.people import new_token, token_hash
from chatserver.store import Connection, accounts
from chatserver.wire.hygiene import label_text


@click.group()
def token() -> None:
    """Tokens: what programs log in with. `chatctl user show NAME` lists somebody's."""


@token.command()
@click.argument("name")
@click.argument("label")
@json_option
@access
def add(reach: Access, name: str, label: str, as_json: bool) -> None:
    """Make a token for somebody, and print it: it is shown this once."""
    label, made = label_text(label), new_token()
    found = reach.write(_add, name, label, token_hash(made), now())
    say(made, {"name": found, "label": label, "token": made}, as_json)


def _add(db: Connection, name: str, label: str, sha256: str, at: datetime) -> str:
    found = find_person(db, name)
    if label in {line.label for line in accounts.tokens(db, found.id)}:
        raise Problem(f"{found.name} has a token {label} already. Revoke it first, or choose another label.")
    accounts.create_token(db, found.id, label, sha256, at)
    return found.name


@token.command()
@click.argument("name")
@click.argument("label")
@json_option
@access
def revoke(reach: Access, name: str, label: str, as_json: bool) -> None:
    """Let a token be good no more. Connections that came with it end."""
    found = reach.write(_revoke, name, label, now())
    say(f"The token {label} of {found} is revoked.", {"name": found, "label": label, "revoked": True}, as_json)


def _revoke(db: Connection, name: str, label: str, at: datetime) -> str:
    found = find_person(db, name)
    if accounts.revoke_token(db, found.id, label, at) is None:
        raise Problem(f"{found.name} has no token {label}. See: chatctl user show {found.name}")
    return found.name
