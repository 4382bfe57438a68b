"""TLS for everybody's safety: version 1.2 or later, and only ciphers with forward secrecy, so that a key that is stolen
later reads nothing that was said before."""

from typing import Any, Final

from twisted.internet.interfaces import IListeningPort
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, TLSVersion

from chatserver.net.ports import TlsInside

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"
"""For TLS 1.2, as OpenSSL names them. All ciphers of TLS 1.3, which is preferred, have forward secrecy."""


class ForwardSecret(TlsInside):
    """A reactor for endpoints whose TLS ports have these settings, whatever the endpoint's own `sslmethod` is."""

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        return super().listenSSL(port, factory, forward_secret(contextFactory), backlog, interface)


def forward_secret(options: Any) -> Any:
    """The same certificate with these settings."""
    if not isinstance(options, CertificateOptions):
        return options
    return CertificateOptions(
        privateKey=options.privateKey,
        certificate=options.certificate,
        extraCertChain=options.extraCertChain or None,
        dhParameters=options.dhParameters,
        acceptableCiphers=AcceptableCiphers.fromOpenSSLCipherString(CIPHERS),
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )
