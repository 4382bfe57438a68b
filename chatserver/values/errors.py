"""Why a command can be refused: the error words of the protocol."""

from enum import StrEnum


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


RETRYABLE = frozenset({ErrorWord.SLOW_DOWN, ErrorWord.UNAVAILABLE, ErrorWord.SHUTDOWN})
"""The same command may succeed later, unchanged."""

BLAMELESS = RETRYABLE | {ErrorWord.LINE_TOO_LONG}
"""Refusals that do not count as strikes against the connection."""


class Refused(Exception):
    """A command was not done, and nothing has changed. `text` names the remedy in one line.

    `retry`: after so many seconds the same command may succeed, if that is known; only with one of RETRYABLE.
    """

    def __init__(self, error: ErrorWord, text: str, retry: int | None = None) -> None:
        super().__init__(error, text)
        self.error = error
        self.text = text
        self.retry = retry


class Rejected:
    """A line that was refused, and the tag for its answer. Stands in the inbox like a command, so that answers keep
    their order. `fatal`: the connection ends after it."""

    __slots__ = ("fatal", "refused", "tag")

    def __init__(self, refused: Refused, tag: str | int | None = None, *, fatal: bool = False) -> None:
        self.refused = refused
        self.tag = tag
        self.fatal = fatal


class Unavailable(Refused):
    """The store did not answer; the command may or may not have been done."""

    def __init__(self, text: str = "The server cannot reach its database. Try again in a moment.") -> None:
        super().__init__(ErrorWord.UNAVAILABLE, text)


class TooSlow(Unavailable):
    """A query that only reads took longer than the settings allow; the database is well."""

    def __init__(self) -> None:
        super().__init__("Reading this takes too long. Ask for less at once, or try again in a moment.")
        self.error = ErrorWord.SLOW_DOWN
        self.retry = 1
        self.args = (self.error, self.text)


class Unstorable(Refused):
    """The database can neither store nor compare a value of the command, whatever its state."""

    def __init__(self) -> None:
        super().__init__(
            ErrorWord.BAD_COMMAND, "A value in this command is too large, too long or cannot be stored. Correct it."
        )


FAULT = Unavailable("Something went wrong in the server; its log has the details. Try again.")
"""The answer to a command that met a bug."""

FAULTY = ("fault", "Something went wrong in the server; its log has the details.")
"""Reason and text of the end of a connection that cannot be answered."""


def no_such_room(name: str) -> Refused:
    """Also for rooms that exist but are not visible to the asker."""
    return Refused(ErrorWord.NO_SUCH_ROOM, f"There is no room {name}. For a list, use the command rooms.")


def not_a_member(name: str) -> Refused:
    return Refused(ErrorWord.NOT_A_MEMBER, f"You are not in {name}. Join it first.")


def no_such_user(name: str) -> Refused:
    return Refused(ErrorWord.NO_SUCH_USER, f"There is no account named {name}. Check the spelling.")


def muted(room: str) -> Refused:
    return Refused(ErrorWord.MUTED, f"You are muted in {room}: for now you can only read there.")


def slow(room: str, seconds: int) -> Refused:
    text = f"In {room} each member may send one message every {seconds} s. Nothing was sent: wait, then send it again."
    return Refused(ErrorWord.SLOW_DOWN, text, seconds)


def blocked(name: str) -> Refused:
    """An account, or its direct room `@name`, takes nothing from the asker, who learns no more than that."""
    return Refused(ErrorWord.BLOCKED, f"{name.removeprefix('@')} does not accept messages from you.")


def banned_text(reason: str, who: str = "You are") -> str:
    """What somebody is told who is banned from the server; `who` may be "Your address is"."""
    return f"{who} banned from this server{because(reason)}"


def because(reason: str) -> str:
    """The end of a sentence that has a reason: what somebody has typed, which may be empty, or a sentence itself."""
    if not reason:
        return "."
    return f": {reason}" if reason.endswith((".", "!", "?", "…")) else f": {reason}."
