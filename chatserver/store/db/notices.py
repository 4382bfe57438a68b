"""PostgreSQL's warning that a commit was not confirmed by the synchronous standby."""

from typing import Any, Final

REPLICATION: Final = (
    "synchron",
    "synkron",
    "senkron",
    "sincr",
    "síncr",
    "синхрон",
    "同步",
    "同期",
    "동기",
)
"""A part of the word "synchronous" in each language of PostgreSQL's messages. The driver hands over a warning's text
without its code, and only a superuser may choose the language."""


class Notices:
    """Takes the place of the list in which psycopg2 keeps notices, and keeps only this one.

    The warning comes if the wait for the standby is cancelled: the transaction is committed, but only locally.
    """

    __slots__ = ("unconfirmed",)

    def __init__(self) -> None:
        self.unconfirmed = ""

    def append(self, notice: str) -> None:
        """Called by the driver, in the thread that executes the statement."""
        if any(word in notice.lower() for word in REPLICATION):
            self.unconfirmed = notice


def take_unconfirmed(connection: Any) -> str:
    """The warning about the last commit on a connection of the driver; nearly always empty."""
    notices = getattr(connection, "notices", None)
    if notices is None or not notices.unconfirmed:
        return ""
    unconfirmed: str = notices.unconfirmed
    notices.unconfirmed = ""
    return unconfirmed
