"""Towns, as for tests/operation."""

from tests.operation.conftest import town

__all__ = ["town"]
