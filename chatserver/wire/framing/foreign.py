"""Clients that connected to the wrong port: recognizes their protocol by their first bytes."""

import re

SIGNATURES: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("TLS", re.compile(rb"\x16\x03")),
    ("SSH", re.compile(rb"SSH-")),
    ("SMTP", re.compile(rb"(EHLO|HELO) ")),
    ("Redis", re.compile(rb"\*[0-9]+\r?(\n|$)")),
    ("SOCKS", re.compile(rb"\x04[\x01\x02]|\x05[\x01-\xff]")),
    ("RDP", re.compile(rb"\x03\x00")),
    ("HTTP", re.compile(rb"[A-Z]+ \S+ HTTP/[0-9]")),
    ("HTTP", re.compile(rb"[A-Za-z][A-Za-z0-9-]*: ")),  # a header, for a request whose first line was lost
)


def foreign(first: bytes) -> str | None:
    """The protocol of a client that is not a chat client, or None. `first`: its first line or the beginning of it.

    Use it only before login, where no legitimate line matches: names contain neither blanks nor colons.
    """
    for protocol, signature in SIGNATURES:
        if signature.match(first):
            return protocol
    return None
