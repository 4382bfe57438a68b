"""The door for programs in browsers: JSON Lines in the text frames of a WebSocket (RFC 6455)."""

from chatserver.net.doors.base import Door
from chatserver.net.doors.factory import THIS_MACHINE, ChatFactory
from chatserver.net.doors.visit import Visit
from chatserver.settings.tables import Settings
from chatserver.wire.framing.lines import HARD_LIMIT
from chatserver.wire.framing.pages import Pages
from chatserver.wire.framing.websocket import TEXT_FRAMES, WebSocket
from chatserver.wire.jsonl import JSONL


class WebSocketDoor(Door):
    """Pings are answered. A close frame is the client's half-close: what it sent before is served and answered
    first."""

    framing = TEXT_FRAMES
    prefix = "ws:"
    dialect = JSONL

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        server, most = settings.server, settings.limits.max_line_bytes
        pages = Pages(server.origins, (server.name, THIS_MACHINE, *server.hosts))
        self.splitter = self._websocket = WebSocket(most, pages, max(most, HARD_LIMIT))

    @classmethod
    def visit(cls, factory: ChatFactory, address: str, encrypted: bool | None, counted: float) -> Visit | None:
        return Visit(factory, address, encrypted, None, counted) if address in factory.forwarders else None

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
