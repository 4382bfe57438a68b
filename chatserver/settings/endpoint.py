"""Endpoint strings as the settings have them, taken apart: `ws:ssl:4001:interface=127.0.0.1:privateKey=key.pem`."""

import re
from typing import Final

from msgspec import Struct

DOORS: Final = ("telnet", "web", "ws")
"""Prefixes of an endpoint: see `net/doors/table.py`."""

REUSEPORT: Final = "reuseport"
"""The option of TCP and TLS endpoints that we add to Twisted's: other processes may listen on the same port."""

_PIECES: Final = re.compile(r"\\.|[^:\\]+|:|\\$", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_OPTION: Final = re.compile(r"(\w+)=(.*)", re.DOTALL)


class Endpoint(Struct, frozen=True):
    """`door`: one of DOORS, or "". `kind`: tcp, ssl, unix, … `words`: unnamed parts, in order."""

    door: str
    kind: str
    words: list[str]
    options: dict[str, str]

    @property
    def port(self) -> str:
        """The port, or path of a Unix socket; "" for none."""
        first = self.words[0] if self.words else ""
        return self.options.get("address" if self.kind == "unix" else "port", first)

    @property
    def private_key(self) -> str:
        """The path of a TLS endpoint's key, as Twisted finds it; "" for others."""
        second = self.words[1] if len(self.words) > 1 else "server.pem"
        return self.options.get("privateKey", second) if self.kind == "ssl" else ""

    @property
    def certificate(self) -> str:
        """The path of the file with its certificate."""
        third = self.words[2] if len(self.words) > 2 else self.private_key
        return self.options.get("certKey", third) if self.kind == "ssl" else ""


def parse(description: str) -> Endpoint:
    """Takes an endpoint string apart. A backslash escapes the character behind it."""
    parts = [""]
    for piece in _PIECES.findall(description):
        if piece == ":":
            parts.append("")
        else:
            parts[-1] += piece
    door = parts.pop(0) if parts[0] in DOORS and len(parts) > 1 else ""
    kind, *rest = parts
    words: list[str] = []
    options: dict[str, str] = {}
    for part in rest:
        option = _OPTION.fullmatch(part)
        if option is not None:
            options[option[1]] = _plain(option[2])
        else:
            words.append(_plain(part))
    return Endpoint(door, kind, words, options)


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


def split_reuseport(description: str) -> tuple[str, bool]:
    """The endpoint string without the option `reuseport`, which Twisted does not know, and whether that is `yes`. An
    option with another value, or of another kind of endpoint, is left for Twisted to refuse."""
    parsed = parse(description)
    value = parsed.options.get(REUSEPORT)
    if parsed.kind not in ("tcp", "tcp6", "ssl") or value not in ("yes", "no"):
        return description, False
    return description.replace(f":{REUSEPORT}={value}", ""), value == "yes"
