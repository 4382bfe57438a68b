"""The facts of the server: what a client has to know of it, before login too. They need no store."""

from typing import Final

from chatserver import __version__
from chatserver.session.session import Session
from chatserver.settings.tables import Settings
from chatserver.values.answers import ServerFacts
from chatserver.values.commands import PAGE_LIMIT
from chatserver.values.stages import Stage
from chatserver.wire.hygiene import text

FEATURES: Final = (
    "as-of",
    "notify",
    "prefix",
    "quotes",
    "reactions",
    "replies",
    "room-id",
    "search",
    "server",
    "sessions",
    "state",
    "typing",
)
"""Words for what clients may use, by name; docs/protocol.md says what each one stands for."""

COOKIE: Final = "cookie"
"""The feature of doors for browsers."""

LENGTHS: Final[dict[str, int]] = {
    "text": text.MAX_MESSAGE,
    "lines": text.MAX_LINES,
    "name": text.MAX_NAME,
    "display": text.MAX_DISPLAY,
    "room": text.MAX_ROOM,
    "topic": text.MAX_TOPIC,
    "reason": text.MAX_REASON,
    "away": text.MAX_AWAY,
    "search": text.MAX_SEARCH,
    "reaction": text.MAX_REACTION,
    "label": text.MAX_LABEL,
    "id": text.MAX_FIELD,
    "password": text.MAX_PASSWORD,
    "page": PAGE_LIMIT,
}
"""Maximum lengths of texts, and of a page, on every server."""


def server_facts(settings: Settings, session: Session) -> ServerFacts:
    """The facts for this session. Everything that it is told before login is shown to anybody who connects."""
    server, limits = settings.server, settings.limits
    encrypted = session.peer.encrypted()
    lengths = {
        "line_bytes": limits.max_line_bytes,
        "answer_bytes": limits.answer_bytes,
        "password_least": settings.passwords.min_length,
    }
    return ServerFacts(
        name=server.name,
        version=__version__,
        registration=server.registration,
        guests=server.guests,
        tls=encrypted,
        tls_required=not server.plaintext_login and (encrypted or session.peer.exposed()),
        contact=server.contact,
        motd=server.motd if session.stage is Stage.IN else "",  # for those who are let in
        limits=LENGTHS | {name: most for name, most in lengths.items() if most},
        features=(*FEATURES, COOKIE) if session.peer.takes_cookies else FEATURES,
    )
