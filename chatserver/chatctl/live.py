"""`chatctl check --live`: goes to a running server as a client does, and measures how long it takes to answer."""

import re
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from msgspec import Struct
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from chatserver.chatctl.access import Access, Problem
from chatserver.chatctl.output import plain, print_json, say_all
from chatserver.settings import endpoint
from chatserver.settings.tables import ConfigProblem
from chatserver.util.times import now
from chatserver.wire.addresses import Networks
from chatserver.wire.framing.proxy import SIGNATURE
from chatserver.wire.framing.telnet import Telnet

FORMS: Final = "tcp:HOST:PORT, ssl:HOST:PORT or unix:PATH, with ws: in front for WebSocket, web: or telnet:"

PING: Final = b'{"cmd":"ping","tag":"check"}\n'
PONG: Final = b'{"ok":true,"tag":"check"'  # the beginning: servers of other versions add fields

PIECE: Final = 4096
"""Number of bytes that are read at a time."""
MOST_BYTES: Final = 1 << 16
"""Maximum number of bytes before the answer: a server that sends more is not ours."""

_BRACKETS: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\]")
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_CHECK: Final = SIGNATURE + b"\x20\x00\x00\x00"
"""The PROXY header of a connection that a proxy opens for itself."""


def report(reach: Access, description: str, seconds: float, as_json: bool) -> bool:
    """Visits a server and prints what it found; returns whether the server answered. Raises Problem where it did not,
    and no JSON is asked for."""
    try:
        found = visit(place(description), seconds, _proxies(reach))
    except Unanswered as problem:
        if not as_json:
            raise Problem(f"{description}: {problem}") from None
        print_json({"ok": False, "endpoint": description, "problem": str(problem)})
        return False
    value = {"ok": True, "endpoint": description} | plain(found)
    say_all(_lines(found), value, as_json)
    return True


def _proxies(reach: Access) -> Networks:
    """The proxies of the settings, if any: a check needs none."""
    try:
        return Networks(reach.settings.server.trusted_proxies)
    except ConfigProblem:
        return Networks()


def _lines(found: "Answered") -> list[tuple[str, object]]:
    lines: list[tuple[str, object]] = [("Connect", f"{found.connect_ms} ms")]
    if found.tls_ms is not None:
        lines += [
            ("TLS", f"{found.tls_ms} ms, {found.tls_version}"),
            ("Certificate", f"valid for {found.certificate_days} more days"),
        ]
    return [*lines, ("Banner", f"{found.banner_ms} ms"), ("Ping", f"{found.ping_ms} ms")]


class Unanswered(Exception):
    """The text says what the server did not do, and what to do, in one line."""


class Place(Struct, frozen=True):
    """Where a server listens. `host` is empty for a Unix socket, whose path is in `port`."""

    host: str
    port: str
    tls: bool = False
    websocket: bool = False


class Answered(Struct, frozen=True):
    """The milliseconds that each step took, and the days for which the server's certificate is still valid."""

    connect_ms: float
    banner_ms: float
    ping_ms: float
    tls_ms: float | None = None
    tls_version: str | None = None
    certificate_days: int | None = None


def place(description: str) -> Place:
    """Reads an endpoint, as a client would name it or as the settings do. Raises Unanswered."""
    bare = _BRACKETS.sub(lambda found: found[1].replace(":", "\\:"), description)
    parsed = endpoint.parse(bare)
    words, websocket = parsed.words, parsed.door in ("ws", "web")
    if parsed.kind == "unix" and parsed.port:
        return Place("", parsed.port, websocket=websocket)
    if parsed.kind in ("tcp", "tcp6", "ssl") and len(words) <= 2:
        port = words[1] if len(words) == 2 else parsed.port
        default = "::1" if parsed.kind == "tcp6" else "127.0.0.1"
        host = words[0] if len(words) == 2 else parsed.options.get("interface") or default
        if host and port.isdecimal() and 0 < int(port) < 65536:
            return Place(_EVERYWHERE.get(host, host), port, parsed.kind == "ssl", websocket)
    raise Unanswered(f"This is no endpoint to connect to. Give {FORMS}.")


def visit(where: Place, seconds: float, proxies: Networks) -> Answered:
    """Connects, waits for the first words, pings, and leaves. `proxies`: from these addresses the server expects a
    PROXY header. Raises Unanswered, also if all of it takes longer than this many seconds."""
    caller = _Caller(where, time.monotonic() + seconds)
    try:
        connect = caller.timed("accept the connection", caller.connect)
        caller.introduce(proxies)
        tls = caller.timed("speak TLS", caller.secure) if where.tls else None
        banner = caller.timed("greet", caller.upgrade if where.websocket else caller.greeting)
        ping = caller.timed("answer a ping", caller.ping)
        return Answered(connect, banner, ping, tls, caller.version, caller.days)
    finally:
        caller.close()


