"""Finds out what an endpoint string of the settings would open, without opening it."""

import re
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct
from OpenSSL import SSL, crypto
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import VerifyError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from chatserver.net.listening.tls import Identity, shown
from chatserver.net.way import exposed
from chatserver.settings.endpoint import parse, split_reuseport

OVERHEARD: Final = (
    "{where} is open to other hosts, without TLS: everybody on the way can read what is sent there. Use ssl: in place "
    "of tcp:, or add :interface=127.0.0.1, with a proxy before it."
)
"""Warning for administrators about a listener that is `plain`."""
SOCKET_MODE: Final = "660"
"""Permissions of a Unix socket: for the server's user and group."""
FROM_SYSTEMD: Final = "systemd:"
_PROTECTED: Final = re.compile(rb"^(-----BEGIN |Proc-Type: 4,)ENCRYPTED", re.MULTILINE)
"""A key with a password, as PKCS #8 or in OpenSSL's own form."""


class WrongEndpoint(Exception):
    """The endpoint cannot be opened. The text says what to do, in one line."""


class ProtectedKey(Exception):
    """A private key needs a password. OpenSSL would ask for it at the terminal, and keep the server waiting."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Listener(Struct, frozen=True):
    """`host`: the interface of a TCP port, "" for all. `identity`: that of a TLS port."""

    kind: Literal["tcp", "unix", "systemd"]
    host: str = ""
    port: int = 0
    identity: Identity | None = None

    @property
    def exposed(self) -> bool:
        """Whether other hosts can connect to it, and the traffic can be overheard."""
        return self.kind == "tcp" and self.identity is None and exposed(self.host)


def with_mode(description: str) -> str:
    """An endpoint string whose Unix socket, if it is one, has `SOCKET_MODE`, whatever the umask is."""
    unix = description.startswith("unix:") and ":mode=" not in description
    return f"{description}:mode={SOCKET_MODE}" if unix else description


def plain(port: Any) -> bool:
    """Whether a listening port is open to other hosts without TLS."""
    host = getattr(port.getHost(), "host", None)
    return host is not None and not getattr(getattr(port, "factory", None), "secured", False) and exposed(host)


class _Pretending:
    """A reactor that opens nothing, and records what it was asked to open."""

    def __init__(self, endpoint: str) -> None:
        self.found = Listener("systemd")
        self._endpoint = endpoint

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> object:
        self.found = Listener("tcp", interface, _real(port))
        return self

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = "") -> object:
        self.found = Listener("tcp", interface, _real(port), Identity(self._endpoint, contextFactory))
        return self

    def listenUNIX(self, *_: Any, **__: Any) -> object:
        self.found = Listener("unix")
        return self


def _real(port: int) -> int:
    if not 0 <= port < 65_536:
        raise ValueError(f"{port} is no port")
    return port


def opening(reactor: Any, endpoint: str) -> IStreamServerEndpoint:
    """Returns Twisted's `serverFromString`, which raises all kinds of errors: see `explained`. Reads the files that the
    string names, and asks for no password."""
    key = parse(endpoint).private_key
    if key and _PROTECTED.search(Path(key).read_bytes()):
        raise ProtectedKey(key)
    made: IStreamServerEndpoint = serverFromString(reactor, endpoint)
    return made


def examine(endpoint: str) -> Listener:
    """Returns what an endpoint would open. Reads the files that the string names: a key, certificates. Raises
    WrongEndpoint."""
    if endpoint.startswith(FROM_SYSTEMD):
        return Listener("systemd")  # only the server has its sockets
    reactor: Any = _Pretending(endpoint)
    failures: list[Failure] = []
    try:
        opening(reactor, split_reuseport(endpoint)[0]).listen(Factory()).addErrback(failures.append)
        for failure in failures:
            failure.raiseException()
    except Exception as error:
        raise WrongEndpoint(explained(endpoint, error)) from None
    found: Listener = reactor.found
    return found


def explained(endpoint: str, error: BaseException) -> str:
    """The reason why an endpoint string cannot be used, and what to do, in one line."""
    where = shown(endpoint)
    if isinstance(error, OSError) and error.filename:
        file = error.filename if isinstance(error.filename, str) else str(error.filename)
        return (
            f"{where} cannot be used: {file} cannot be read ({error.strerror}). Correct the path, or let the server's "
            "user read it."
        )
    if isinstance(error, ProtectedKey):
        return (
            f"{where} cannot be used: its key has a password, and nobody is there to type it. Store the key without "
            f"one: openssl pkey -in {error.path} -out NEW"
        )
    reason = _reason(error)
    if isinstance(error, VerifyError) or reason == "key values mismatch":
        return f"{where} cannot be used: its key does not belong to its certificate. Correct privateKey or certKey."
    if isinstance(error, crypto.Error) or "PEM" in reason:
        return (
            f"{where} cannot be used: a file that it names has no key, or no certificate, in PEM format ({reason}). "
            "Correct privateKey, certKey or extraCertChain."
        )
    if isinstance(error, SSL.Error):
        return f"{where} cannot be used: OpenSSL refuses what is in its files ({reason}). Replace them."
    return f"{endpoint} is not an endpoint ({reason}). Try tcp:4000."


def _reason(error: BaseException) -> str:
    """The one useful word of an error. OpenSSL's errors are lists of triples, whose last word is it."""
    if isinstance(error, (crypto.Error, SSL.Error)) and error.args and error.args[0]:
        return str(error.args[0][-1][-1])
    return " ".join(str(error).split())
