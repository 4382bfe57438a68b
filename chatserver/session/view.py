"""The screen of a person. Programs have none: they keep track of entries themselves."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import Final, Protocol

from msgspec import structs

from chatserver.session.read_marks import Marks
from chatserver.session.retry import MESSAGES, Kept
from chatserver.values import commands as c
from chatserver.values.answers import Said
from chatserver.values.commands import CURRENT
from chatserver.values.errors import Refused, Rejected, Why
from chatserver.values.events import (
    BOT,
    ERASED,
    GAP,
    GUEST,
    MESSAGE,
    RENAMED,
    AccountKind,
    Entry,
    Notify,
    RoomFacts,
)
from chatserver.values.ignoring import is_hidden
from chatserver.values.stages import Stage
from chatserver.wire.dialect import NONE, Dialect
from chatserver.wire.hygiene import secrets
from chatserver.wire.hygiene.text import MAX_LINES, MAX_MESSAGE, message_text, reaction_text

MAX_SECRETS = 8
"""Maximum number of remembered passwords and tokens, the last ones typed, which must not be posted."""

PRIVATE_SECONDS: Final = 5.0
"""How long after a private message a line for a public room may be an answer to it."""

POSTING: Final = frozenset[type[c.Command]]({*c.COMMANDS, c.Amend, c.ToLast, c.Respond}).difference(
    (c.Password, c.Forget, c.Login, c.Register, c.Ping, c.Help, c.Server, c.Quit, c.Logout)
)
"""Commands whose lines are checked for passwords, since they show, store or look up what is typed."""


MOST_SHOWN: Final = 16
"""Number of authors in rooms whose last message is remembered."""


class Place(Protocol):
    """A room of the person."""

    facts: RoomFacts


NO_ROOMS: Final[Mapping[str, Place]] = {}


class LastShown:
    """The last messages of others that the terminal has shown, which people mean when they give no number."""

    __slots__ = ("_messages", "private", "private_at", "private_name")

    def __init__(self) -> None:
        self._messages: dict[tuple[int, int], tuple[int, str]] = {}
        """By room and author, the one shown last at the end: the seq, and the author's name in lower case."""
        self.private = 0
        """The direct room in which somebody else wrote last."""
        self.private_name = ""
        """Who that was."""
        self.private_at = 0.0
        """When one was shown that had just been written, by the monotonic clock."""

    def show(self, facts: RoomFacts, entries: Sequence[Entry], reader_id: int, *, past: bool = False) -> None:
        """`past`: the person asked for them."""
        for entry in entries:
            if entry.kind == ERASED:
                self._forget(facts.id, entry.of)
            elif entry.kind == MESSAGE and entry.state != ERASED and entry.author_id not in (0, reader_id):
                key = facts.id, entry.author_id
                known = self._messages.pop(key, (0, ""))
                self._messages[key] = max(known, (entry.seq, entry.author.lower()))
                if facts.pair is not None:
                    self.private, self.private_name = facts.id, entry.author
                    self.private_at = self.private_at if past else monotonic()
        while len(self._messages) > MOST_SHOWN:
            del self._messages[next(iter(self._messages))]

    def _forget(self, room_id: int, seq: int) -> None:
        self._messages = {key: one for key, one in self._messages.items() if (key[0], one[0]) != (room_id, seq)}

    def find(self, room_id: int, name: str = "") -> int | None:
        """The seq of the last message in a room, by whoever has this name, in lower case, or by anybody."""
        return max(
            (seq for (room, _), (seq, by) in self._messages.items() if room == room_id and name in ("", by)),
            default=None,
        )


