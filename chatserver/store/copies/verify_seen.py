"""Whether what is stored of the entries that people have seen behind their read marks is what `seen.py` reads.

A stretch may lie before the read mark: the command `read` moves the mark over it, and the next reading leaves it out.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from chatserver.values.seen import MOST_RUNS, Run

Stream = Callable[[str, str], Iterator[tuple[Any, ...]]]
"""(query, name) -> its rows, a page at a time."""

_SEEN: Final = """
SELECT m.account_id, r.name, r.id, r.last_seq, m.seen FROM membership AS m JOIN room AS r ON r.id = m.room_id
WHERE m.seen IS NOT NULL ORDER BY m.id
"""


def problems(stream: Stream) -> Iterator[str]:
    for account_id, name, room_id, last, stored in stream(_SEEN, "seen"):
        if not _is_right(stored, last):
            yield f"what account {account_id} has seen of room {name} (id {room_id}) cannot be"


def _is_right(stored: str, last: int) -> bool:
    """Whether these are stretches up to the room's last entry, in ascending order, that do not touch each other."""
    try:
        runs = msgspec.json.decode(stored, type=list[Run])
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return False
    ends = [0, *(end for _, end in runs)]
    return (
        0 < len(runs) <= MOST_RUNS
        and all(before + 1 < begin <= end for before, (begin, end) in zip(ends, runs, strict=False))
        and ends[-1] <= last
    )
