"""The screen of a person. Programs have none: they keep track of entries themselves."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import structs

from chatserver.session.read_marks import Marks
from chatserver.session.retry import MESSAGES, Kept
from chatserver.values import commands as c
from chatserver.values.answers import Said
from chatserver.values.commands import CURRENT
from chatserver.values.errors import Refused, Rejected, Why
from chatserver.values.events import BOT, GAP, GUEST, RENAMED, AccountKind, Entry
from chatserver.values.ignoring import is_hidden
from chatserver.values.stages import Stage
from chatserver.wire.dialect import NONE, Dialect
from chatserver.wire.hygiene import secrets

MAX_SECRETS = 8
"""Maximum number of remembered passwords and tokens, the last ones typed, which must not be posted."""

POSTING: Final = frozenset[type[c.Command]]({*c.COMMANDS, c.Amend}).difference(
    (c.Password, c.Forget, c.Login, c.Register, c.Ping, c.Help, c.Quit, c.Logout)
)
"""Commands whose lines are checked for passwords, since they show, store or look up what is typed."""


class View:
    """`current`: the label of the room that typed lines go to. `marks`: the entries of each room that they have seen.
    `echoes`: (room id, seq) of entries that are not shown again, since the person typed them here or an answer showed
    them. `ignored`: accounts that they ignore; entries of these count as seen. `renamed`: the account whose rename was
    shown last, and its time: the entries in other rooms that say the same are not shown."""

    __slots__ = (
        "_asked",
        "_secrets",
        "chosen",
        "current",
        "echoes",
        "ignored",
        "is_adrift",
        "kept",
        "marks",
        "renamed",
        "said",
    )

    def __init__(self) -> None:
        self.current = CURRENT
        self.is_adrift = False  # whether they have left that room, and look at no other one yet
        self.marks = Marks()
        self.said: Said | None = None  # the answer to their last command, if it was not shown to them
        self.echoes: frozenset[tuple[int, int]] = NONE
        self.ignored: frozenset[int] = NONE
        self.renamed: tuple[int, datetime] | None = None
        self.chosen = ""  # the password for a new account, until it is typed again
        self.kept = Kept()
        self._secrets: tuple[str, ...] = ()  # passwords and tokens typed here, which must not be posted
        self._asked: c.Token | None = None  # the command for which the password is asked

    # Input

    def parse(
        self, dialect: Dialect, line: str, stage: Stage, name: str, kind: AccountKind
    ) -> c.Command | Rejected | None:
        """Parses a line. Refuses a command that would post a password or a token."""
        if self._asked is not None and stage is Stage.IN:
            return self._answered(self._asked, dialect.parse(line, Stage.PASSWORD))
        parsed = dialect.parse(line, stage)
        if isinstance(parsed, Rejected):
            return _SHOWN if secrets.shows(dialect.text(parsed.refused.sentence), self._secrets) else parsed
        if parsed is None:
            return None
        if stage is not Stage.IN:
            self._secrets = ()  # of several attempts to log in the last one was right
        elif type(parsed) in POSTING:
            if secrets.shows(line, self._secrets):
                return _SHOWN
            bare = secrets.is_bare(line, name)
            if bare:
                return Rejected(Refused(Why.BARE_COMMAND, command=bare, room=self.current or "ROOM"))
            if isinstance(parsed, c.Token) and parsed.label is not None and kind not in (GUEST, BOT):
                self._asked = parsed
        self._remember(parsed)
        return self.kept.identified(parsed) if isinstance(parsed, MESSAGES) else parsed

    @property
    def asks_password(self) -> bool:
        """Whether a command waits for the password, which the next line is."""
        return self._asked is not None

    def _answered(self, asked: c.Token, typed: c.Command | Rejected | None) -> c.Command | Rejected | None:
        """The command, once its password is typed."""
        self._asked = None
        if not isinstance(typed, c.TypedPassword):
            return typed
        if not typed.password.strip():
            return Rejected(Refused(Why.NO_TOKEN_CREATED))
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
        """Drops the command that waits for the password: it is refused."""
        self._asked = None

    # Output

    def suppress(self, room_id: int, entries: Sequence[Entry]) -> None:
        """Hides these entries: the person knows their contents already."""
        self.echoes |= {(room_id, entry.seq) for entry in entries}

    def hidden(self, room_id: int, entries: Sequence[Entry]) -> frozenset[int]:
        """The numbers of the entries that are not shown."""
        if not self.echoes and not self.ignored and self.renamed is None:
            return NONE
        return frozenset(entry.seq for entry in entries if self._is_hidden(room_id, entry))

    def _is_hidden(self, room_id: int, entry: Entry) -> bool:
        if self.ignored and is_hidden(entry, self.ignored):
            return True
        if entry.kind == RENAMED and (entry.author_id, entry.at) == self.renamed:
            return True
        return (room_id, entry.seq) in self.echoes and entry.kind != GAP

    def shown(self, room_id: int, entries: Sequence[Entry], offset: int = 0, ends: Sequence[int] = ()) -> Entry | None:
        """Notes that these consecutive entries were sent, except hidden ones. Returns the last visible one.

        `offset`: number of bytes written to the connection by then. `ends`: see `Marks.show`.
        """
        self.marks.show(room_id, entries, offset, ends)
        last = entries[-1]
        visible: Entry | None = last
        if self.echoes or self.ignored or self.renamed is not None:
            left = [entry for entry in entries if not self._is_hidden(room_id, entry)]
            self.echoes -= {(room_id, entry.seq) for entry in entries}
            visible = left[-1] if left else None
        if last.kind == RENAMED:
            self.renamed = last.author_id, last.at
        elif self.renamed is not None and last.at > self.renamed[1]:
            self.renamed = None  # the other rooms have been notified by now
        return visible


_SHOWN: Final = Rejected(Refused(Why.SHOWS_SECRET))
