"""A migrated SQLite database of which tests get copies: a copy takes a millisecond, the migrations take much longer."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from chatserver.store.db.engine import open_ready, parse_url


@cache
def migrated() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "migrated.db"
        open_ready(parse_url(f"sqlite:///{path}")).dispose()
        return path.read_bytes()
