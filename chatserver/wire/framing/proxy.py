"""The header in which a proxy names the client's address: the PROXY protocol, versions 1 and 2.

Source: "The PROXY protocol, versions 1 & 2", https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, sections 2.1
(a line of text) and 2.2 (binary).
"""

from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from chatserver.wire.addresses import canonical

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
"""The beginning of a header of version 2, unique to this protocol."""
PREFIX: Final = b"PROXY "
"""Beginning of a version 1 header."""
MAX_LINE: Final = 107
"""Maximum length of a line of version 1, its CRLF included."""
FIXED: Final = 16
"""Size of a header of version 2 before the addresses. Its last two bytes: how many follow."""
LOCAL, PROXY = 0x20, 0x21
"""Version 2 and the command. LOCAL: the proxy connects for itself, as for a health check."""
LENGTHS: Final = {0x0: 0, 0x1: 12, 0x2: 36, 0x3: 216}
"""By address family (none, IPv4, IPv6, Unix): the bytes of both addresses and ports. TLVs may follow."""
INET, INET6 = 0x1, 0x2
TLS_TLV, TLS_USED = 0x20, 0x01
"""The type of the field about TLS (PP2_TYPE_SSL), and the bit in the first byte of its value that is set if the client
speaks TLS with the proxy (PP2_CLIENT_SSL)."""
PROTOCOLS: Final = frozenset({0x0, 0x1, 0x2})
"""Unspecified, stream, datagram: the low half of the byte whose high half is the family."""
KINDS: Final[dict[str, type[IPv4Address] | type[IPv6Address]]] = {"TCP4": IPv4Address, "TCP6": IPv6Address}
PORTS: Final = range(65536)


class Malformed(Exception):
    """This is no PROXY header."""


class ProxyHeader:
    """Reads the header, in pieces of any size.

    `address`: the client's; "" if the proxy connects for itself or does not name it. `tls`: the client speaks TLS with
    the proxy, by the header. `rest`: the bytes behind the header.
    """

    def __init__(self) -> None:
        self.address = ""
        self.tls = False
        self.rest = b""
        self._data = b""

    def feed(self, data: bytes) -> bool:
        """Returns whether the header is complete. Raises Malformed as soon as it cannot become one."""
        self._data += data
        have = self._data
        if have.startswith(PREFIX):
            return self._line(have)
        if have.startswith(SIGNATURE):
            return self._binary(have)
        if PREFIX.startswith(have) or SIGNATURE.startswith(have):
            return False
        raise Malformed

    def _line(self, have: bytes) -> bool:
        end = have.find(b"\r\n", 0, MAX_LINE)
        if end < 0:
            if len(have) >= MAX_LINE:
                raise Malformed
            return False
        self.rest = have[end + 2 :]
        words = have[:end].split(b" ")
        if words[1] == b"UNKNOWN":  # whatever follows
            return True
        try:
            _, family, source, destination, *ports = [word.decode("ascii") for word in words]
            kind = KINDS[family]
            self.address = str(canonical(kind(source)))
            kind(destination)
        except (KeyError, ValueError, AddressValueError):
            raise Malformed from None
        if len(ports) != 2 or not all(_is_port(port) for port in ports):
            raise Malformed
        return True

    def _binary(self, have: bytes) -> bool:
        if len(have) > 12 and have[12] not in (LOCAL, PROXY):
            raise Malformed
        if len(have) > 13 and have[12] == PROXY and (have[13] >> 4 not in LENGTHS or have[13] & 0xF not in PROTOCOLS):
            raise Malformed
        if len(have) < FIXED:
            return False
        length = int.from_bytes(have[14:FIXED], "big")
        family = have[13] >> 4 if have[12] == PROXY else 0
        if length < LENGTHS[family]:
            raise Malformed
        if len(have) < FIXED + length:
            return False
        self.rest = have[FIXED + length :]
        if family == INET:
            self.address = str(IPv4Address(have[FIXED : FIXED + 4]))
        elif family == INET6:
            self.address = str(canonical(IPv6Address(have[FIXED : FIXED + 16])))
        if have[12] == PROXY:
            self.tls = _tells_tls(have[FIXED + LENGTHS[family] : FIXED + length])
        return True


def _tells_tls(fields: bytes) -> bool:
    """Whether a field behind the addresses says that the client speaks TLS. Truncated ones are ignored."""
    while len(fields) >= 3:
        end = 3 + int.from_bytes(fields[1:3], "big")
        value = fields[3:end]
        if fields[0] == TLS_TLV and len(fields) >= end and value and value[0] & TLS_USED:
            return True
        fields = fields[end:]
    return False


def _is_port(text: str) -> bool:
    return text.isdecimal() and text == str(int(text)) and int(text) in PORTS
