"""What other nodes must learn of a command, whatever the bus loses: rows of the table `change`, written with it.

What stands in a room's log is not among them: whoever hears the room gets it from there.
"""

from collections.abc import Callable, Iterator
from typing import Any, Concatenate, Final, ParamSpec

import msgspec
from msgspec import Struct

from chatserver.events import ENTERING
from chatserver.handlers.outcome import Apart, Ask, BansChanged, Effect, HangUp, Ignored, Named, Outcome, Preferred
from chatserver.store import Connection, changes
from chatserver.store.schema import ChangeKind

P = ParamSpec("P")

SHARED: Final = {kind.__name__: kind for kind in (HangUp, Apart, Ignored, Preferred)}
"""Effects that every node has, by the name under which the table has them."""


class Note(Struct, frozen=True):
    """A row of `change`."""

    kind: ChangeKind
    subject: int
    detail: str | None = None


def notes(outcome: Outcome) -> Iterator[Note]:
    """What other nodes must learn, in the order in which it happened."""
    for facts, entries in ((one.facts, one.entries) for one in outcome.announced):
        if facts.pair is not None and entries[0].seq == 1:
            for account_id, _ in facts.pair:
                yield Note("membership", account_id)
        else:
            # Whose sessions at a node are in no room there that has this log, the node would not hear of it.
            yield from (Note("membership", entry.author_id) for entry in entries if entry.kind in ENTERING)
    for effect in outcome.effects:
        match effect:
            case Named(account_id):
                yield Note("account", account_id)
            case BansChanged():
                yield Note("bans", 0)
            case HangUp(account_id) if not effect.token_id:  # revoking a token is noted by itself
                yield Note("effect", account_id, _encoded(effect))
            case Apart((account_id, _)) | Ignored(account_id) | Preferred(account_id):
                yield Note("effect", account_id, _encoded(effect))


def _encoded(effect: Effect) -> str:
    return msgspec.json.encode([type(effect).__name__, effect]).decode()


def decoded(detail: str) -> Effect | None:
    """The effect that a row has; None if only a later version knows it. Raises msgspec.DecodeError."""
    name, value = msgspec.json.decode(detail, type=tuple[str, msgspec.Raw])
    kind: Any = SHARED.get(name)
    return None if kind is None else msgspec.json.decode(value, type=kind)


def recorded(
    db: Connection,
    origin: str,
    work: Callable[Concatenate[Connection, Ask, P], Outcome],
    ask: Ask,
    *args: P.args,
    **kwargs: P.kwargs,
) -> Outcome:
    """Does what a command asks for, and notes for other nodes what they must learn of it. `origin`: the boot of this
    process, which does that by itself; "": there are no other nodes."""
    outcome = work(db, ask, *args, **kwargs)
    if origin:
        for note in notes(outcome):
            changes.note(db, note.kind, note.subject, ask.at, detail=note.detail, origin=origin)
    return outcome


def has_notes(outcome: Outcome) -> bool:
    return next(notes(outcome), None) is not None
