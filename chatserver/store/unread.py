"""Numbers of unread entries. An account's own entries, and those that it ignores, do not count."""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, text

from chatserver.values.events import Membership, Person
from chatserver.values.ignoring import HIDDEN
from chatserver.values.seen import Run

MOST_OF_ROOM: Final = 1000
"""Maximum number of the newest unread entries of a room whose authors are looked up. All others count."""
MOST: Final = 20_000
"""Maximum number for all rooms of one answer together. Somebody may be in thousands."""

_IGNORED: Final = ", ".join(f"'{kind}'" for kind in sorted(HIDDEN))
_OWN: Final = {
    dialect: text(f"""
        SELECT CAST(v ->> 0 AS bigint), count(*) FROM {said}
        JOIN entry AS e ON e.room_id = CAST(v ->> 0 AS bigint)
        AND e.seq BETWEEN CAST(v ->> 1 AS bigint) AND CAST(v ->> 2 AS bigint)
        WHERE e.author_id = :me OR (e.kind IN ({_IGNORED}) AND EXISTS (
            SELECT 1 FROM "ignore" AS i WHERE i.account_id = :me AND i.ignored_id = e.author_id))
        GROUP BY CAST(v ->> 0 AS bigint)
    """)
    for dialect, said in (
        ("postgresql", "json_array_elements(CAST(:said AS json)) AS t(v)"),
        ("sqlite", "(SELECT value AS v FROM json_each(:said)) AS t"),
    )
}


def counts(db: Connection, who: Person, rooms: Sequence[Membership]) -> list[int]:
    """For each of these rooms of an account, the number of unread entries that were not removed."""
    lacking = [one.seen.lacks(one.floor, one.seq) for one in rooms]
    wanted: list[tuple[int, int, int]] = []
    left = MOST
    for one, count in zip(rooms, lacking, strict=True):
        if count and left > 0:
            runs = newest([*one.seen.missing(one.floor, one.seq)], min(left, MOST_OF_ROOM))
            wanted += [(one.facts.id, begin, end) for begin, end in runs]
            left -= min(count, MOST_OF_ROOM)
    if not wanted:
        return lacking
    said = {"said": msgspec.json.encode(wanted).decode(), "me": who.id}
    own: dict[int, int] = {row[0]: row[1] for row in db.execute(_OWN[db.dialect.name], said)}
    return [count - own.get(one.facts.id, 0) for one, count in zip(rooms, lacking, strict=True)]


def count(db: Connection, who: Person, room: Membership) -> int:
    return counts(db, who, [room])[0]


def newest(runs: Sequence[Run], most: int) -> list[Run]:
    """The last `most` numbers of these stretches."""
    kept: list[Run] = []
    for begin, end in reversed(runs):
        if most <= 0:
            break
        begin = max(begin, end - most + 1)
        kept.append((begin, end))
        most -= end - begin + 1
    return kept[::-1]
