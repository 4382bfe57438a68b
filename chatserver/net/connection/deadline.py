"""The time that a client has to log in, or a person to type each line until then."""

from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatserver.net.door import Doorway
from chatserver.session.session import Session
from chatserver.settings.tables import Limits
from chatserver.values.errors import Note, Sentence
from chatserver.values.stages import Stage

CHECKING_SECONDS: Final = 1.0
"""Interval between looks at a connection whose time to log in is over while its login is being checked."""


class Deadline:
    """Ends a connection that is too late."""

    __slots__ = ("_call", "_clock", "_door", "_limits", "_session")

    def __init__(self, clock: IReactorTime, limits: Limits, session: Session, door: Doorway) -> None:
        self._clock = clock
        self._limits = limits
        self._session = session
        self._door = door
        self._call: IDelayedCall | None = None

    def renew(self) -> None:
        """Sets the time for logging in, or for a person's next line. A silent client may be a person; once a program is
        recognized, it has the time of a program."""
        limits = self._limits
        program = self._is_known and not self._session.dialect.for_people
        seconds = limits.handshake_seconds if program else limits.typing_seconds
        self.stop()
        if seconds:
            self._call = self._clock.callLater(seconds, self._too_late)

    def stop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    @property
    def _is_known(self) -> bool:
        """Whether the client's dialect is known."""
        return self._door.dialect is not None or self._session.stage is not Stage.NEW

    def _too_late(self) -> None:
        """Ends a connection that has not logged in in time; a login that is being checked may end first."""
        self._call = None
        if self._session.stage is Stage.BUSY:
            self._call = self._clock.callLater(CHECKING_SECONDS, self._too_late)
        elif self._is_known and self._session.dialect.for_people:
            self._session.link.hang_up("handshake", Sentence(Note.TYPED_NOTHING))
        else:
            self._session.link.hang_up("handshake", Sentence(Note.NOT_LOGGED_IN_IN_TIME))
