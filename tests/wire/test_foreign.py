"""Clients that connect to the wrong port."""

import pytest

from chatserver.wire.framing.lines import foreign


@pytest.mark.parametrize(
    ("first", "protocol"),
    [
        (b"GET / HTTP/1.1", "HTTP"),
        (b"PRI * HTTP/2.0\r\n", "HTTP"),
        (b"CONNECT example.org:443 HTTP/1.0", "HTTP"),
        (b"Host: example.org", "HTTP"),
        (b"User-Agent: x", "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01", "TLS"),
        (b"SSH-2.0-OpenSSH_", "SSH"),
        (b"EHLO example.org", "SMTP"),
        (b"HELO x", "SMTP"),
        (b"*1\r\n$4\r\nPING\r\n", "Redis"),
        (b"*3", "Redis"),
        (b"\x04\x01\x00\x50", "SOCKS"),
        (b"\x05\x01\x00", "SOCKS"),
        (b"\x05\x03\x00\x01\x02", "SOCKS"),
        (b"\x03\x00\x00\x13", "RDP"),
    ],
)
def test_recognized(first: bytes, protocol: str) -> None:
    """A client of another protocol is recognized by its first bytes, with or without a newline."""
    assert foreign(first) == protocol


@pytest.mark.parametrize(
    "first",
    [
        b"", b"\x16", b"\x05", b"ana", b"Ana-Lena", b"get / http", b"hello there", b"http://example.org", b"helo",
        b"SSH",
        b"/login ana Host: x", b"/say x GET / HTTP/1.1", b'{"cmd":"ping"}', b"*", b"* hello", b"*1 apple", b"note:this",
        "Žofie: ahoj".encode(), b"\x05\x00", b"GET /index.html ",
    ],
)  # fmt: skip
def test_people_are_not(first: bytes) -> None:
    """A person's or program's first line is never taken for another protocol, nor is a beginning too short to tell."""
    assert foreign(first) is None
