"""The heads of rooms: how far each log goes in the database."""

from collections.abc import Collection

import msgspec
from sqlalchemy import Connection, text

# One JSON text instead of a parameter for each of perhaps thousands of rooms.
_HEADS = {
    "postgresql": text(
        "SELECT id, last_seq FROM room WHERE id IN "
        "(SELECT CAST(value AS bigint) FROM json_array_elements_text(CAST(:ids AS json)))"
    ),
    "sqlite": text("SELECT id, last_seq FROM room WHERE id IN (SELECT value FROM json_each(:ids))"),
}


def heads(db: Connection, room_ids: Collection[int]) -> dict[int, int]:
    """By room id, the seq of the last entry. Rooms that the database does not have are left out."""
    rows = db.execute(_HEADS[db.dialect.name], {"ids": msgspec.json.encode(list(room_ids)).decode()})
    return {row.id: row.last_seq for row in rows}
