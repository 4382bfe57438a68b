"""`chatctl token`: what programs log in with."""

from datetime import datetime

import click

from chatserver.admin.access import Access, Problem, access, find_person
from chatserver.admin.output import json_option, say
from chatserver.store import Connection, tokens
from chatserver.store.tokens import new_token, token_hash
from chatserver.times import now
from chatserver.wire.hygiene import label_text


@click.group()
def token() -> None:
    """Create and revoke tokens, which programs log in with. To list them: chatctl user show NAME"""


@token.command()
@click.argument("name")
@click.argument("label")
@json_option
@access
def add(reach: Access, name: str, label: str, as_json: bool) -> None:
    """Create a token and print it. It cannot be shown again."""
    label, made = label_text(label), new_token()
    found = reach.write(_add, name, label, token_hash(made), now())
    say(made, {"name": found, "label": label, "token": made}, as_json)


def _add(db: Connection, name: str, label: str, sha256: str, at: datetime) -> str:
    found = find_person(db, name)
    if label in {line.label for line in tokens.listing(db, found.id)}:
        raise Problem(f"{found.name} already has a token {label}. Revoke it first, or choose another label.")
    tokens.create(db, found.id, label, sha256, at)
    return found.name


@token.command()
@click.argument("name")
@click.argument("label")
@json_option
@access
def revoke(reach: Access, name: str, label: str, as_json: bool) -> None:
    """Revoke a token and end the connections that logged in with it."""
    found = reach.write(_revoke, name, label, now())
    say(f"The token {label} of {found} is revoked.", {"name": found, "label": label, "revoked": True}, as_json)


def _revoke(db: Connection, name: str, label: str, at: datetime) -> str:
    found = find_person(db, name)
    if tokens.revoke(db, found.id, label, at) is None:
        raise Problem(f"{found.name} has no token {label}. See: chatctl user show {found.name}")
    return found.name