class _Caller:
    """A client of one server."""

    def __init__(self, where: Place, deadline: float) -> None:
        self._where = where
        self._deadline = deadline
        self._socket = socket.socket()  # in place of one that is connected
        self._received = b""
        self._frames: ClientProtocol | None = None
        self.version: str | None = None
        self.days: int | None = None

    def timed(self, what: str, step: Callable[[], None]) -> float:
        """The milliseconds that a step takes. `what`: what the server did not do if it fails."""
        begin = time.monotonic()
        try:
            step()
        except TimeoutError:
            hint = "See its log" if self._where.tls else "See its log, use ssl: if it speaks TLS there"
            raise Unanswered(f"The server did not {what} in time. {hint}, or give it more --timeout.") from None
        except ssl.SSLError as error:
            raise Unanswered(
                f"The server did not {what} ({error.reason or error}). Does it speak TLS on this port?"
            ) from None
        except socket.gaierror as error:
            raise Unanswered(f"There is no host {self._where.host} ({error.strerror}). Correct the endpoint.") from None
        except (OSError, EOFError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Unanswered(f"The server did not {what} ({reason}). Is it running, and listening there?") from None
        return round((time.monotonic() - begin) * 1000, 1)

    def close(self) -> None:
        with suppress(OSError):
            self._send(b'{"cmd":"quit"}\n')
        self._socket.close()

    # Steps

    def connect(self) -> None:
        where, opened = self._where, self._socket
        if where.host:
            self._socket = socket.create_connection((where.host, int(where.port)), self._left())
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(self._left())
            self._socket.connect(where.port)
        opened.close()

    def introduce(self, proxies: Networks) -> None:
        """Where this host counts as a proxy, the server expects a header."""
        if self._where.host and self._socket.getsockname()[0] in proxies:
            self._socket.sendall(_CHECK)

    def secure(self) -> None:
        """Checks nothing: the right name in a certificate depends on how clients call the server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        name = None if _is_address(self._where.host) else self._where.host
        self._socket.settimeout(self._left())
        secured = context.wrap_socket(self._socket, server_hostname=name)
        self._socket, self.version = secured, secured.version()
        shown = secured.getpeercert(binary_form=True)
        if shown is not None:
            end = x509.load_der_x509_certificate(shown).not_valid_after_utc
            self.days = (end - now()).days
            if self.days < 0:
                raise EOFError(f"its certificate has expired on {end:%Y-%m-%d}")

    def greeting(self) -> None:
        line = Telnet().filter(self._line())  # in front of it is what a server says first at the door `telnet:`
        if not line.startswith(b"* "):
            raise EOFError(f"it said: {line.decode('utf-8', 'replace')}")

    def upgrade(self) -> None:
        where = self._where
        host = f"[{where.host}]" if ":" in where.host else where.host or "localhost"
        port = where.port if where.host else "80"
        frames = ClientProtocol(parse_uri(f"{'wss' if where.tls else 'ws'}://{host}:{port}/"))
        frames.send_request(frames.connect())
        self._socket.sendall(b"".join(frames.data_to_send()))
        while frames.state is State.CONNECTING:
            frames.receive_data(self._receive())
            if frames.handshake_exc is not None:
                raise EOFError(f"no WebSocket: {frames.handshake_exc}")
        self._frames = frames

    def ping(self) -> None:
        self._send(PING)
        while True:
            line = self._line()
            if line.startswith(PONG):
                return
            if line.startswith((b"! ", b'{"event":"closing"', b'{"ok":false')):
                raise EOFError(f"it said: {line.decode('utf-8', 'replace')}")

    # Bytes

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _send(self, line: bytes) -> None:
        if self._frames is not None:
            self._frames.send_text(line)
            line = b"".join(self._frames.data_to_send())
        self._socket.sendall(line)

    def _receive(self) -> bytes:
        self._socket.settimeout(self._left())
        piece = self._socket.recv(PIECE)
        if not piece:
            raise EOFError("it ended the connection")
        return piece

    def _line(self) -> bytes:
        """The next line, without its end."""
        while b"\n" not in self._received:
            if len(self._received) > MOST_BYTES:
                raise EOFError("it speaks another protocol")
            piece = self._receive()
            if self._frames is None:
                self._received += piece
            else:
                self._frames.receive_data(piece)
                frames = [event for event in self._frames.events_received() if isinstance(event, Frame)]
                self._received += b"".join(bytes(one.data) for one in frames if one.opcode is Opcode.TEXT)
        line, _, self._received = self._received.partition(b"\n")
        return line.rstrip(b"\r")


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
