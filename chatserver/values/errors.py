# ruff: noqa: PIE796 (several reasons share an error word)
"""Refusals and other sentences for people, as a reason and its fields. The dialects have the words
(`wire/sentences.py`)."""

from enum import Enum, StrEnum, auto
from typing import Final, Self


class ErrorWord(StrEnum):
    """The field `error` of an answer; the field `text` beside it is for people."""

    UNDECODABLE = "undecodable"
    LINE_TOO_LONG = "line-too-long"
    BAD_COMMAND = "bad-command"
    LOGIN_REQUIRED = "login-required"
    BAD_CREDENTIALS = "bad-credentials"
    BAD_NAME = "bad-name"
    BAD_PASSWORD = "bad-password"
    NAME_TAKEN = "name-taken"
    NO_SUCH_ROOM = "no-such-room"
    NO_SUCH_USER = "no-such-user"
    ROOM_TAKEN = "room-taken"
    NOT_A_MEMBER = "not-a-member"
    INVITE_ONLY = "invite-only"
    NOT_ALLOWED = "not-allowed"
    BANNED = "banned"
    MUTED = "muted"
    BLOCKED = "blocked"
    DIRECT_ROOM = "direct-room"
    EMPTY = "empty"
    TOO_LONG = "too-long"
    ID_CONFLICT = "id-conflict"
    CLOSED_REGISTRATION = "closed-registration"
    TLS_REQUIRED = "tls-required"
    SLOW_DOWN = "slow-down"
    UNAVAILABLE = "unavailable"
    TOO_MANY_CONNECTIONS = "too-many-connections"
    SHUTDOWN = "shutdown"


