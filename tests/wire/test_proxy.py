"""The PROXY header, in whatever pieces it comes."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.wire.framing.proxy import SIGNATURE, Malformed, ProxyHeader
from tests.support.proxy import v1, v2

ONE = "192.0.2.7"
SIX = "2001:db8::7"
LONGEST = "ffff:f" + ":ffff" * 6
TLVS = b"\x01\x00\x02h2" + b"\x04\x00\x00" + b"\x30\x00\x03eth"

HEADERS = [
    (v1(ONE), ONE),
    (v1(SIX), SIX),
    (v1("::ffff:192.0.2.7", family="TCP6"), ONE),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    (b"PROXY UNKNOWN\r\n", ""),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", ""),
    (b"PROXY UNKNOWN " + b"x" * (107 - 16) + b"\r\n", ""),
    (v2(ONE), ONE),
    (v2(SIX), SIX),
    (v2("::ffff:192.0.2.7"), ONE),
    (v2(ONE, tlvs=TLVS), ONE),
    (v2(SIX, tlvs=b"\x04\xf0\x00" + bytes(0xF000)), SIX),
    (v2(ONE, command=0), ""),  # LOCAL: the addresses are ignored
    (SIGNATURE + b"\x20\x00\x00\x00", ""),
    (SIGNATURE + b"\x20\xff\x00\x03abc", ""),  # and so is the family
    (SIGNATURE + b"\x21\x00\x00\x07" + b"unknown", ""),
    (SIGNATURE + b"\x21\x31\x00\xd8" + b"/run/client".ljust(108, b"\0") + b"/run/chat".ljust(108, b"\0"), ""),
    (SIGNATURE + b"\x21\x12\x00\x0c" + socket.inet_aton(ONE) * 2 + b"\x01\xbb\x0f\xa0", ONE),
]


@pytest.mark.parametrize(("header", "address"), HEADERS)
def test_every_split(header: bytes, address: str) -> None:
    """A header is read whole however its bytes are split, and what follows it is left alone."""
    for rest in (b"", b"\r\nPROXY "):
        everything = header + rest
        for at in range(len(header) + 1 if len(header) < 1000 else 40):
            reader = ProxyHeader()
            assert not reader.feed(everything[:at]) or at == len(header)
            assert reader.feed(everything[at:])
            assert (reader.address, reader.rest) == (address, rest)
    reader = ProxyHeader()
    assert [n for n in range(len(header)) if reader.feed(header[n : n + 1])] == [len(header) - 1]
    assert (reader.address, reader.rest) == (address, b"")


NONE = [
    b"{",
    b"GET / HTTP/1.1\r\n",
    b"\n",
    b"proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
    b"PROXY\tTCP4",
    b"PROXY \r\n",
    b"PROXY TCP5 192.0.2.7 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
    b"PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.07 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 192.0.2 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 +1 2\r\n",
    b"PROXY TCP4  192.0.2.7 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n",
    b"PROXY TCP4 192.0.2.\xb2 192.0.2.1 1 2\r\n",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    b"PROXY " + b"x" * 102,
    SIGNATURE[:-1] + b"X",
    SIGNATURE + b"\x11",
    SIGNATURE + b"\x22",
    SIGNATURE + b"\x21\x41",
    SIGNATURE + b"\x21\x13",
    SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
    SIGNATURE + b"\x21\x21\x00\x23" + bytes(35),
    SIGNATURE + b"\x21\x31\x00\xd7" + bytes(215),
]


@pytest.mark.parametrize("data", NONE)
def test_what_is_no_header(data: bytes) -> None:
    """Anything else is refused as soon as it cannot become a header, however it is split."""
    with pytest.raises(Malformed):
        ProxyHeader().feed(data + b"\r\n" * 60)
    with pytest.raises(Malformed):
        bytewise(data + b"\r\n")


def bytewise(data: bytes) -> None:
    reader = ProxyHeader()
    for byte in data:
        reader.feed(bytes([byte]))


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_any_bytes(data: bytes, start: bytes) -> None:
    """Nothing else happens than that it is a header, is none, or needs more."""
    reader = ProxyHeader()
    try:
        reader.feed(start + data)
    except Malformed:
        pass


def test_the_longest_line() -> None:
    """A line has at most 107 bytes."""
    longest = f"PROXY UNKNOWN {LONGEST} {LONGEST} 65535 65535\r\n".encode()
    assert len(longest) <= 107
    assert ProxyHeader().feed(longest)
    assert not ProxyHeader().feed(longest[:-2].ljust(106, b"x"))
    with pytest.raises(Malformed):
        ProxyHeader().feed(longest[:-2].ljust(107, b"x"))
