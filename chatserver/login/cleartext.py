"""Refuses secrets on connections without TLS, if the settings say so."""

from collections.abc import Sequence

from chatserver.session.session import Session
from chatserver.settings.endpoint import parse
from chatserver.settings.tables import Server
from chatserver.values import commands as c
from chatserver.values.errors import Refused, Why


class Cleartext:
    """Refuses secrets where others can read them, unless the setting `plaintext_login` allows them."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def forbids(self, session: Session) -> bool:
        """Whether passwords are refused on this connection."""
        return not self._server.plaintext_login and session.peer.exposed()

    def check(self, session: Session, command: c.Command) -> None:
        """Raises Refused for a command with a secret that others could read."""
        if carries_secret(command) and self.forbids(session):
            raise remedy(self._server, for_people=session.dialect.for_people)


def carries_secret(command: c.Command) -> bool:
    """Whether a command contains a password or a token, or leads to one, as a typed name does."""
    match command:
        case c.Login() | c.Register() | c.TypedName() | c.TypedAnswer() | c.TypedPassword() | c.Password() | c.Forget():
            return True
        case c.Rename(password=password):
            return password is not None
        case c.Token(label=label):
            return label is not None  # the answer is a secret, too
        case _:
            return False


def remedy(server: Server, *, for_people: bool) -> Refused:
    """Tells the client where to connect instead."""
    lines, sockets = _ports(server.listen)
    if for_people:
        return Refused(Why.TLS_REQUIRED_TYPED_AT, port=lines[0]) if lines else Refused(Why.TLS_REQUIRED_TYPED)
    where = [f"port {port}" for port in lines] + [f"port {port} (WebSocket)" for port in sockets]
    return Refused(Why.TLS_REQUIRED_AT, ports=" or ".join(where)) if where else Refused(Why.TLS_REQUIRED)


def _ports(listen: Sequence[str]) -> tuple[list[str], list[str]]:
    """The ports with TLS, for lines and for WebSocket."""
    secure = [one for one in map(parse, listen) if one.kind == "ssl" and one.port not in ("", "0")]
    return [one.port for one in secure if not one.door], [one.port for one in secure if one.door]
