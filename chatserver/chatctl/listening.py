"""Findings of `chatctl check` about the endpoints of a server. Opens none. Imports Twisted, which other commands do not
need."""

import os
import stat
from collections.abc import Iterator
from datetime import datetime

from chatserver.net.doors import table
from chatserver.net.listening.endpoints import OVERHEARD, WrongEndpoint, examine
from chatserver.net.listening.tls import Identity, shown
from chatserver.settings.endpoint import parse
from chatserver.settings.tables import Server
from chatserver.store.db.health import Finding


def findings(server: Server, now: datetime) -> Iterator[Finding]:
    """One for each endpoint, and one for each certificate."""
    for description in server.listen:
        _, endpoint = table.split(description)
        yield from _endpoint("listen", description, endpoint, now)
    if server.metrics:
        yield from _endpoint("metrics", server.metrics, server.metrics, now)


def _endpoint(item: str, description: str, endpoint: str, now: datetime) -> Iterator[Finding]:
    where = shown(endpoint)
    try:
        found = examine(endpoint)
    except WrongEndpoint as problem:
        yield Finding(item, False, str(problem))
        return
    if found.exposed:
        yield Finding(item, True, OVERHEARD.format(where=where), warning=True)
    elif found.kind == "systemd":
        yield Finding(item, True, f"{where}, a socket of systemd, at which only the server can look")
    elif found.identity is None:
        yield Finding(item, True, f"{where}, for this host only")
    else:
        yield Finding(item, True, f"{where}, with TLS")
        yield from _certificate(where, found.identity, now)
        yield from _key(where, parse(description).private_key)


def _certificate(where: str, identity: Identity, now: datetime) -> Iterator[Finding]:
    warnings = list(identity.warnings(now))
    for warning in warnings:
        yield Finding("certificate", False, warning)
    if not warnings:
        yield Finding("certificate", True, f"of {where}, for {identity.name}, until {identity.until:%Y-%m-%d}")


def _key(where: str, path: str) -> Iterator[Finding]:
    if path and os.stat(path).st_mode & stat.S_IROTH:  # noqa: PTH116
        yield Finding("key", True, f"{path} of {where} can be read by every user: chmod o-r {path}", warning=True)