class Why(Enum):
    """The reason of a refusal. Programs know only its error word; a sentence tells people the rest."""

    word: ErrorWord

    def __new__(cls, word: ErrorWord) -> Self:
        member = object.__new__(cls)
        member._value_ = len(cls.__members__) + 1
        member.word = word
        return member

    UNDECODABLE = ErrorWord.UNDECODABLE
    FOREIGN = ErrorWord.UNDECODABLE
    LINE_TOO_LONG = ErrorWord.LINE_TOO_LONG
    NO_SUCH_TOKEN = ErrorWord.BAD_COMMAND
    NO_SUCH_SESSION = ErrorWord.BAD_COMMAND
    TOKEN_NOT_KEPT = ErrorWord.BAD_COMMAND
    NOT_CONTAINED = ErrorWord.BAD_COMMAND
    NOTHING_SAID = ErrorWord.BAD_COMMAND
    NOTHING_SHOWN = ErrorWord.BAD_COMMAND
    NOBODY_WROTE = ErrorWord.BAD_COMMAND
    TOO_MUCH_PASTED = ErrorWord.BAD_COMMAND
    MEANT_PRIVATELY = ErrorWord.BAD_COMMAND
    LAST_IS_ERASED = ErrorWord.BAD_COMMAND
    NO_SUCH_MESSAGE = ErrorWord.BAD_COMMAND
    MESSAGE_REMOVED = ErrorWord.BAD_COMMAND
    ONE_OF_BEFORE_AFTER_SINCE = ErrorWord.BAD_COMMAND
    NO_TIME = ErrorWord.BAD_COMMAND
    NAME_OR_DISPLAY = ErrorWord.BAD_COMMAND
    NO_PASSWORD_NO_CERTIFICATE = ErrorWord.BAD_COMMAND
    NO_CURRENT_ROOM = ErrorWord.BAD_COMMAND
    CERTIFICATE_KNOWN = ErrorWord.BAD_COMMAND
    CERTIFICATE_LABEL_TAKEN = ErrorWord.BAD_COMMAND
    NOT_AN_EXPORT_PAGE = ErrorWord.BAD_COMMAND
    TOKEN_LABEL_TAKEN = ErrorWord.BAD_COMMAND
    ALREADY_LOGGED_IN = ErrorWord.BAD_COMMAND
    NO_ADDRESS = ErrorWord.BAD_COMMAND
    BROKEN_LETTER = ErrorWord.BAD_COMMAND
    REACTION_ONE_WORD = ErrorWord.BAD_COMMAND
    REACTION_SIGNS = ErrorWord.BAD_COMMAND
    REACTION_BEGINS = ErrorWord.BAD_COMMAND
    REACTION_RIGHT_TO_LEFT = ErrorWord.BAD_COMMAND
    ALREADY_LOGGED_IN_TYPED = ErrorWord.BAD_COMMAND
    BAN_OF_ADDRESS = ErrorWord.BAD_COMMAND
    YES_OR_NO = ErrorWord.BAD_COMMAND
    USAGE = ErrorWord.BAD_COMMAND
    MEANT_NOT_SAID = ErrorWord.BAD_COMMAND
    MEANT_NOT_DONE = ErrorWord.BAD_COMMAND
    BAD_PACE = ErrorWord.BAD_COMMAND
    PACE_TOO_LONG = ErrorWord.BAD_COMMAND
    NO_SUCH_ZONE = ErrorWord.BAD_COMMAND
    NO_SUCH_ZONE_BUT = ErrorWord.BAD_COMMAND
    FIELD_TOO_LONG = ErrorWord.BAD_COMMAND
    FIELD_UNUSABLE = ErrorWord.BAD_COMMAND
    FIELD_HAS_CONTROL = ErrorWord.BAD_COMMAND
    TOO_MANY_MARKS = ErrorWord.BAD_COMMAND
    ONE_OF_WORDS = ErrorWord.BAD_COMMAND
    NO_SUCH_COMMAND_TYPED = ErrorWord.BAD_COMMAND
    UNSTORABLE = ErrorWord.BAD_COMMAND
    FIELD_MISSING = ErrorWord.BAD_COMMAND
    LABEL_REVOKE_OR_LIST = ErrorWord.BAD_COMMAND
    NAME_OR_ADDRESS = ErrorWord.BAD_COMMAND
    BAN_OF_ADDRESS_IN_ROOM = ErrorWord.BAD_COMMAND
    BAD_TAG = ErrorWord.BAD_COMMAND
    TAG_TOO_LARGE = ErrorWord.BAD_COMMAND
    FIELD_TWICE = ErrorWord.BAD_COMMAND
    FIELD_OUT_OF = ErrorWord.BAD_COMMAND
    FIELD_WRONG = ErrorWord.BAD_COMMAND
    NO_SUCH_COMMAND = ErrorWord.BAD_COMMAND
    NO_SUCH_COMMAND_BUT = ErrorWord.BAD_COMMAND
    LOGIN_REQUIRED = ErrorWord.LOGIN_REQUIRED
    LOGIN_REQUIRED_TYPED = ErrorWord.LOGIN_REQUIRED
    WRONG_PASSWORD_OR_NAME = ErrorWord.BAD_CREDENTIALS
    WRONG_CERTIFICATE = ErrorWord.BAD_CREDENTIALS
    WRONG_PASSWORD = ErrorWord.BAD_CREDENTIALS
    WRONG_TOKEN = ErrorWord.BAD_CREDENTIALS
    WRONG_SECRET = ErrorWord.BAD_CREDENTIALS
    NAME_LOOKS_ALIKE = ErrorWord.BAD_NAME
    NAME_HAD_BY_ANOTHER = ErrorWord.BAD_NAME
    NAME_RESERVED = ErrorWord.BAD_NAME
    NAME_OF_THE_ERASED = ErrorWord.BAD_NAME
    BAD_USER_NAME = ErrorWord.BAD_NAME
    BAD_ROOM_NAME = ErrorWord.BAD_NAME
    DISPLAY_NAME_MARKS = ErrorWord.BAD_NAME
    DISPLAY_NAME_RIGHT_TO_LEFT = ErrorWord.BAD_NAME
    DISPLAY_NAME_SIGNS = ErrorWord.BAD_NAME
    DISPLAY_NAME_BEGINS = ErrorWord.BAD_NAME
    DISPLAY_NAME_WITHOUT_LETTER = ErrorWord.BAD_NAME
    DISPLAY_NAME_TOO_WIDE = ErrorWord.BAD_NAME
    DISPLAY_NAME_RESERVED = ErrorWord.BAD_NAME
    PASSWORD_TOO_SHORT = ErrorWord.BAD_PASSWORD
    PASSWORDS_DIFFER = ErrorWord.BAD_PASSWORD
    PASSWORD_CONTROLS = ErrorWord.BAD_PASSWORD
    PASSWORD_TOO_LONG = ErrorWord.BAD_PASSWORD
    PASSWORD_MARKS = ErrorWord.BAD_PASSWORD
    NAME_TAKEN_LOG_IN = ErrorWord.NAME_TAKEN
    NAME_TAKEN = ErrorWord.NAME_TAKEN
    NO_SUCH_ROOM = ErrorWord.NO_SUCH_ROOM
    NO_SUCH_INVITATION = ErrorWord.NO_SUCH_USER
    NOT_IN_ROOM = ErrorWord.NO_SUCH_USER
    NOT_BANNED = ErrorWord.NO_SUCH_USER
    NO_SUCH_BAN = ErrorWord.NO_SUCH_USER
    RENAMED = ErrorWord.NO_SUCH_USER
    NO_SUCH_USER = ErrorWord.NO_SUCH_USER
    ROOM_TAKEN = ErrorWord.ROOM_TAKEN
    NOT_A_MEMBER = ErrorWord.NOT_A_MEMBER
    NOT_IN_ROOM_OF_TOKEN = ErrorWord.NOT_A_MEMBER
    INVITE_ONLY = ErrorWord.INVITE_ONLY
    NOT_YOUR_MESSAGE = ErrorWord.NOT_ALLOWED
    TOO_MANY_INVITATIONS_SENT = ErrorWord.NOT_ALLOWED
    TOO_MANY_INVITATIONS_TO = ErrorWord.NOT_ALLOWED
    TOO_MANY_INVITATIONS_BETWEEN = ErrorWord.NOT_ALLOWED
    NEEDS_AN_OWNER = ErrorWord.NOT_ALLOWED
    BANS_SELF = ErrorWord.NOT_ALLOWED
    BANS_OPERATOR = ErrorWord.NOT_ALLOWED
    BLOCKS_SELF = ErrorWord.NOT_ALLOWED
    TOO_MANY_BLOCKED = ErrorWord.NOT_ALLOWED
    IGNORES_SELF = ErrorWord.NOT_ALLOWED
    TOO_MANY_IGNORED = ErrorWord.NOT_ALLOWED
    BOT_NAMED_BY_OTHERS = ErrorWord.NOT_ALLOWED
    NOT_ABOVE = ErrorWord.NOT_ALLOWED
    ONLY_OPERATORS = ErrorWord.NOT_ALLOWED
    BOT_HAS_NO_PASSWORD = ErrorWord.NOT_ALLOWED
    NOT_FOR_GUESTS = ErrorWord.NOT_ALLOWED
    TOO_MANY_ROOMS_OWNED = ErrorWord.NOT_ALLOWED
    DEFAULT_ROOM = ErrorWord.NOT_ALLOWED
    PAST_BY_MEMBERS = ErrorWord.NOT_ALLOWED
    NO_GUESTS = ErrorWord.NOT_ALLOWED
    BOT_NEEDS_TOKEN = ErrorWord.NOT_ALLOWED
    NO_OWNER_OF_BOTS = ErrorWord.NOT_ALLOWED
    TOO_MANY_PINS = ErrorWord.NOT_ALLOWED
    IN_TOO_MANY_ROOMS_TO_RENAME = ErrorWord.NOT_ALLOWED
    TOO_MANY_FORMER_NAMES = ErrorWord.NOT_ALLOWED
    TOO_MANY_TOKENS = ErrorWord.NOT_ALLOWED
    DIRECT_WITH_SELF = ErrorWord.NOT_ALLOWED
    NO_DIRECT_FOR_GUESTS = ErrorWord.NOT_ALLOWED
    DIRECT_TO_GUEST = ErrorWord.NOT_ALLOWED
    DOUBTFUL_BAN = ErrorWord.NOT_ALLOWED
    ONLY_THEY_MAY = ErrorWord.NOT_ALLOWED
    BARE_COMMAND = ErrorWord.NOT_ALLOWED
    SHOWS_SECRET = ErrorWord.NOT_ALLOWED
    TOO_MANY_KINDS_OF_REACTIONS = ErrorWord.NOT_ALLOWED
    TOO_MANY_REACTIONS_GIVEN = ErrorWord.NOT_ALLOWED
    REACTED_TOO_OFTEN = ErrorWord.NOT_ALLOWED
    NOT_WITH_TOKEN = ErrorWord.NOT_ALLOWED
    NO_TOKEN_BY_TOKEN = ErrorWord.NOT_ALLOWED
    TOKEN_READ_ONLY = ErrorWord.NOT_ALLOWED
    TOKEN_FOR_ONE_ROOM = ErrorWord.NOT_ALLOWED
    INVITED_IS_BANNED = ErrorWord.BANNED
    BANNED_FROM_ROOM = ErrorWord.BANNED
    BANNED = ErrorWord.BANNED
    MUTED = ErrorWord.MUTED
    INVITATIONS_BLOCKED = ErrorWord.BLOCKED
    BLOCKED = ErrorWord.BLOCKED
    DIRECT_BY_MESSAGE = ErrorWord.DIRECT_ROOM
    DIRECT_STAYS = ErrorWord.DIRECT_ROOM
    DIRECT_HAS_NO_TOPIC = ErrorWord.DIRECT_ROOM
    DIRECT_HAS_NO_SETTINGS = ErrorWord.DIRECT_ROOM
    DIRECT_HAS_NO_MODERATORS = ErrorWord.DIRECT_ROOM
    DIRECT_HAS_NO_BANS = ErrorWord.DIRECT_ROOM
    DIRECT_ERASES_OWN = ErrorWord.DIRECT_ROOM
    NOTHING_TO_SEARCH = ErrorWord.EMPTY
    NO_TOKEN_CREATED = ErrorWord.EMPTY
    EMPTY_MESSAGE = ErrorWord.EMPTY
    NO_REACTION = ErrorWord.EMPTY
    NO_TOKEN_LABEL = ErrorWord.EMPTY
    NO_DEVICE_NAME = ErrorWord.EMPTY
    TOO_LONG_AMENDED = ErrorWord.TOO_LONG
    TOO_MANY_LINES = ErrorWord.TOO_LONG
    TOO_LONG = ErrorWord.TOO_LONG
    ID_CONFLICT = ErrorWord.ID_CONFLICT
    REGISTRATION_CLOSED = ErrorWord.CLOSED_REGISTRATION
    NO_SUCH_ACCOUNT_CLOSED = ErrorWord.CLOSED_REGISTRATION
    NO_SUCH_ACCOUNT_CODE = ErrorWord.CLOSED_REGISTRATION
    WRONG_CODE = ErrorWord.CLOSED_REGISTRATION
    TLS_REQUIRED = ErrorWord.TLS_REQUIRED
    TLS_REQUIRED_AT = ErrorWord.TLS_REQUIRED
    TLS_REQUIRED_TYPED = ErrorWord.TLS_REQUIRED
    TLS_REQUIRED_TYPED_AT = ErrorWord.TLS_REQUIRED
    TOO_MANY_NEW_PEOPLE = ErrorWord.SLOW_DOWN
    TOO_MANY_ROOMS_CREATED = ErrorWord.SLOW_DOWN
    TOO_MANY_GUESTS = ErrorWord.SLOW_DOWN
    TOO_MANY_SEARCHES = ErrorWord.SLOW_DOWN
    JOINED_TOO_OFTEN = ErrorWord.SLOW_DOWN
    RENAMED_TOO_OFTEN = ErrorWord.SLOW_DOWN
    SEARCH_TOO_LONG = ErrorWord.SLOW_DOWN
    TOO_MANY_LOGINS = ErrorWord.SLOW_DOWN
    SLOW_MODE = ErrorWord.SLOW_DOWN
    SLOW_CHANGES = ErrorWord.SLOW_DOWN
    TOO_MANY_FAILED_LOGINS = ErrorWord.SLOW_DOWN
    TOO_MANY_GUESSES_AT_NAME = ErrorWord.SLOW_DOWN
    TOO_MANY_NAMES_TRIED = ErrorWord.SLOW_DOWN
    TOO_MANY_REGISTERED = ErrorWord.SLOW_DOWN
    NOBODY_WAITS = ErrorWord.SLOW_DOWN
    READING_TOO_LONG = ErrorWord.SLOW_DOWN
    UNAVAILABLE = ErrorWord.UNAVAILABLE
    ROOM_BUSY = ErrorWord.UNAVAILABLE
    DATABASE_BUSY = ErrorWord.UNAVAILABLE
    FAULT = ErrorWord.UNAVAILABLE
    TURNED_AWAY = ErrorWord.TOO_MANY_CONNECTIONS


