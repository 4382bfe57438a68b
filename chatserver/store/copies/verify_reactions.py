"""Whether each message has the sums of the reactions in its log, and only messages have any or are pinned."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from chatserver.values.events import ERASED, MESSAGE, REACTED, UNREACTED

Stream = Callable[[str, str], Iterator[tuple[Any, ...]]]
"""(query, name) -> its rows, a page at a time."""

_TIMES: Final = f"sum(CASE e.kind WHEN '{REACTED}' THEN 1 ELSE -1 END)"
_GIVEN: Final = f"""
SELECT e.room_id, e.target_seq, e.text, {_TIMES} FROM entry AS e
JOIN entry AS m ON m.room_id = e.room_id AND m.seq = e.target_seq AND m.kind = '{MESSAGE}'
AND m.state IS DISTINCT FROM '{ERASED}'
WHERE e.kind IN ('{REACTED}', '{UNREACTED}') AND e.text <> ''
GROUP BY e.room_id, e.target_seq, e.text HAVING {_TIMES} > 0 ORDER BY e.room_id, e.target_seq
"""
_KEPT: Final = f"""
SELECT e.room_id, e.seq, e.reactions, e.kind = '{MESSAGE}' AND e.state IS DISTINCT FROM '{ERASED}'
FROM entry AS e WHERE e.reactions IS NOT NULL OR e.pinned ORDER BY e.room_id, e.seq
"""


def problems(stream: Stream) -> Iterator[str]:
    given = _sums(stream(_GIVEN, "given"))
    place, counts = next(given, _END)
    for room_id, seq, known, is_message in stream(_KEPT, "kept"):
        if not is_message:
            yield f"entry {seq} of room {room_id} has reactions or is pinned, but is no message that is there"
            continue
        while place < (room_id, seq):
            yield _wrong(place)
            place, counts = next(given, _END)
        right: dict[str, int] = {}
        if place == (room_id, seq):
            right = counts
            place, counts = next(given, _END)
        if _decoded(known) != right:
            yield _wrong((room_id, seq))
    while place != _END[0]:
        yield _wrong(place)
        place, counts = next(given, _END)


_END: Final[tuple[tuple[int, int], dict[str, int]]] = ((1 << 63, 0), {})


def _wrong(place: tuple[int, int]) -> str:
    return f"the sums of entry {place[1]} of room {place[0]} are not those of its reactions"


def _sums(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[tuple[int, int], dict[str, int]]]:
    """The rows of a message together."""
    place, counts = _END
    for room_id, seq, reaction, times in rows:
        if (room_id, seq) != place:
            if counts:
                yield place, counts
            place, counts = (room_id, seq), {}
        counts[reaction] = int(times)
    if counts:
        yield place, counts


def _decoded(known: str | None) -> dict[str, int] | None:
    """None for what is no sum at all."""
    try:
        return msgspec.json.decode(known, type=dict[str, int]) if known is not None else {}
    except msgspec.MsgspecError:
        return None
