"""The limits that an operator has set for one account, in place of those in the settings."""

from typing import Final

from msgspec import Struct


class AccountLimits(Struct, frozen=True):
    """None: what the settings say. 0: no limit. The rates are those of all its connections together, and hold for each
    of them too."""

    commands_per_second: float | None = None
    bytes_per_second: float | None = None
    connections: int | None = None


AS_SET: Final = AccountLimits()
"""Nothing of its own, as nearly all accounts have it."""
