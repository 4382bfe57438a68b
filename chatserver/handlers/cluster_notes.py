"""Notes for other nodes about a command, in case the bus loses frames: rows of `change` in its transaction.

Entries are not noted: subscribers are sent them from the log. A row names what has changed, not its new state: a node
looks that up, so a row that comes late, or twice, does no harm.
"""

from collections.abc import Callable, Iterator
from typing import Concatenate, Final, ParamSpec

import msgspec
from msgspec import Struct

from chatserver.handlers.outcome import (
    Apart,
    Ask,
    BansChanged,
    End,
    HangUp,
    Ignored,
    MovedBack,
    Named,
    NotifySet,
    Outcome,
    Preferred,
    Silenced,
    Tell,
)
from chatserver.store import Connection, change_rows
from chatserver.store.db.schema import ChangeKind
from chatserver.store.db.threads import Store
from chatserver.values.events import ENTERING
from chatserver.wire.sentences import english

P = ParamSpec("P")

HERE: Final = (End, Silenced)
"""Effects that concern only the node of the session that sent the command."""
BUS: Final = (Tell,)
"""Effects published on the bus only: if lost, other nodes find them in the store later."""
NOTED: Final = (HangUp, Apart, Ignored, Preferred, NotifySet, MovedBack, Named, BansChanged)
"""Effects with rows in the table. The store writes some of them, since `chatctl` needs them, too: revoked tokens, bans,
and accounts that are banned, disabled or erased."""


class Row(Struct, frozen=True):
    """A row of `change`."""

    kind: ChangeKind
    subject: int
    detail: str | None = None


class Reset(Struct, array_like=True, tag="password", frozen=True):
    """The password of an account has changed, and sessions whose credential is no longer valid must end."""

    reason: str
    text: str


class Blocks(Struct, array_like=True, tag="apart", frozen=True):
    """Whether an account and this one have blocked each other."""

    other: int


class Ignoring(Struct, array_like=True, tag="ignores", frozen=True):
    """The accounts that an account ignores."""


class Preferring(Struct, array_like=True, tag="prefers", frozen=True):
    """The preferences of an account."""


class Notifying(Struct, array_like=True, tag="notify", frozen=True):
    """What an account wants to be notified of in this room."""

    room_id: int


class Unreading(Struct, array_like=True, tag="unread", frozen=True):
    """An account has moved its read mark in this room back to this entry, which began this era."""

    room_id: int
    mark: int
    era: int


What = Reset | Blocks | Ignoring | Preferring | Notifying | Unreading
"""A change of an account, in the column `detail`."""

_decoder: Final[msgspec.json.Decoder[What]] = msgspec.json.Decoder(What)


def notes(outcome: Outcome) -> Iterator[Row]:
    """Returns the rows for other nodes, in the order of the effects, except those that the store writes."""
    for facts, entries in ((one.facts, one.entries) for one in outcome.announced):
        if facts.pair is not None and entries[0].seq == 1:
            for account_id, _ in facts.pair:
                yield Row("membership", account_id, str(facts.id))
        else:
            # Otherwise a node without subscribers of this room would not be notified.
            entered = [entry.author_id for entry in entries if entry.kind in ENTERING]
            yield from (Row("membership", account_id, str(facts.id)) for account_id in entered)
    for effect in outcome.effects:
        match effect:
            case Named(account_id):
                yield Row("account", account_id)
            case HangUp(account_id, reason, sentence) if effect.spare:
                yield Row("effect", account_id, _encoded(Reset(reason, english(sentence))))
            case Apart((account_id, other)):
                yield Row("effect", account_id, _encoded(Blocks(other)))
            case Ignored(account_id):
                yield Row("effect", account_id, _encoded(Ignoring()))
            case Preferred(account_id):
                yield Row("effect", account_id, _encoded(Preferring()))
            case NotifySet(account_id, room_id):
                yield Row("effect", account_id, _encoded(Notifying(room_id)))
            case MovedBack(account_id, room_id, seen):
                yield Row("effect", account_id, _encoded(Unreading(room_id, seen.mark, seen.era)))


def _encoded(what: What) -> str:
    return msgspec.json.encode(what).decode()


def decoded(detail: str | None) -> What | None:
    """Decodes a row; returns None if only a later version knows it."""
    try:
        return _decoder.decode(detail or "")
    except msgspec.DecodeError:
        return None


def recorded(
    db: Connection,
    origin: str,
    work: Callable[Concatenate[Connection, Ask, P], Outcome],
    ask: Ask,
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> Outcome:
    """Runs a command, and writes its notes for other nodes. `origin`: the boot of this process, which needs no notes of
    its own; "": there are no other nodes."""
    outcome = work(db, ask, *args, **kwargs)
    if origin:
        for note in notes(outcome):
            change_rows.note(db, note.kind, note.subject, ask.at, detail=note.detail, origin=origin)
    return outcome


async def written(
    store: Store,
    origin: str,
    work: Callable[Concatenate[Connection, Ask, P], Outcome],
    ask: Ask,
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> Outcome:
    """In a transaction of its own. Raises Refused."""
    if origin:
        return await store.write(recorded, origin, work, ask, *args, **kwargs)
    return await store.write(work, ask, *args, **kwargs)


def is_noted(outcome: Outcome) -> bool:
    """Whether there are rows for other nodes."""
    return any(isinstance(effect, NOTED) for effect in outcome.effects) or next(notes(outcome), None) is not None