class Note(Enum):
    """A sentence, or a part of one, that is no refusal."""

    # Parts of refusals
    ADDRESS = auto()
    NETWORK = auto()
    NAME = auto()
    A_MESSAGE = auto()
    A_TOPIC = auto()
    A_REASON = auto()
    AN_AWAY_TEXT = auto()
    A_SEARCH = auto()
    A_REACTION = auto()
    A_DISPLAY_NAME = auto()
    A_LABEL = auto()
    A_DEVICE_NAME = auto()
    A_FIELD = auto()
    MODERATORS = auto()
    OWNERS = auto()
    MEMBERS = auto()
    SECONDS = auto()
    MINUTES = auto()
    DID_YOU_MEAN = auto()
    CANNOT_CLEAR = auto()
    HELP_LISTS = auto()
    # What follows a refusal
    KEPT = auto()
    KEPT_FOR_A_WHILE = auto()
    FIRST_LINE_DROPPED = auto()
    FORGOTTEN = auto()
    # What commands have done
    PASSWORD_CHANGED_ALL = auto()
    ERASED = auto()
    TOKEN_REVOKED = auto()
    SESSION_ENDED = auto()
    SESSIONS_ENDED = auto()
    EDITED_MESSAGE = auto()
    EDITED_NOW = auto()
    ERASED_MESSAGE = auto()
    EDITED = auto()
    SAME_TEXT = auto()
    ERASED_LAST = auto()
    ERASED_ALREADY = auto()
    HERE = auto()
    FITTED = auto()
    NOTHING_KEPT = auto()
    PRIVATE_LINE = auto()
    PASTE = auto()
    AWAY = auto()
    BACK = auto()
    INVITED = auto()
    INVITATION_WITHDRAWN = auto()
    ALREADY_IN_ROOM = auto()
    ROLE_SET = auto()
    KICKED = auto()
    BANNED = auto()
    UNBANNED = auto()
    MUTED = auto()
    UNMUTED = auto()
    ROLE_IS_ALREADY = auto()
    BANNED_ALREADY = auto()
    BANNED_FROM_SERVER = auto()
    MUTED_ALREADY = auto()
    NOT_MUTED = auto()
    BAN_LIFTED = auto()
    IGNORED = auto()
    UNIGNORED = auto()
    BLOCKED = auto()
    UNBLOCKED = auto()
    PINNED = auto()
    UNPINNED = auto()
    PINNED_ALREADY = auto()
    NOT_PINNED = auto()
    REACTED = auto()
    REACTION_TAKEN_BACK = auto()
    REACTED_ALREADY = auto()
    NOT_REACTED = auto()
    ROOM_DELETED = auto()
    TOPIC_REMOVED = auto()
    SETTINGS_CHANGED = auto()
    SAME_TOPIC = auto()
    SAME_SETTINGS = auto()
    READ_ALL = auto()
    READ_ALL_IN_ROOM = auto()
    PASSWORD_CHANGED = auto()
    TOKENS_STILL_WORK = auto()
    KEPT_SESSIONS_ENDED = auto()
    CERTIFICATES_REMOVED = auto()
    SENDING_AGAIN = auto()
    # Questions and greetings
    ASK_PASSWORD_FOR_TOKEN = auto()
    ASK_NAME = auto()
    ASK_TO_REGISTER = auto()
    ASK_NEW_PASSWORD = auto()
    ASK_AGAIN = auto()
    CERTIFICATE_LOGS_IN = auto()
    WELCOME = auto()
    ASK_PASSWORD = auto()
    HELLO_ASK_PASSWORD = auto()
    DATABASE_BACK = auto()
    RETRY_SENDS = auto()
    EDITOR = auto()
    # Why connections end, or do not begin
    STOPPING = auto()
    ERASED_GOODBYE = auto()
    PASSWORD_WAS_CHANGED = auto()
    TOKEN_WAS_REVOKED = auto()
    SESSION_WAS_ENDED = auto()
    SESSION_WAS_COPIED = auto()
    LOGGED_OUT = auto()
    TOKEN_EXPIRED = auto()
    READ_NOTHING = auto()
    SENT_NOTHING = auto()
    TOO_MANY_STRIKES = auto()
    REWOUND = auto()
    TAKEN_OVER = auto()
    TYPED_NOTHING = auto()
    NOT_LOGGED_IN_IN_TIME = auto()
    SENT_TOO_MUCH = auto()
    TOO_MANY_OF_ACCOUNT = auto()
    CROWDED = auto()
    RESTARTING = auto()
    DISABLED = auto()
    CERTIFICATE_WAS_REMOVED = auto()
    FENCED = auto()
    FAULT = auto()
    FAILED_LOGINS = auto()
    YOU_ARE_BANNED = auto()
    ADDRESS_IS_BANNED = auto()
    KICKED_BY_ADMINISTRATOR = auto()
    AS_WRITTEN = auto()
    GOODBYE = auto()
    LEAVE = auto()
    COME_BACK = auto()
    TURNED_AWAY = auto()
    OFFENCES = auto()
    ADDRESS_RATE = auto()
    ADDRESS_FULL = auto()
    SERVER_FULL = auto()


