"""What is refused to clients whose bytes can be read on the way, if the settings say so: whatever carries a secret."""

from collections.abc import Sequence

from chatserver.session.session import Session
from chatserver.settings.endpoint import parse
from chatserver.settings.tables import Server
from chatserver.values import commands as c
from chatserver.values.errors import Refused, Why


class Cleartext:
    """Refuses secrets on connections that others can read, unless the setting `plaintext_login` allows them."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def forbids(self, session: Session) -> bool:
        """Whether passwords are refused on this connection."""
        return not self._server.plaintext_login and session.peer.exposed()

    def check(self, session: Session, command: c.Command) -> None:
        """Raises Refused for a command that carries a secret, where somebody could read it on the way."""
        if carries_secret(command) and self.forbids(session):
            raise remedy(self._server, for_people=session.dialect.for_people)


def carries_secret(command: c.Command) -> bool:
    """Whether a password or a token is in a command, or follows it. A name that a person types is followed by one."""
    match command:
        case c.Login() | c.Register() | c.TypedName() | c.TypedAnswer() | c.TypedPassword() | c.Password() | c.Forget():
            return True
        case c.Token(label=label):
            return label is not None  # the answer is a secret, too
        case _:
            return False


def remedy(server: Server, *, for_people: bool) -> Refused:
    """Says where a client connects instead."""
    lines, sockets = _ports(server.listen)
    if for_people:
        return Refused(Why.TLS_REQUIRED_TYPED_AT, port=lines[0]) if lines else Refused(Why.TLS_REQUIRED_TYPED)
    where = [f"port {port}" for port in lines] + [f"port {port} (WebSocket)" for port in sockets]
    return Refused(Why.TLS_REQUIRED_AT, ports=" or ".join(where)) if where else Refused(Why.TLS_REQUIRED)


def _ports(listen: Sequence[str]) -> tuple[list[str], list[str]]:
    """The ports with TLS: for lines, and for WebSocket."""
    secure = [one for one in map(parse, listen) if one.kind == "ssl" and one.port not in ("", "0")]
    return [one.port for one in secure if not one.door], [one.port for one in secure if one.door]
