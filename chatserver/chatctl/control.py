"""The client of the control socket: asks the server that is running with these settings."""

import getpass
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

import msgspec
from msgspec import Struct, field

from chatserver.chatctl.access import Access, Problem
from chatserver.chatctl.identity import as_caller
from chatserver.operation.control import place
from chatserver.operation.control.place import is_trusted, uid_of
from chatserver.operation.control.requests import MOST_BYTES, VERSION, Audit, Hello, Request
from chatserver.settings.tables import SOCKET_PATH_BYTES

T = TypeVar("T")

SECONDS: Final = 60.0
"""How long to wait for the next bytes of an answer."""
HELLO_SECONDS: Final = 5.0
QUICK_SECONDS: Final = 1.0
"""How long to wait for an answer that is optional."""


FIELDS: Final = {
    "name": "target",
    "whom": "target",
    "room": "room",
    "label": "label",
    "id": "id",
    "off": "off",
    "messages": "messages",
    "span": "seconds",
    "expires": "seconds",
    "which": "label",
}
"""Fields of the audit log, by the parameter of a command. Other parameters are not logged: texts and secrets."""


class _Line(Struct):
    """Any line of an answer."""

    item: msgspec.Raw = msgspec.Raw()
    end: Literal["done", "failed"] | None = None
    result: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def ask(reach: Access, request: Request, seconds: float = SECONDS) -> dict[str, Any]:
    """The answer to a request that lists nothing. Raises Problem."""
    result, _ = ask_for_all(reach, request, dict[str, Any], seconds)
    return result


def ask_for_all(
    reach: Access, request: Request, item: type[T], seconds: float = SECONDS
) -> tuple[dict[str, Any], list[T]]:
    """The answer to a request, and what it lists, as objects of this type. Raises Problem."""
    encoded = msgspec.json.encode(msgspec.structs.replace(request, by=user_name())) + b"\n"
    if len(encoded) > MOST_BYTES:
        raise Problem("That is too long for the server. Shorten it.")
    with _connected(reach, min(seconds, HELLO_SECONDS)) as line:
        return line.ask(encoded, item, seconds)


def report(reach: Access, *, failed: bool) -> None:
    """Sends the changes of this command to the running server, if there is one on this host, for its audit log. A
    command that failed may have changed something before. The result of the command does not depend on this."""
    acts, reach.acts = reach.acts, {}
    for path, parameters in acts.items():
        what = {field: _word(parameters[name]) for name, field in FIELDS.items() if parameters.get(name)}
        act = Audit(act="-".join(path.split()[1:]), what=what | ({"outcome": "failed"} if failed else {}))
        try:
            ask(reach, act, QUICK_SECONDS)
        except Problem:
            return


def _word(value: object) -> str:
    return "yes" if value is True else str(value)


def user_name() -> str:
    """The name of the user who runs `chatctl`, also behind sudo. The server logs it beside the user id that the kernel
    knows."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # no name belongs to the user id
        return ""


class _Call:
    """A connection to a control socket."""

    def __init__(self, path: Path, seconds: float) -> None:
        """Raises OSError, and Problem if it is somebody else's."""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(seconds)
            with as_caller():  # whom the server logs
                self._socket.connect(os.fspath(path))
            uid = uid_of(self._socket)
            if os.geteuid() != 0 and not is_trusted(uid):
                raise Problem(f"The socket {path} is not the server's: user {uid} listens there. Remove it.")
        except BaseException:
            self._socket.close()
            raise
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def hello(self) -> Hello:
        """The greeting of the server. Raises OSError, EOFError, ValueError, and Problem if it has no time."""
        line = self._next()
        try:
            return msgspec.json.decode(line, type=Hello)
        except msgspec.ValidationError:
            problem = msgspec.json.decode(line, type=_Line).problem
            raise Problem(problem or "The server speaks otherwise. Use the chatctl of its version.") from None

    def ask(self, encoded: bytes, item: type[T], seconds: float) -> tuple[dict[str, Any], list[T]]:
        """Raises Problem."""
        found: list[T] = []
        try:
            self._socket.settimeout(seconds)
            self._socket.sendall(encoded)
            while True:
                line = msgspec.json.decode(self._next(), type=_Line)
                if line.end == "failed":
                    raise Problem(line.problem)
                if line.end == "done":
                    return line.result, found
                found.append(msgspec.json.decode(line.item, type=item))
        except TimeoutError:
            raise Problem("The server does not answer. Look into its log.") from None
        except (OSError, EOFError, ValueError):  # what it says is no JSON, or no text
            raise Problem("The server ended the connection. Look into its log, then try again.") from None

    def _next(self) -> bytes:
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return line


def _connected(reach: Access, seconds: float) -> _Call:
    """Raises Problem if no server with these settings answers."""
    server = reach.settings.server
    paths = place.tried(server, os.environ)
    if not paths:
        raise Problem('This needs the running server, and server.control is "". Set it, and restart the server.')
    forbidden: Path | None = None
    foreign: Path | None = None
    for path in paths:
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            raise Problem(f"{path} is too long for a socket. Set server.control, and restart the server.")
        try:
            call = _Call(path, seconds)
        except PermissionError:
            forbidden = path
            continue
        except BlockingIOError:  # its queue of connections is full
            raise Problem("Too many others are asking the server at this moment. Try again.") from None
        except OSError:  # there is none
            continue
        try:
            hello = call.hello()
        except TimeoutError:
            call.close()
            raise Problem(f"The server at {path} does not answer. Look into its log.") from None
        except (OSError, EOFError, ValueError):  # what it says is no JSON, or no text
            call.close()
            continue
        except Problem:
            call.close()
            raise
        if hello.control != VERSION:
            call.close()
            raise Problem(f"The server at {path} has version {hello.server}. Use the chatctl of that version.")
        if server.control == place.AUTO and hello.database != place.database_mark(server):
            call.close()
            foreign = path
            continue
        return call
    if forbidden is not None:
        raise Problem(f"You may not use {forbidden}. Run chatctl as the user that the server runs as, or as root.")
    if foreign is not None:
        raise Problem(f"The server at {foreign} uses another database. Run chatctl with the settings of that server.")
    raise Problem(
        f"No server answers at {' or '.join(map(str, paths))}. Start it, or run chatctl with its settings, as its user."
    )
