"""The log of what concerns security: one line for each event, with the client's address and the account's name.

Administrators and fail2ban read these lines (deploy/fail2ban/, docs/security.md): their form is an interface. A line
is `audit: EVENT key=value ...`. Values are printable ASCII without blanks and quotes, whoever chose them: all other
characters are escaped as in a Python string. A line never contains a password, a token or a message.
"""

from twisted.logger import Logger

_log = Logger()


def logged_in(address: str, name: str, how: str) -> None:
    """`how`: password, token or guest."""
    _write("login", address=address, name=name, how=how)


def login_failed(address: str, name: str, why: str) -> None:
    """A wrong password, token or registration code: `why` is one of these words."""
    _write("failed-login", address=address, name=name, why=why)


def registered(address: str, name: str) -> None:
    _write("registered", address=address, name=name)


def ended(address: str, name: str, reason: str) -> None:
    """A connection ended; `name` is empty if it was not logged in."""
    _write("ended", address=address, name=name, reason=reason)


def refused(address: str, why: str) -> None:
    """A new connection was not admitted."""
    _write("refused", address=address, why=why)


def offence(address: str, what: str) -> None:
    """Something that no chat client does, such as a foreign protocol; `what`: the reason the connection ended with."""
    _write("offence", address=address, what=what)


def acted(address: str, name: str, act: str, **what: str) -> None:
    """Somebody used the power of an operator or moderator: `act` is the command, such as ban."""
    _write("act", address=address, name=name, act=act, **what)


def _write(event: str, **fields: str) -> None:
    pairs = " ".join(f"{key}={_safe(value)}" for key, value in fields.items() if value)
    _log.info("audit: {event} {pairs}", event=event, pairs=pairs)


def _safe(value: str) -> str:
    return value.encode("unicode_escape").decode("ascii").replace(" ", "\\x20").replace('"', "\\x22")