class Sentence:
    """A sentence for people: `key` says which one, and `fields` fill its gaps. `more`: the sentences behind it."""

    __slots__ = ("fields", "key", "more")

    def __init__(self, key: "Why | Note", /, **fields: "str | int | Note | Sentence") -> None:
        self.key = key
        self.fields = fields
        self.more: tuple[Sentence, ...] = ()

    def then(self, more: "Sentence") -> "Sentence":
        """With another sentence behind it."""
        longer = Sentence(self.key, **self.fields)
        longer.more = (*self.more, more)
        return longer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sentence) and self._all == other._all

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Sentence({self.key}, {self.fields}, {self.more})"

    @property
    def _all(self) -> tuple[object, ...]:
        return self.key, self.fields, self.more


Fields = str | int | Note | Sentence


RETRYABLE = frozenset({ErrorWord.SLOW_DOWN, ErrorWord.UNAVAILABLE, ErrorWord.SHUTDOWN})
"""Errors after which the command may succeed later, unchanged."""

BLAMELESS = RETRYABLE | {ErrorWord.LINE_TOO_LONG}
"""Refusals that do not count as strikes against the connection."""


class Refused(Exception):
    """A command was not done, and nothing has changed. `sentence` says why, and names the remedy.

    `retry`: after this many seconds the same command may succeed, if that is known; only with one of RETRYABLE.
    """

    def __init__(self, why: Why, /, *, retry: int | None = None, **fields: Fields) -> None:
        super().__init__(why.word, why.name, fields)
        self.why = why
        self.sentence = Sentence(why, **fields)
        self.retry = retry

    @property
    def error(self) -> ErrorWord:
        return self.why.word

    def then(self, more: Sentence) -> "Refused":
        """This refusal with another sentence behind it."""
        longer = Refused(self.why, retry=self.retry)
        longer.sentence = self.sentence.then(more)
        return longer


