"""What a person has on their screen. Programs have no view: they keep track themselves of what they have seen."""

from collections.abc import Sequence
from typing import Final

from msgspec import structs

from chatserver import commands as c
from chatserver.commands import CURRENT
from chatserver.errors import ErrorWord, Refused, Rejected
from chatserver.events import GAP, GUEST, AccountKind, Entry
from chatserver.stages import Stage
from chatserver.wire import secrets
from chatserver.wire.dialect import NONE, Dialect

MAX_SECRETS = 8
"""So many of the passwords and tokens that were typed last are not posted."""

POSTING: Final[frozenset[type[c.Command]]] = frozenset(
    set(c.COMMANDS) - {c.Password, c.Forget, c.Login, c.Register, c.Ping, c.Help, c.Quit, c.Logout}
)
"""Commands whose line is checked for passwords: whatever they show, store or look up."""


class View:
    """`current` is the room that a person looks at, as they call it: what they type goes there.

    `read`: by room id, the seq up to which they have seen everything. `echoes`: (room id, seq) of entries that they
    typed here, or that an answer told them of, so that these are not shown again.
    """

    __slots__ = ("_asked", "_secrets", "current", "echoes", "read")

    def __init__(self) -> None:
        self.current = CURRENT
        self.read: dict[int, int] = {}
        self.echoes: frozenset[tuple[int, int]] = NONE
        self._secrets: tuple[str, ...] = ()  # passwords and tokens typed here, which must not be posted
        self._asked: c.Token | None = None  # the command for which the password is asked

    # What they type

    def parse(
        self, dialect: Dialect, line: str, stage: Stage, name: str, kind: AccountKind
    ) -> c.Command | Rejected | None:
        """The command on a line of this person. Refuses what would post a password or a token."""
        if self._asked is not None and stage is Stage.IN:
            return self._answered(self._asked, dialect.parse(line, Stage.PASSWORD))
        parsed = dialect.parse(line, stage)
        if isinstance(parsed, Rejected):
            return _SHOWN if secrets.shows(parsed.refused.text, self._secrets) else parsed
        if parsed is None:
            return None
        if stage is not Stage.IN:
            self._secrets = ()  # of several attempts to log in the last one was right
        elif type(parsed) in POSTING:
            if secrets.shows(line, self._secrets):
                return _SHOWN
            bare = secrets.is_bare(line, name)
            if bare:
                return _refused(f"did you mean /{bare}? To say this line, use /say LINE.")
            if isinstance(parsed, c.Token) and parsed.label is not None and kind != GUEST:
                self._asked = parsed
        self._remember(parsed)
        return parsed

    def _answered(self, asked: c.Token, typed: c.Command | Rejected | None) -> c.Command | Rejected | None:
        """What was typed at the prompt for the password."""
        self._asked = None
        if not isinstance(typed, c.TypedPassword):
            return typed
        if not typed.password.strip():
            return Rejected(Refused(ErrorWord.EMPTY, "No token was created."))
        self._remember(typed)
        return structs.replace(asked, password=typed.password)

    def _remember(self, command: c.Command) -> None:
        match command:
            case c.TypedPassword(password=password) | c.Register(password=password) | c.Forget(password=password):
                typed: tuple[str, ...] = (password,)
            case c.Login(password=password, token=token):
                typed = (password, token)
            case c.Password(old=old, new=new):
                typed = (old, new)
            case _:
                return
        fresh = [secret for secret in map(secrets.normal, typed) if secret]
        self._secrets = (*(known for known in self._secrets if known not in fresh), *fresh)[-MAX_SECRETS:]

    def cancel(self) -> None:
        """The command for which the password was to be asked is refused."""
        self._asked = None

    # What they are shown

    def suppress(self, room_id: int, entries: Sequence[Entry]) -> None:
        """The person knows already what these entries say."""
        self.echoes |= {(room_id, entry.seq) for entry in entries}

    def hidden(self, room_id: int, entries: Sequence[Entry]) -> frozenset[int]:
        """The numbers of those entries that are not shown."""
        if not self.echoes:
            return NONE
        return frozenset(entry.seq for entry in entries if (room_id, entry.seq) in self.echoes and entry.kind != GAP)

    def shown(self, room_id: int, entries: Sequence[Entry]) -> Entry | None:
        """These entries, consecutive ones, have been sent, but for hidden ones. Gives the last one that is visible."""
        first = entries[0]
        before = (first.of if first.kind == GAP else first.seq) - 1
        if self.read.get(room_id) == before:  # nothing lacks behind what was seen before
            self.read[room_id] = entries[-1].seq
        if not self.echoes:
            return entries[-1]
        visible = [entry for entry in entries if (room_id, entry.seq) not in self.echoes]
        self.echoes -= {(room_id, entry.seq) for entry in entries}
        return visible[-1] if visible else None


def _refused(why: str) -> Rejected:
    return Rejected(Refused(ErrorWord.NOT_ALLOWED, f"Nothing was sent: {why}"))


_SHOWN: Final = _refused("this line contains a password or token that you typed.")
