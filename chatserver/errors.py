"""What a command can be refused for: the error words of the protocol, section 4."""

from enum import StrEnum


class ErrorWord(StrEnum):
    """The `error` of an answer; the text beside it is for people."""

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
    SLOW_DOWN = "slow-down"
    UNAVAILABLE = "unavailable"
    TOO_MANY_CONNECTIONS = "too-many-connections"
    SHUTDOWN = "shutdown"


RETRYABLE = frozenset({ErrorWord.SLOW_DOWN, ErrorWord.UNAVAILABLE, ErrorWord.SHUTDOWN})
"""The same command may succeed later, unchanged."""

BLAMELESS = RETRYABLE | {ErrorWord.LINE_TOO_LONG}
"""Refusals that are no strike against the connection."""


class Refused(Exception):
    """A command cannot be done; nothing has changed. `text` names the remedy in one line."""

    def __init__(self, error: ErrorWord, text: str) -> None:
        super().__init__(error, text)
        self.error = error
        self.text = text


class Unavailable(Refused):
    """The store did not answer; what was asked may or may not have been done."""

    def __init__(self, text: str = "The server cannot reach its database. Try again in a moment.") -> None:
        super().__init__(ErrorWord.UNAVAILABLE, text)


def no_such_room(name: str) -> Refused:
    """Also the answer for rooms that one may not know of."""
    return Refused(ErrorWord.NO_SUCH_ROOM, f"There is no room {name}. The command rooms lists those there are.")


def not_a_member(name: str) -> Refused:
    return Refused(ErrorWord.NOT_A_MEMBER, f"You are not in {name}. Join it first.")


def no_such_user(name: str) -> Refused:
    return Refused(ErrorWord.NO_SUCH_USER, f"Nobody is called {name}.")


def muted(room: str) -> Refused:
    return Refused(ErrorWord.MUTED, f"You are muted in {room}. Others cannot hear you there for now.")


def blocked(name: str) -> Refused:
    """Somebody, or their direct room `@name`, takes nothing from the asker, who is told this and no more."""
    return Refused(ErrorWord.BLOCKED, f"{name.removeprefix('@')} does not take messages from you.")