class View:
    """`current`: the label of the room that typed lines go to. `marks`: the entries of each room that they have seen.
    `echoes`: (room id, seq) of entries that are not shown again, since the person typed them here or an answer showed
    them. `ignored`: accounts that they ignore; entries of these count as seen.
    `notify`: by room id, when the bell rings there, if not as elsewhere. `renamed`: the account whose rename was
    shown last, and its time: the entries in other rooms that say the same are not shown."""

    __slots__ = (
        "_asked",
        "_asked_about",
        "_knows_private",
        "_pasted",
        "_secrets",
        "chosen",
        "current",
        "echoes",
        "ignored",
        "is_adrift",
        "kept",
        "last",
        "marks",
        "notify",
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
        self.notify: dict[int, Notify] = {}
        self.renamed: tuple[int, datetime] | None = None
        self.chosen = ""  # the password for a new account, until it is typed again
        self.kept = Kept()
        self.last = LastShown()
        self._secrets: tuple[str, ...] = ()  # passwords and tokens typed here, which must not be posted
        self._asked_about: frozenset[int] = NONE  # direct rooms for which a line typed elsewhere may have been meant
        self._knows_private = False
        self._pasted: list[str] | None = None  # lines of a message that is not complete
        self._asked: c.Token | None = None  # the command for which the password is asked

    # Input

    def parse(
        self,
        dialect: Dialect,
        line: str,
        stage: Stage,
        name: str,
        kind: AccountKind,
        rooms: Mapping[str, Place] = NO_ROOMS,
    ) -> c.Command | Rejected | None:
        """Parses a line. Refuses a command that would post a password or a token. `rooms`: those of the person, by
        label in lower case."""
        if self._asked is not None and stage is Stage.IN:
            return self._answered(self._asked, dialect.parse(line, Stage.PASSWORD))
        if self._pasted is not None and stage is Stage.IN:
            return self._paste(self._pasted, line, name)
        parsed = dialect.parse(line, stage)
        if isinstance(parsed, Rejected):
            return _SHOWN if secrets.shows(dialect.text(parsed.refused.sentence), self._secrets) else parsed
        if parsed is None:
            return None
        if stage is not Stage.IN:
            self._secrets = ()  # of several attempts to log in the last one was right
        elif type(parsed) in POSTING:
            held_back = self._held_back(line, name)
            if held_back is not None:
                return held_back
            if isinstance(parsed, c.Token) and parsed.label is not None and kind not in (GUEST, BOT):
                self._asked = parsed
        self._remember(parsed)
        if isinstance(parsed, c.Paste):
            self._pasted = []
        try:
            if not line.lstrip().startswith("/"):
                self._ask_about_private(parsed, rooms)
            meant = self._meant(parsed, rooms)
        except Refused as refused:
            return Rejected(refused)
        return self.kept.identified(meant, echoed=meant is not parsed) if isinstance(meant, MESSAGES) else meant

    def _ask_about_private(self, command: c.Command, rooms: Mapping[str, Place]) -> None:
        """Raises Refused, once for each person, if a plain line may be meant for somebody who wrote privately just
        now."""
        if not isinstance(command, c.Say) or command.room != CURRENT or self.last.private in self._asked_about:
            return
        if not self.last.private_at or monotonic() - self.last.private_at > PRIVATE_SECONDS:
            return
        label = self._private(rooms)
        here = rooms.get(self.current.lower())
        if label is not None and here is not None and here.facts.pair is None:
            self._asked_about |= {self.last.private}
            raise Refused(Why.MEANT_PRIVATELY, name=self.last.private_name, room=self.current)

    def _meant(self, command: c.Command, rooms: Mapping[str, Place]) -> c.Command:
        """The command, with the message or the room that it leaves open. Raises Refused."""
        if isinstance(command, c.ToLast):
            return self._to_last(command, rooms)
        if isinstance(command, c.Respond):
            label = self._private(rooms)
            if label is None:
                raise Refused(Why.NOBODY_WROTE)
            return c.Say(room=label, text=command.text)
        return command

    def _private(self, rooms: Mapping[str, Place]) -> str | None:
        """The label of the direct room in which somebody wrote last."""
        return next((label for label, room in rooms.items() if room.facts.id == self.last.private), None)

    def _to_last(self, command: c.ToLast, rooms: Mapping[str, Place]) -> c.Command:
        """Names the room: by the time that the command is served, another one may be the current one."""
        label = command.room or self.current
        room = rooms.get(label.lower())
        seq, words = None, command.words
        if room is not None:
            first, _, rest = words.partition(" ")
            name = first.removeprefix("@").rstrip(",:").lower()
            if rest.strip() and name:
                seq = self.last.find(room.facts.id, name)
            if seq is not None:
                words = rest.strip()
            else:
                seq = self.last.find(room.facts.id)
        if seq is None:
            raise Refused(Why.NOTHING_SHOWN, command=command.what)
        if command.what == "reply":
            return c.Reply(room=label, seq=seq, text=words)
        remove = command.what == "unreact"
        return c.React(room=label, seq=seq, reaction=reaction_text(words), remove=remove)

    def _held_back(self, text: str, name: str) -> Rejected | None:
        """The refusal of one or several lines that would post a password or a token."""
        if secrets.shows(text, self._secrets):
            return _SHOWN
        for line in text.split("\n"):
            bare = secrets.is_bare(line, name)
            if bare:
                return Rejected(Refused(Why.BARE_COMMAND, command=bare, room=self.current or "ROOM"))
        return None

    def _paste(self, pasted: list[str], line: str, name: str) -> c.Command | Rejected | None:
        """Takes a line of a message of several; the message, once it is complete. A message that is too long is refused
        when it ends, so that its rest is not sent line by line."""
        is_too_long = len(pasted) > MAX_LINES or sum(map(len, pasted)) > MAX_MESSAGE
        if line.rstrip() != ".":
            if not is_too_long:
                pasted.append(line)
            return None
        self._pasted = None
        if is_too_long:
            return Rejected(Refused(Why.TOO_MUCH_PASTED, lines=MAX_LINES, most=MAX_MESSAGE))
        text = "\n".join(pasted)
        held_back = self._held_back(text, name)
        if held_back is not None:
            return held_back
        try:
            return self.kept.identified(c.Say(room=CURRENT, text=message_text(text)))
        except Refused as refused:
            return Rejected(refused)

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

    def is_news_private(self, room_id: int, label: str) -> bool:
        """Whether a person is told now who sees what was shown of this direct room: at the first message of somebody
        else in a room that is not their current one."""
        if self._knows_private or room_id != self.last.private or label.lower() == self.current.lower():
            return False
        self._knows_private = True
        return True

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

    def shown(
        self, facts: RoomFacts, entries: Sequence[Entry], reader_id: int, offset: int = 0, ends: Sequence[int] = ()
    ) -> Entry | None:
        """Notes that these consecutive entries were sent, except hidden ones, to this account. Returns the last visible
        one.

        `offset`: number of bytes written to the connection by then. `ends`: see `Marks.show`.
        """
        room_id = facts.id
        self.marks.show(room_id, entries, offset, ends)
        last = entries[-1]
        visible = entries
        if self.echoes or self.ignored or self.renamed is not None:
            visible = [entry for entry in entries if not self._is_hidden(room_id, entry)]
            self.echoes -= {(room_id, entry.seq) for entry in entries}
        self.last.show(facts, visible, reader_id)
        if last.kind == RENAMED:
            self.renamed = last.author_id, last.at
        elif self.renamed is not None and last.at > self.renamed[1]:
            self.renamed = None  # the other rooms have been notified by now
        return visible[-1] if visible else None


_SHOWN: Final = Rejected(Refused(Why.SHOWS_SECRET))
