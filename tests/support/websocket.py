"""A program at a WebSocket door, over a blocking socket, by the client's half of `websockets`."""

from contextlib import suppress

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from tests.support.client import TIMEOUT, JsonClient


class WebSocketClient(JsonClient):
    """Everything that a `JsonClient` is. What one call of `send` is given is one message; every frame that comes must
    be one that RFC 6455 allows, and hold whole lines.

    Raises the exceptions of `websockets` if the server does not accept the upgrade.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        timeout: float = TIMEOUT,
        receive_buffer: int | None = None,
        tls: bool = False,
        source: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(address, timeout=timeout, receive_buffer=receive_buffer, tls=tls, source=source)
        self.frames: list[Frame] = []
        """All frames received, in the order of arrival; the data of text frames is in `received`."""
        self.protocol = ClientProtocol(parse_uri(f"{'wss' if tls else 'ws'}://{address[0]}:{address[1]}/"))
        request = self.protocol.connect()
        request.headers.update(Headers(headers or {}))
        self.protocol.send_request(request)
        try:
            self._flush()
            self.fill(lambda: self.protocol.state is not State.CONNECTING or self._refusal, "the upgrade", timeout)
            if self._refusal is not None:
                raise self._refusal
        except BaseException:
            self.close()
            raise

    @property
    def _refusal(self) -> Exception | None:
        """Why the upgrade failed."""
        return self.protocol.handshake_exc

    @property
    def close_code(self) -> int | None:
        """The code of the server's close frame; None: none came."""
        return None if self.protocol.close_rcvd is None else int(self.protocol.close_rcvd.code)

    def send(self, data: bytes) -> None:
        self.protocol.send_text(data)
        self._flush()

    def send_fragments(self, *pieces: bytes) -> None:
        """One message in this many frames, with a ping in front of each of them but the first."""
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            if number:
                self.protocol.send_ping(b"%d" % number)
                self.protocol.send_continuation(piece, fin=last)
            else:
                self.protocol.send_text(piece, fin=last)
        self._flush()

    def send_close(self) -> None:
        """Sends a close frame: nothing more will come."""
        self.protocol.send_close(1000)
        self._flush()

    def send_raw(self, data: bytes) -> None:
        """Sends bytes as they are."""
        super().send(data)

    def _flush(self) -> None:
        data = b"".join(self.protocol.data_to_send())
        if data:
            self.send_raw(data)

    def _receive(self, seconds: float) -> None:
        before = self.received
        self.received = b""
        super()._receive(seconds)
        data, self.received = self.received, before
        if data:
            self.protocol.receive_data(data)
        elif self.ended:
            self.protocol.receive_eof()
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                self.frames.append(event)
                if event.opcode is Opcode.TEXT:
                    assert event.fin
                    assert bytes(event.data).endswith(b"\n")
                    self.received += event.data
        error = self.protocol.parser_exc
        assert error is None or isinstance(error, EOFError), error
        with suppress(OSError):  # a pong or a close frame, which the server may not be there to read
            self._flush()
