"""The doors for plain lines, over TCP, TLS or a Unix socket. A client may speak telnet at both; at one of them, the
server speaks it first."""

from typing import Final

from msgspec import structs
from twisted.protocols.basic import LineReceiver

from chatserver.net.doors.base import Door
from chatserver.settings.tables import Settings
from chatserver.values.answers import Refusal
from chatserver.values.errors import Note, Refused, Sentence, Why
from chatserver.wire.dialect import PLAIN, Asked
from chatserver.wire.dialects import DIALECTS
from chatserver.wire.framing.lines import Lines
from chatserver.wire.framing.telnet import Negotiation
from chatserver.wire.screen import fitting

NC_EDITOR: Final = "rlwrap -H /dev/null nc HOST PORT"
"""The command that edits lines, for `nc`. It keeps no history in a file: rlwrap cannot know which lines are passwords,
unless telnet tells it."""
TELNET_EDITOR: Final = "rlwrap telnet HOST PORT"
THERE: Final = Sentence(Note.HERE)


class LineDoor(Door, LineReceiver):
    """A LineReceiver in which `Lines` replaces the splitting: Twisted's own is quadratic in a burst of short lines."""

    framing = PLAIN

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.splitter = self._lines = Lines(settings.limits.max_line_bytes)

    def _start(self) -> bytes:
        return self._lines.start()

    def _controls(self) -> int:
        return self._lines.controls()

    def _feed(self, data: bytes) -> None:
        lines, session = self._lines, self.connection.session
        lines.typed = session.view is not None
        super()._feed(data)
        negotiation = lines.telnet.negotiation
        if negotiation is not None and session.view is not None:
            self._follow(negotiation)
        if lines.ended:
            self.connection.peer_ended()

    def _line_ended(self) -> None:
        if self._lines.telnet.negotiation is not None:
            self._write(self._lines.telnet.line_end())

    def conceal(self, secret: bool) -> None:
        if self._lines.telnet.negotiation is not None:
            self._lines.telnet.conceal(secret)
            self._send_replies()

    @property
    def editor(self) -> str:
        telnet = self._lines.telnet
        if telnet.negotiation is None:
            return NC_EDITOR
        return "" if telnet.sends_keys else TELNET_EDITOR

    def refusal(self, text: str) -> bytes:
        """In the dialect of clients that have not shown yet which one they speak."""
        dialect = DIALECTS[-1]
        refused = Refused(Why.TURNED_AWAY, text=text)
        why = dialect.answer(Asked(None, 0, ""), Refusal(refused.why, refused.sentence))
        return why + dialect.notice(dialect.text(Sentence(Note.LEAVE)))

    def _follow(self, negotiation: Negotiation) -> None:
        """Acts on the requests of a person's telnet client."""
        if not negotiation.begun:
            self._negotiate()
        session = self.connection.session
        if negotiation.asked:
            negotiation.asked = False
            session.notice(THERE)
        columns, negotiation.columns = negotiation.columns, None
        if columns is not None:
            session.show_on(structs.replace(session.screen, columns=fitting(columns)))

    def _negotiate(self) -> None:
        self._lines.telnet.begin()
        self._send_replies()

    def _write(self, data: bytes) -> None:
        if data:
            self.connection.write(data)


class TelnetDoor(LineDoor):
    """The door for people with telnet. A client that does not speak it shows three strange characters twice, and is
    served all the same."""

    prefix = "telnet:"

    def connectionMade(self) -> None:
        self.connection.made()
        self._negotiate()
        self.connection.opened()
