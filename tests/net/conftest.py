"""Halls: servers in memory, one for each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from tests.support.hall import Hall

OpenHall = Callable[..., Hall]
"""The type of the fixture `open_hall`. Its keywords are those of `Hall`, except for the folder."""


@pytest.fixture
def open_hall(tmp_path: Path) -> Iterator[OpenHall]:
    halls: list[Hall] = []

    def open_one(**keywords: object) -> Hall:
        halls.append(Hall(tmp_path, **keywords))  # type: ignore[arg-type]
        return halls[-1]

    yield open_one
    for hall in halls:
        hall.close()


@pytest.fixture
def hall(open_hall: OpenHall) -> Hall:
    return open_hall()


@pytest.fixture
def audited() -> Iterator[list[str]]:
    """The lines of the audit log."""
    lines: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event["log_namespace"] == "chatserver.audit":
            lines.append(formatEvent(event).removeprefix("audit: "))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)
