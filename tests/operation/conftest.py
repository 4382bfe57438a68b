"""Halls, as for tests/net."""

from tests.net.conftest import audited, hall, open_hall

__all__ = ["audited", "hall", "open_hall"]
