"""Databases and servers that the tests of a file share: they are as dear to make as all that is tested on them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from chatserver.store.database import open_ready, parse_url
from tests.support import postgres


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A ready database of each kind. What a test does there it undoes."""
    if request.param == "sqlite":
        folder: Path = tmp_path_factory.mktemp("rooms")
        url = f"sqlite:///{folder / 'chatserver.db'}"
    else:
        url = postgres.postgres_url()
    one = open_ready(parse_url(url), migrate=True)
    yield one
    one.dispose()
    if request.param == "postgres":
        postgres.drop_postgres(url)
