"""Refusals: clients are answered with an error, and too many of them end the connection."""

from typing import TYPE_CHECKING, Final

from chatserver.util import audit_log
from chatserver.values import endings
from chatserver.values.errors import BLAMELESS, FAULT, ErrorWord, Rejected, Unavailable
from chatserver.values.stages import NOT_LOGGED_IN

if TYPE_CHECKING:
    from chatserver.net.connection.connection import Connection
    from chatserver.net.connection.connections import Connections

STRIKE_SECONDS: Final = 60.0


class Refusals:
    """Answers with errors, and counts them."""

    def __init__(self, shared: "Connections") -> None:
        self._shared = shared

    def offend(self, address: str, what: str) -> None:
        """Counts something against the address that no chat client does."""
        self._shared.admission.offence(address)
        audit_log.offence(address, what)

    def refuse(self, connection: "Connection", rejected: Rejected) -> None:
        """Answers with an error. Too many of them, or a fatal one, end the connection."""
        session, refused, error = connection.session, rejected.refused, rejected.refused.error
        session.answer_refusal(rejected)
        counts = self._shared.admission.counts
        counts.refusals[error.value] += 1
        if session.stage in NOT_LOGGED_IN:
            counts.logins[error.value] += 1
        away = isinstance(refused, Unavailable) and refused is not FAULT and error is ErrorWord.UNAVAILABLE
        if away and session.dialect.for_people:
            self._shared.unserved.add(connection)
        if rejected.fatal:
            self.offend(session.address, error.value)
            if session.dialect.for_people:
                session.notice(endings.COME_BACK)
            connection.end(error.value)
        elif error not in BLAMELESS and self._shared.limits.strikes:
            now = self._shared.clock.seconds()
            session.strikes.append(now)
            while now - session.strikes[0] > STRIKE_SECONDS:
                del session.strikes[0]
            if len(session.strikes) >= self._shared.limits.strikes:
                connection.hang_up("strikes", "Too many of your commands were refused. Correct them.")
