"""Web pages: which of them may connect, by the headers Origin and Host of a request."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from msgspec import Struct

ORIGIN_CHARACTERS: Final = 200
"""Maximum number of characters of a header that the log quotes."""


class Pages(Struct, frozen=True):
    """`origins`: see `server.origins`. `hosts`: names of the server, among which may be texts that are none."""

    origins: Sequence[str] = ()
    hosts: Sequence[str] = ()

    def unknown(self, host: str) -> str:
        """Why a Host header has no name of this server, for the log; empty: it has one. Anybody can have a name of
        their own point to the server's address, once their page is open (DNS rebinding)."""
        name = normal_host(host)
        if name is not None and (_is_ours(name) or name in map(normal_host, self.hosts)):
            return ""
        return f"{_quoted(name or host)} is not known as a name of this server. Add it to server.hosts if it is one."

    def foreign(self, origin: str, host: str, *, encrypted: bool) -> str:
        """Why a page of `origin` may not use the cookie of `host`, which has no port: for the log. Empty: it may, since
        it is of exactly this scheme, host and port."""
        here = normal_origin(f"{'https' if encrypted else 'http'}://{host}")
        if here is None or normal_origin(origin) != here:
            return (
                f"{_quoted(origin)} is not {_quoted(here or host)}. If a proxy before this server speaks TLS, add it "
                "to server.trusted_forwarders or server.trusted_proxies."
            )
        return self.unknown(host)

    def refusal(self, origin: str, host: str) -> str:
        """Why a page of `origin` may not connect to `host`, both from the headers of these names: for the log, with the
        setting that would allow it. Empty: it may.

        Without `origins`, pages of the same host may, whatever their port, if it is a name of the server.
        """
        if "*" in self.origins:
            return ""
        normal = normal_origin(origin)
        if normal is None:  # "null" among them: a sandboxed frame, or a file
            return (
                f'{_quoted(origin)} is no origin of a web server: with server.origins = ["*"], every page may connect.'
            )
        if self.origins:
            if normal in map(normal_origin, self.origins):
                return ""
            return f"{_quoted(normal)} is not in server.origins. Add it if the page is yours."
        name = normal_host(host)
        if name is None or normal_host(normal.partition("://")[2]) != name:
            return (
                f"{_quoted(normal)} is of another host than {_quoted(host)}, to which it connects. Add it to "
                "server.origins if the page is yours."
            )
        return self.unknown(host)


def normal_origin(text: str) -> str | None:
    """`scheme://host[:port]` in lower case and without a default port; None if `text` is no origin."""
    match = _ORIGIN.fullmatch(text.lower())
    host = normal_host(match["authority"]) if match else None
    if match is None or host is None:
        return None
    port = match["port"]
    if not port or port == DEFAULT_PORTS.get(match["scheme"]):
        return f"{match['scheme']}://{host}"
    return f"{match['scheme']}://{host}:{port}"


def normal_host(authority: str) -> str | None:
    """The host of `host[:port]` in lower case, an IPv6 address in its shortest form; None if there is none."""
    match = _HOST.fullmatch(authority.lower())
    if match is None:
        return None
    host = match["host"]
    if not host.startswith("["):
        return host
    try:
        return f"[{IPv6Address(host[1:-1])}]"
    except ValueError:
        return None


DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_AUTHORITY: Final = r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._~%!$&'()*+,;=-]+)(?::(?P<port>[0-9]*))?"
_HOST: Final = re.compile(_AUTHORITY)
_ORIGIN: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>" + _AUTHORITY + ")")


def _is_ours(host: str) -> bool:
    """Whether no name server of a stranger can lead a browser here by this host: an address, or this machine's name."""
    if host == "localhost" or host.endswith(".localhost") or host.startswith("["):
        return True
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def _quoted(text: str) -> str:
    return repr(text[:ORIGIN_CHARACTERS])
