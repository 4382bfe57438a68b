"""The door for programs in browsers: JSON Lines in the text frames of a WebSocket (RFC 6455)."""

from chatserver.config import Settings
from chatserver.net.door import Door
from chatserver.wire.jsonl import JSONL
from chatserver.wire.websocket import TEXT_FRAMES, WebSocket


class WebSocketDoor(Door):
    """Pings are answered, and a close frame is the client's half-close: what it sent is done and answered first."""

    framing = TEXT_FRAMES
    dialect = JSONL

    def __init__(self, settings: Settings) -> None:
        self._websocket = WebSocket(settings.limits.max_line_bytes, settings.server.origins)
        super().__init__(self._websocket)

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

    def dataReceived(self, data: bytes) -> None:
        websocket = self._websocket
        opened, ended = websocket.opened, websocket.ended
        self.splitter.feed(data)
        closed = websocket.ended and not ended  # by the client; below, the server may end it
        self._send_replies()
        if websocket.refused:
            self.connection.end("refused")
            return
        connection = self.connection
        if websocket.opened and not opened:
            connection.opened()
        connection.received()
        if closed:
            connection.half_closed()
