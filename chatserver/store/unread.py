"""What is unread: entries, messages and mentions. An account's own, and those that it ignores, do not count."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import structs
from sqlalchemy import Connection, text

from chatserver.values.answers import Unread
from chatserver.values.events import ERASED, MESSAGE, Membership, Person
from chatserver.values.ignoring import HIDDEN

MOST: Final = 200_000
"""Maximum number of unread entries that are looked at for one answer: a tenth of a second. Somebody may be in thousands
of rooms, and rooms may have millions of entries."""
MOST_AT_LOGIN: Final = 20_000
"""Maximum number of those at a login: everybody may log in at once."""

NOTHING: Final = Unread()

_IGNORED: Final = ", ".join(f"'{kind}'" for kind in sorted(HIDDEN))
_IS_IGNORED: Final = 'EXISTS (SELECT 1 FROM "ignore" AS i WHERE i.account_id = :me AND i.ignored_id = {author})'


def _statement(dialect: str) -> str:
    """For each stretch: the room, the number of hidden entries, of messages, and of mentions, and the first message.
    Entries are looked at up to `until`, mentions up to `last`."""
    fields = ("room_id", "first", "until", "last")
    if dialect == "postgresql":
        columns = ", ".join(f"CAST(v ->> {index} AS bigint) AS {name}" for index, name in enumerate(fields))
        said = f"SELECT {columns} FROM json_array_elements(CAST(:said AS json)) AS t(v)"
    else:
        columns = ", ".join(f"value ->> {index} AS {name}" for index, name in enumerate(fields))
        said = f"SELECT {columns} FROM json_each(:said)"
    theirs = f"e.author_id <> :me AND NOT {_IS_IGNORED.format(author='e.author_id')}"
    hidden = f"e.author_id = :me OR (e.kind IN ({_IGNORED}) AND {_IS_IGNORED.format(author='e.author_id')})"
    message = f"e.kind = '{MESSAGE}' AND e.state IS DISTINCT FROM '{ERASED}' AND {theirs}"
    return f"""
WITH said AS ({said})
SELECT s.room_id, count(*) FILTER (WHERE {hidden}), count(*) FILTER (WHERE {message}),
       min(e.seq) FILTER (WHERE {message}), 0
FROM said AS s JOIN entry AS e ON e.room_id = s.room_id AND e.seq BETWEEN s.first AND s.until
GROUP BY s.room_id
UNION ALL
SELECT s.room_id, 0, 0, NULL, count(*)
FROM said AS s JOIN mention AS m ON m.account_id = :me AND m.room_id = s.room_id AND m.seq BETWEEN s.first AND s.last
WHERE NOT {_IS_IGNORED.format(author="m.author_id")}
GROUP BY s.room_id
"""


_COUNT: Final = {dialect: text(_statement(dialect)) for dialect in ("postgresql", "sqlite")}


def counts(db: Connection, who: Person, rooms: Sequence[Membership], most: int = MOST) -> list[Unread]:
    """What is unread of each of these rooms of an account, in the same order: one statement, or none if nothing is.

    Looks at no more than `most` entries: at the oldest ones of each room, and at those of smaller rooms first.
    """
    lacking = [one.seen.lacks(one.floor, one.seq) for one in rooms]
    shares = _shares(lacking, most)
    stretches = [stretch for one, share in zip(rooms, shares, strict=True) for stretch in _stretches(one, share)]
    if not stretches:
        return [NOTHING] * len(rooms)
    said = {"said": msgspec.json.encode(stretches).decode(), "me": who.id}
    found: dict[int, Unread] = {}
    for room_id, hidden, messages, first, mentions in db.execute(_COUNT[db.dialect.name], said):
        known = found.get(room_id, NOTHING)
        found[room_id] = Unread(
            known.entries + hidden, known.messages + messages, known.mentions + mentions, known.first or first or 0
        )
    counted = []
    for one, count, share in zip(rooms, lacking, shares, strict=True):
        known = found.get(one.facts.id, NOTHING)
        counted.append(structs.replace(known, entries=count - known.entries, partial=share < count))
    return counted


def count(db: Connection, who: Person, room: Membership) -> Unread:
    return counts(db, who, [room])[0]


def _shares(lacking: Sequence[int], most: int) -> list[int]:
    """How many entries of each room are looked at."""
    if sum(lacking) <= most:
        return list(lacking)
    shares = [0] * len(lacking)
    for done, index in enumerate(sorted(range(len(lacking)), key=lacking.__getitem__)):
        shares[index] = min(lacking[index], most // (len(lacking) - done))
        most -= shares[index]
    return shares


def _stretches(one: Membership, share: int) -> Iterator[tuple[int, int, int, int]]:
    """The stretches of unread entries of a room: its id, the first number, the last one to look at, the last one."""
    for first, last in one.seen.missing(one.floor, one.seq):
        until = min(last, first + share - 1)
        share -= until - first + 1
        yield one.facts.id, first, until, last
