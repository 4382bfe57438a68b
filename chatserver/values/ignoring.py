"""Entries hidden from a person who ignores an account: its messages, and its coming and going.

Quotes of it are hidden, too. Entries about the room remain: kicks, bans, mutes, roles and settings. Programs are sent
everything but the quotes, since their entries have no holes; they can hide entries themselves.
"""

from typing import Final

from msgspec import structs

from chatserver.values.answers import Answer, Found, Joined, Log, Looked, Missed, Thread, Welcome
from chatserver.values.events import (
    EDITED,
    ERASED,
    JOINED,
    LEFT,
    MESSAGE,
    PINNED,
    REACTED,
    RENAMED,
    TOPIC,
    UNPINNED,
    UNREACTED,
    Entry,
    Quote,
)

HIDDEN: Final = frozenset({MESSAGE, EDITED, ERASED, REACTED, UNREACTED, PINNED, UNPINNED, TOPIC, JOINED, LEFT, RENAMED})
"""Kinds of entries that are hidden if their author is ignored."""


def is_hidden(entry: Entry, ignored: frozenset[int]) -> bool:
    return entry.author_id in ignored and entry.kind in HIDDEN


def quotes(entry: Entry, ignored: frozenset[int]) -> bool:
    """Whether an entry is a reply that quotes one of them."""
    quote = entry.quote
    return quote is not None and not quote.hidden and quote.author_id in ignored


def unquoted(entry: Entry, ignored: frozenset[int]) -> Entry:
    """The entry without quotes of them."""
    return structs.replace(entry, quote=None) if quotes(entry, ignored) else entry


def concealed(entry: Entry) -> Entry:
    """An entry without a quote; the author of the quoted message is still named."""
    if entry.quote is None:
        return entry
    return structs.replace(entry, quote=Quote("", "", "", entry.quote.author_id, hidden=True))


def without(answer: Answer, ignored: frozenset[int], *, all: bool = True) -> Answer:
    """An answer without entries that its reader ignores (`all`), and without quotes of them. A page may become short;
    the next one begins where it would begin otherwise."""
    hidden = ignored if all else frozenset[int]()
    match answer:
        case Log():
            return _log(answer, ignored, hidden)
        case Found(found):
            left = [(facts, unquoted(entry, ignored)) for facts, entry in found if not is_hidden(entry, hidden)]
            return structs.replace(answer, entries=left)
        case Thread(entries=entries):
            kept = [unquoted(entry, ignored) for entry in entries if not is_hidden(entry, hidden)]
            return structs.replace(answer, entries=kept)
        case Welcome(recent=recent) | Joined(recent=recent) | Looked(recent=recent) | Missed(recent=recent) if (
            recent is not None
        ):
            return structs.replace(answer, recent=_log(recent, ignored, hidden))
    return answer


def _log(log: Log, ignored: frozenset[int], hidden: frozenset[int]) -> Log:
    left = [unquoted(entry, ignored) for entry in log.entries if not is_hidden(entry, hidden)]
    if log.entries and not left:
        return structs.replace(log, entries=[], ends=(log.entries[0].seq, log.entries[-1].seq))
    return structs.replace(log, entries=left)
