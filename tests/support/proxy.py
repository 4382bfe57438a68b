"""Headers of the PROXY protocol, as proxies send them."""

import socket

from chatserver.wire.framing.proxy import SIGNATURE


def v1(source: str, destination: str = "", family: str = "") -> bytes:
    """A line of version 1 for a client's address."""
    six = ":" in source
    destination = destination or ("2001:db8::1" if six else "192.0.2.1")
    return f"PROXY {family or ('TCP6' if six else 'TCP4')} {source} {destination} 51234 4000\r\n".encode()


def v2(source: str, tlvs: bytes = b"", command: int = 1) -> bytes:
    """A header of version 2 for a client's address; `command` 0 is LOCAL."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    packed = socket.inet_pton(family, source)
    body = packed * 2 + (51234).to_bytes(2, "big") + (4000).to_bytes(2, "big") + tlvs
    kind = 0x21 if family == socket.AF_INET6 else 0x11
    return SIGNATURE + bytes([0x20 | command, kind]) + len(body).to_bytes(2, "big") + body
