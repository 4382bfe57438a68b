"""Certificates of clients: asked of everybody, required of nobody, and good for what their fingerprint is known for.

Nobody signs them, so no chain is checked: TLS itself proves that a client has the key of the certificate that it shows.
"""

from hashlib import sha256
from typing import Any, Final

from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_ASN1, dump_certificate
from twisted.protocols.tls import TLSMemoryBIOProtocol

HANDSHAKE_BYTES: Final = 16_384
"""A client may send so much before TLS is agreed on. A certificate with a large key and two above it has half of that.
OpenSSL itself would take a chain of 100 KB, and keep ten times its size for as long as the connection lasts."""
PIECE_BYTES: Final = 4096
"""Until TLS is agreed on, bytes are looked at in pieces of this size."""


class Bounded(TLSMemoryBIOProtocol):
    """TLS for a connection that ends if its client sends too much before TLS is agreed on."""

    _came = 0

    def dataReceived(self, data: bytes) -> None:
        while data and not self._handshakeDone and not self._aborted:
            piece, data = data[:PIECE_BYTES], data[PIECE_BYTES:]
            self._came += len(piece)
            if self._came > HANDSHAKE_BYTES:
                self.abortConnection()
                return
            super().dataReceived(piece)  # type: ignore[no-untyped-call]
        if data and not self._aborted:
            super().dataReceived(data)  # type: ignore[no-untyped-call]


def ask(context: SSL.Context) -> None:
    """Has a server ask for a certificate, and take any, or none."""
    context.set_verify(SSL.VERIFY_PEER, _any)
    context.set_verify_depth(0)  # a chain behind it is work for nothing


def _any(*_: Any) -> bool:
    return True


def secured(transport: Any) -> bool:
    """Whether a connection is behind TLS."""
    return isinstance(transport, TLSMemoryBIOProtocol)


def fingerprint(transport: Any) -> str:
    """The SHA-256 of the DER form of the certificate that a client has shown, in hex; "" if there is none."""
    shown = transport.getPeerCertificate() if secured(transport) else None
    return "" if shown is None else sha256(dump_certificate(FILETYPE_ASN1, shown)).hexdigest()
