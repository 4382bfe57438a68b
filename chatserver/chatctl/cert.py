"""`chatctl cert`: client certificates, with which accounts log in over TLS without a password."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import click
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from chatserver.chatctl.access import Access, Problem, access, find_person
from chatserver.chatctl.identity import opened
from chatserver.chatctl.output import PAGE, json_option, pages, plain, say, say_list
from chatserver.store import Connection, certificates
from chatserver.store.certificates import CertificateLine
from chatserver.wire.hygiene.text import label_text

_FINGERPRINT: Final = re.compile(r"(?:.*fingerprint=)?([0-9a-f]{64})", re.IGNORECASE)
"""A SHA-256 in hex without colons, perhaps with the words that openssl prints before it."""

MOST_BYTES: Final = 1 << 20
"""Maximum size of a file with a certificate."""


@click.group()
def cert() -> None:
    """Add, list and remove client certificates.

    With a certificate an account logs in over TLS without a password.
    """


@cert.command()
@click.argument("name")
@click.argument("certificate", metavar="FILE|FINGERPRINT")
@click.option("--label", help="What it is called in lists. Default: the first 12 digits of the fingerprint.")
@json_option
@access
def add(reach: Access, name: str, certificate: str, label: str | None, as_json: bool) -> None:
    """Let an account log in with a certificate.

    FILE is the certificate as PEM or DER, - for the standard input. FINGERPRINT is the SHA-256 of its DER form, in hex,
    with or without colons. Who has signed the certificate, and until when it is valid, does not matter.
    """
    sha256 = _fingerprint(certificate) or _read(certificate)
    if label is None:
        label = sha256[:12]
    elif not label.strip() or _fingerprint(label):
        raise click.UsageError("A label says what the certificate is for, such as laptop. It is no fingerprint.")
    label = label_text(label)
    found = reach.write(_add, name, label, sha256, reach.now())
    say(
        f"{found} can log in with the certificate {label} ({sha256}).",
        {"name": found, "label": label, "sha256": sha256},
        as_json,
    )


def _add(db: Connection, name: str, label: str, sha256: str, at: datetime) -> str:
    found = find_person(db, name)
    certificates.create(db, found.id, label, sha256, at)
    return found.name


def _fingerprint(typed: str) -> str:
    """In lower case without colons; "" if that is none."""
    found = _FINGERPRINT.fullmatch(typed.strip().replace(":", ""))
    return found[1].lower() if found else ""


def _read(path: str) -> str:
    """The fingerprint of the first certificate in a file. Raises Problem."""
    try:
        with click.open_file(path, "rb") if path == "-" else opened(path) as file:
            data = file.read(MOST_BYTES)
    except OSError as error:
        raise Problem(
            f"{path} cannot be read ({error.strerror}). Name a certificate's file or its SHA-256 fingerprint in hex."
        ) from None
    pem = b"-----BEGIN" in data
    try:
        found = x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
    except ValueError:
        raise Problem(f"There is no certificate in {path}. Name a file with one, as PEM or DER.") from None
    return found.fingerprint(SHA256()).hex()


@cert.command("list")
@click.argument("name", required=False)
@json_option
@access
def listing(reach: Access, name: str | None, as_json: bool) -> None:
    """List the certificates of all accounts or of one, oldest first.

    For each: account, label, SHA-256 fingerprint, when it was added and last used.
    """
    account_id = None if name is None else reach.read(find_person, name).id

    def read(last: int) -> Sequence[CertificateLine]:
        return reach.read(certificates.listing, last, PAGE, account_id)

    def row(line: CertificateLine) -> tuple[object, ...]:
        return line.name, line.label, line.sha256, line.created, line.last_used or "never"

    headings = ("Account", "Label", "SHA-256", "Added", "Last used")
    say_list(pages(read, lambda line: line.id), row, (32, 16, 64, 24, 0), plain, as_json, headings)


@cert.command()
@click.argument("name")
@click.argument("which", metavar="LABEL|FINGERPRINT")
@json_option
@access
def remove(reach: Access, name: str, which: str, as_json: bool) -> None:
    """Remove a certificate, and end the connections made with it."""
    found, label, sha256 = reach.write(_remove, name, which, reach.now())
    value = {"name": found, "label": label, "sha256": sha256, "removed": True}
    say(f"The certificate {label} of {found} is removed.", value, as_json)


def _remove(db: Connection, name: str, which: str, at: datetime) -> tuple[str, str, str]:
    found = find_person(db, name)
    gone = certificates.remove(db, found.id, _fingerprint(which) or which, at)
    if gone is None:
        raise Problem(f"{found.name} has no certificate {which}. See: chatctl cert list {found.name}")
    return found.name, *gone
