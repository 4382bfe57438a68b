"""The door for lines as they are: TCP, TLS or a Unix socket, with telnet's commands filtered out."""

from twisted.protocols.basic import LineReceiver

from chatserver.answers import Refusal
from chatserver.config import Settings
from chatserver.errors import ErrorWord
from chatserver.net.door import Door
from chatserver.wire.dialect import PLAIN, Asked
from chatserver.wire.dialects import DIALECTS
from chatserver.wire.lines import Lines


class LineDoor(Door, LineReceiver):
    """A LineReceiver whose own splitting, quadratic in a burst of short lines, is replaced by `Lines`."""

    framing = PLAIN

    def __init__(self, settings: Settings) -> None:
        self._lines = Lines(settings.limits.max_line_bytes)
        super().__init__(self._lines)

    def start(self) -> bytes:
        return self._lines.start()

    def controls(self) -> int:
        return self._lines.controls()

    def refusal(self, text: str) -> bytes:
        """In the dialect of those who have not said yet which one they speak."""
        return DIALECTS[-1].answer(Asked(None, 0, ""), Refusal(ErrorWord.TOO_MANY_CONNECTIONS, text))
