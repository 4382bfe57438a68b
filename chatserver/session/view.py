"""What a person has on their screen. Programs have no view: they keep track themselves of what they have seen."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import structs

from chatserver.session.retry import MESSAGES, Kept
from chatserver.session.shown import Marks
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
"""Maximum number of typed passwords and tokens, the last ones, that are remembered so as not to be posted."""

POSTING: Final = frozenset[type[c.Command]]({*c.COMMANDS, c.Amend}).difference(
    (c.Password, c.Forget, c.Login, c.Register, c.Ping, c.Help, c.Quit, c.Logout)
)
"""Commands whose line is checked for passwords: whatever they show, store or look up."""


class View:
    """`current` is the room that a person looks at, as they call it: what they type goes there.

    `marks`: what they have seen of each room. `echoes`: (room id, seq) of entries that they
    typed here, or that an answer told them of, so that these are not shown again. `ignored`: the accounts that they
    ignore; what these say counts as seen. `renamed`: of which account they were told last that it has another name, and
    since when: the entries of all rooms say the same.
    """

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

    # What they type

    def parse(
        self, dialect: Dialect, line: str, stage: Stage, name: str, kind: AccountKind
    ) -> c.Command | Rejected | None:
        """The command on a line of this person. Refuses what would post a password or a token."""
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
        """Whether the next line is taken for a password: a command asks for it."""
        return self._asked is not None

    def _answered(self, asked: c.Token, typed: c.Command | Rejected | None) -> c.Command | Rejected | None:
        """What was typed at the prompt for the password."""
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
        """The command for which the password was to be asked is refused."""
        self._asked = None

    # What they are shown

    def suppress(self, room_id: int, entries: Sequence[Entry]) -> None:
        """The person knows already what these entries say."""
        self.echoes |= {(room_id, entry.seq) for entry in entries}

    def hidden(self, room_id: int, entries: Sequence[Entry]) -> frozenset[int]:
        """The numbers of those entries that are not shown."""
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
        """These entries, consecutive ones, have been sent, but for hidden ones. Gives the last one that is visible.

        `offset`: how many bytes had been written to the connection then. `ends`: see `Marks.show`."""
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
            self.renamed = None  # the other rooms have been told by now
        return visible


_SHOWN: Final = Rejected(Refused(Why.SHOWS_SECRET))
