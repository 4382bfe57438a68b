"""Clients that came to the wrong port: what they speak, told by their first bytes."""

import re

SIGNS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("TLS", re.compile(rb"\x16\x03")),
    ("SSH", re.compile(rb"SSH-")),
    ("SMTP", re.compile(rb"(EHLO|HELO) ")),
    ("Redis", re.compile(rb"\*[0-9]+\r?(\n|$)")),
    ("SOCKS", re.compile(rb"\x04[\x01\x02]|\x05[\x01-\xff]")),
    ("RDP", re.compile(rb"\x03\x00")),
    ("HTTP", re.compile(rb"[A-Z]+ \S+ HTTP/[0-9]")),
    ("HTTP", re.compile(rb"[A-Za-z][A-Za-z0-9-]*: ")),  # a `Header: value`, as of an address cut short
)


def foreign(first: bytes) -> str | None:
    """The protocol of a client that is no chat client, or None. `first`: its first line, or the beginning of it.

    Only for what comes before login: nothing there looks like this, since a name has neither blank nor colon.
    """
    for protocol, sign in SIGNS:
        if sign.match(first):
            return protocol
    return None
