"""The door for programs in browsers: JSON Lines in the text frames of a WebSocket (RFC 6455)."""

import socket
from typing import Final

from chatserver.net.doors.base import Door
from chatserver.settings.tables import Settings
from chatserver.wire.framing.pages import Pages
from chatserver.wire.framing.websocket import TEXT_FRAMES, WebSocket
from chatserver.wire.jsonl import JSONL

THIS_MACHINE: Final = socket.gethostname()


class WebSocketDoor(Door):
    """Pings are answered. A close frame is the client's half-close: what it sent before is served and answered
    first."""

    framing = TEXT_FRAMES
    prefix = "ws:"
    dialect = JSONL

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        server = settings.server
        pages = Pages(server.origins, (server.name, THIS_MACHINE, *server.hosts))
        self.splitter = self._websocket = WebSocket(settings.limits.max_line_bytes, pages)

    @property
    def opened(self) -> bool:
        return self._websocket.opened

    @property
    def pending(self) -> int:
        """The upgrade request has a limit of its own."""
        return super().pending if self.opened else 0

    def refusal(self, text: str) -> bytes:
        return self._websocket.refusal(text)

    def farewell(self, reason: str) -> bytes:
        return self._websocket.close(reason)

    def connectionMade(self) -> None:
        self.connection.made()

    def _feed(self, data: bytes) -> None:
        websocket, connection = self._websocket, self.connection
        opened, ended = websocket.opened, websocket.ended
        super()._feed(data)
        closed = websocket.ended and not ended  # by the client; below, the server may end it
        if websocket.refused:
            if websocket.why:
                connection.page_refused(websocket.why)
            connection.end("refused")
            return
        if websocket.opened and not opened:
            connection.opened()
        if closed:
            connection.peer_ended()

    def _controls(self) -> int:
        return self._websocket.controls()
