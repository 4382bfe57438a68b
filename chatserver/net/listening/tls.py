"""TLS with safe settings: version 1.2 or later, and only ciphers with forward secrecy, so that a key that is stolen
later decrypts no recorded traffic."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_ASN1, X509, dump_certificate
from twisted.internet.interfaces import IListeningPort, IOpenSSLServerConnectionCreator
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from chatserver.net.listening.ports import Around
from chatserver.settings.endpoint import parse

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"
"""Ciphers for TLS 1.2, as OpenSSL names them. All ciphers of TLS 1.3, which is preferred, have forward secrecy."""
RENEWAL_DAYS: Final = 14
"""How many days before its end a certificate should be renewed: certbot and lego do so 30 days before."""
HANDSHAKE_BYTES: Final = 16_384
"""Maximum number of bytes that a client may send before TLS is agreed on. A certificate with a large key and two above
it has half of that. OpenSSL itself would take a chain of 100 KB, and keep ten times its size while the connection
lasts."""
PIECE_BYTES: Final = 4096
"""Size of the pieces in which bytes are counted until TLS is agreed on."""


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
    """Has a server request a certificate, and accept any, or none. Only its fingerprint matters."""
    context.set_verify(SSL.VERIFY_PEER, _any)
    context.set_verify_depth(0)  # a chain behind it is work for nothing


def _any(*_: Any) -> bool:
    return True


class Identity:
    """The identity of an endpoint: a key, its certificate and the chain. Connections that come later use a renewed
    one."""

    def __init__(self, endpoint: str, options: CertificateOptions) -> None:
        """`endpoint`: the string that names the files. Raises OpenSSL's Error if the key does not fit."""
        self.endpoint = endpoint
        own = options.certificate
        assert own is not None  # an endpoint has one
        chain = list(options.extraCertChain or ()) or further_certificates(parse(endpoint).certificate)
        self.context = forward_secret(options, chain).getContext()
        self.certificates = [dump_certificate(FILETYPE_ASN1, one) for one in (own, *chain)]
        certificate = own.to_cryptography()
        self._from = certificate.not_valid_before_utc
        self.until = certificate.not_valid_after_utc
        self.name = _names(certificate)

    def warnings(self, now: datetime) -> Iterator[str]:
        """The complaints that clients have, now or soon, each with what to do."""
        where, day = shown(self.endpoint), self.until.date().isoformat()
        if now >= self.until:
            yield f"The certificate of {where} expired on {day}. Renew it, then: chatctl reload"
        elif now + timedelta(days=RENEWAL_DAYS) > self.until:
            yield f"The certificate of {where} expires on {day}. Renew it, then: chatctl reload"
        if now < self._from:
            yield f"The certificate of {where} is not valid before {self._from:%Y-%m-%d %H:%M} UTC. Check the clock."


@implementer(IOpenSSLServerConnectionCreator)
class Shown:
    """The identity that an open endpoint uses at present."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return SSL.Connection(self.identity.context, None)

    def renew(self, identity: Identity) -> bool:
        """Returns whether the identity is another one."""
        if identity.certificates == self.identity.certificates:
            return False  # and clients resume their TLS sessions, as this one knows them
        self.identity = identity
        return True


class ForwardSecret(Around):
    """A reactor for one endpoint, whose TLS port has these settings, whatever the endpoint's own `sslmethod` is. Adds
    its identity to `identities`, which a reload renews."""

    def __init__(self, reactor: Any, endpoint: str, identities: list[Shown]) -> None:
        super().__init__(reactor)
        self._endpoint = endpoint
        self._identities = identities

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        identity = Shown(Identity(self._endpoint, contextFactory))
        listening: IListeningPort = self._reactor.listenSSL(port, factory, identity, backlog, interface)
        self._identities.append(identity)
        return listening


def forward_secret(options: CertificateOptions, chain: list[X509]) -> CertificateOptions:
    """The certificate with safe settings, and the certificates between it and the authority."""
    made = CertificateOptions(
        privateKey=options.privateKey,
        certificate=options.certificate,
        extraCertChain=chain or None,
        dhParameters=options.dhParameters,
        acceptableCiphers=AcceptableCiphers.fromOpenSSLCipherString(CIPHERS),
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )
    ask(made.getContext())
    return made


def further_certificates(path: str) -> list[X509]:
    """The certificates after the first one of a file, as in certbot's fullchain.pem: Twisted reads the first one only.
    Raises OSError and ValueError."""
    return [X509.from_cryptography(one) for one in x509.load_pem_x509_certificates(Path(path).read_bytes())[1:]]


def _names(certificate: x509.Certificate) -> str:
    """The owner of a certificate: the first of the names that clients compare, or else the one for people."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return ", ".join(names.get_values_for_type(x509.DNSName)[:3]) or certificate.subject.rfc4514_string()
    except x509.ExtensionNotFound:
        return certificate.subject.rfc4514_string()


def shown(endpoint: str) -> str:
    """An endpoint's kind and port, without the names of files."""
    return ":".join(endpoint.split(":")[:2])
