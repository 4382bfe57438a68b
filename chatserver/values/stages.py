"""The life of a connection as two small state machines: the client's progress, and what its side still sends.

Each machine is a table of legal transitions, as in h11: an event that the table does not name is a bug here, never the
client's fault, and raises `IllegalTransition`. A command that its stage does not take (`LEGAL`) is refused.
"""

from enum import Enum, auto
from typing import Final

from chatserver.values import commands as c
from chatserver.values.errors import Refused, Rejected, Why


class Stage(Enum):
    """How far a client has come.

    NEW: nothing was received, so its dialect is unknown. GREETING: a name or a login is expected. PASSWORD: a person
    typed the name of an account and is asked for its password. CONFIRM: a person typed a new name and is asked whether
    to register it; NEW_PASSWORD: then for a password; AGAIN: and for the same once more. BUSY: a name or a login is
    being checked; nothing is read meanwhile. IN: logged in. ENDING: the server has said its last word; what still comes
    in is discarded.
    """

    NEW = auto()
    GREETING = auto()
    PASSWORD = auto()
    CONFIRM = auto()
    NEW_PASSWORD = auto()
    AGAIN = auto()
    BUSY = auto()
    IN = auto()
    ENDING = auto()


class Event(Enum):
    """Events that move a client from one stage to the next."""

    RECOGNIZED = auto()  # its first line has come, or enough of it to tell its dialect
    CHECKING = auto()  # the store is asked about a name or a login
    NAMED = auto()  # the name was looked up: now the password
    UNKNOWN = auto()  # the name was looked up, and nobody has it: is it to be registered?
    CONFIRMED = auto()  # it is: now a password
    CHOSEN = auto()  # now the same password once more
    DIFFERED = auto()  # it was another one: both are asked for again
    CANCELLED = auto()  # the person wants to type another name
    RETURNED = auto()  # the login failed: back to the start
    RETRIED = auto()  # the login failed: the password is asked for again
    REPEATED = auto()  # the registration failed: the chosen password is asked for again
    ADMITTED = auto()  # logged in
    ENDED = auto()


class PeerState(Enum):
    """The client's side of the connection. HALF_CLOSED: it has ended its side and may still read. LOST: it is gone."""

    OPEN = auto()
    HALF_CLOSED = auto()
    LOST = auto()


class IllegalTransition(Exception):
    """An event came at a stage that does not know it."""


STAGES: dict[tuple[Stage, Event], Stage] = {
    (Stage.NEW, Event.RECOGNIZED): Stage.GREETING,
    (Stage.GREETING, Event.CHECKING): Stage.BUSY,
    (Stage.PASSWORD, Event.CHECKING): Stage.BUSY,
    (Stage.PASSWORD, Event.CANCELLED): Stage.GREETING,
    (Stage.CONFIRM, Event.CONFIRMED): Stage.NEW_PASSWORD,
    (Stage.CONFIRM, Event.CANCELLED): Stage.GREETING,
    (Stage.NEW_PASSWORD, Event.CHOSEN): Stage.AGAIN,
    (Stage.NEW_PASSWORD, Event.CANCELLED): Stage.GREETING,
    (Stage.AGAIN, Event.CHECKING): Stage.BUSY,
    (Stage.AGAIN, Event.DIFFERED): Stage.NEW_PASSWORD,
    (Stage.AGAIN, Event.CANCELLED): Stage.GREETING,
    (Stage.BUSY, Event.NAMED): Stage.PASSWORD,
    (Stage.BUSY, Event.UNKNOWN): Stage.CONFIRM,
    (Stage.BUSY, Event.RETURNED): Stage.GREETING,
    (Stage.BUSY, Event.RETRIED): Stage.PASSWORD,
    (Stage.BUSY, Event.REPEATED): Stage.AGAIN,
    (Stage.BUSY, Event.ADMITTED): Stage.IN,
    **{(stage, Event.ENDED): Stage.ENDING for stage in Stage},
}

NOT_LOGGED_IN = frozenset(Stage) - {Stage.IN, Stage.ENDING}

SECRET = frozenset({Stage.PASSWORD, Stage.NEW_PASSWORD, Stage.AGAIN})
"""Stages at which a line is a password, whatever it looks like."""


def next_stage(stage: Stage, event: Event) -> Stage:
    """Raises IllegalTransition."""
    try:
        return STAGES[stage, event]
    except KeyError:
        raise IllegalTransition(f"{event.name} at {stage.name}") from None


_LOGINS: Final = (c.Login, c.Register, c.Guest)

LEGAL: Final[dict[Stage, frozenset[type[c.Command]]]] = {
    Stage.GREETING: frozenset({*_LOGINS, c.TypedName, c.Help, c.Server, c.Ping, c.Quit}),
    Stage.CONFIRM: frozenset({c.TypedAnswer, c.Help, c.Server, c.Quit}),
    Stage.PASSWORD: frozenset({c.TypedPassword, c.Login}),
    Stage.NEW_PASSWORD: frozenset({c.TypedPassword}),
    Stage.AGAIN: frozenset({c.TypedPassword}),
    Stage.IN: frozenset[type[c.Command]]({*c.FOR_PEOPLE, *c.COMMANDS}).difference(_LOGINS),
}
"""The commands that each stage takes. At the others nothing is read."""


def misplaced(stage: Stage, command: c.Command) -> Rejected | None:
    """The refusal of a command that this stage does not take."""
    if type(command) in LEGAL[stage]:
        return None
    why = Why.ALREADY_LOGGED_IN if stage is Stage.IN else Why.LOGIN_REQUIRED
    return Rejected(Refused(why), command.tag, command.cmd)