class Rejected:
    """A line that was refused, with the tag and the name of its command for the answer, as far as they are known.
    Stands in the inbox like a command, so that answers keep their order. `fatal`: the connection ends after it."""

    __slots__ = ("cmd", "fatal", "refused", "tag")

    def __init__(self, refused: Refused, tag: str | int | None = None, cmd: str = "", *, fatal: bool = False) -> None:
        self.refused = refused
        self.tag = tag
        self.cmd = cmd
        self.fatal = fatal


class Unavailable(Refused):
    """The store did not answer; the command may or may not have been done."""

    def __init__(self, why: Why = Why.UNAVAILABLE, /, *, retry: int | None = None) -> None:
        super().__init__(why, retry=retry)


class TooSlow(Unavailable):
    """A query that only reads took longer than the settings allow; the database is well."""

    def __init__(self) -> None:
        super().__init__(Why.READING_TOO_LONG, retry=1)


class Busy(Unavailable):
    """Another program's transaction holds a room, or all of SQLite, and does not end; nothing was done."""


class Unstorable(Refused):
    """The database can neither store nor compare a value of the command, whatever its state."""

    def __init__(self) -> None:
        super().__init__(Why.UNSTORABLE)


FAULT: Final = Unavailable(Why.FAULT)
"""The answer to a command that met a bug."""

