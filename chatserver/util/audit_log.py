"""Audit log: one line for each event that concerns security, with the client's address and the account's name.

Administrators and fail2ban read these lines (deploy/fail2ban/, docs/security.md): their form is an interface. A line is
`audit: EVENT key=value ...`. Values are printable ASCII without blanks and quotes; all other characters are escaped as
in a Python string. A line never contains a password, a token or a message. The log event also has the values,
unescaped, as fields: a log in JSON has both.
"""

from typing import Any

from twisted.logger import Logger

_log = Logger(namespace="chatserver.audit")  # administrators filter for this name, so it does not follow the module


def logged_in(address: str, name: str, how: str) -> None:
    """`how`: password, token, session, certificate or guest."""
    _write("login", address=address, name=name, how=how)


def login_failed(address: str, name: str, why: str) -> None:
    """A wrong password, token, certificate, secret of a kept session, or registration code (`why`: code)."""
    _write("failed-login", address=address, name=name, why=why)


def copied(address: str, name: str, session: int) -> None:
    """Somebody has presented a secret of a kept session that was replaced before: there is a copy, and it has ended."""
    _write("copied-secret", address=address, name=name, session=session)


def registered(address: str, name: str) -> None:
    _write("registered", address=address, name=name)


def began(address: str, session: str, door: str) -> None:
    """A connection began; `session` is the id by which its end is found."""
    _log_event("began", {"address": address, "session": session, "door": door}, routine=True)


def ended(address: str, name: str, reason: str, **facts: str | float) -> None:
    """A connection ended; `name` is empty if it was not logged in."""
    _log_event("ended", {"address": address, "name": name, "reason": reason, **facts}, routine=True)


def refused(address: str, why: str) -> None:
    """A new connection was not admitted."""
    _write("refused", address=address, why=why)


def offence(address: str, what: str) -> None:
    """The client did something that no chat client does, such as speak a foreign protocol; `what`: the reason with
    which the connection ended."""
    _write("offence", address=address, what=what)


def acted(address: str, name: str, act: str, **what: str | float) -> None:
    """Somebody used the power of an operator or moderator. `act`: the command, such as ban."""
    _write("act", address=address, name=name, act=act, **what)


def _write(event: str, **fields: str | float) -> None:
    _log_event(event, fields)


def _log_event(event: str, fields: dict[str, str | float], *, routine: bool = False) -> None:
    """`routine`: the event concerns operation rather than security, and is not logged at higher levels."""
    known: dict[str, Any] = {key: value for key, value in fields.items() if value != ""}
    pairs = " ".join(f"{key}={_safe(str(value))}" for key, value in known.items())
    _log.info("audit: {event} {pairs}", event=event, pairs=pairs, log_routine=routine, **known)


def _safe(value: str) -> str:
    return value.encode("unicode_escape").decode("ascii").replace(" ", "\\x20").replace('"', "\\x22")
