"""Halls, as for tests/net, and towns."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.net.conftest import audited, hall, open_hall
from tests.operation.reloading import Town

__all__ = ["audited", "hall", "open_hall", "town"]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = Town(tmp_path)
    yield town
    town.hall.close()