GOODBYE: Final = Sentence(Note.GOODBYE)
"""The end of a connection for which there is nothing else to say."""

FENCED: Final = ("fenced", Sentence(Note.FENCED))
"""Reason and sentence for the connections of a server whose lease has lapsed."""

FAULTY: Final = ("fault", Sentence(Note.FAULT))
"""Reason and sentence of the end of a connection that cannot be answered."""


def no_such_room(name: str) -> Refused:
    """Also for rooms that exist but are not visible to the asker."""
    return Refused(Why.NO_SUCH_ROOM, name=name)


def not_a_member(name: str) -> Refused:
    return Refused(Why.NOT_A_MEMBER, name=name)


def no_such_user(name: str) -> Refused:
    return Refused(Why.NO_SUCH_USER, name=name)


def muted(room: str) -> Refused:
    return Refused(Why.MUTED, room=room)


def slow(room: str, seconds: int) -> Refused:
    return Refused(Why.SLOW_MODE, retry=seconds, room=room, seconds=seconds)


def blocked(name: str) -> Refused:
    """An account, or its direct room `@name`, takes nothing from the asker, who learns no more than that."""
    return Refused(Why.BLOCKED, name=name.removeprefix("@"))


def because(reason: str) -> str:
    """The end of a sentence that has a reason: a typed text, which may be empty, or a sentence itself."""
    if not reason:
        return "."
    return f": {reason}" if reason.endswith((".", "!", "?", "…")) else f": {reason}."
