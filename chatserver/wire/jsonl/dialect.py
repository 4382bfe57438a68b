"""The JSON Lines dialect: the functions of this package as one object."""

from datetime import datetime
from typing import Final

from chatserver.wire.dialect import Dialect
from chatserver.wire.jsonl.entries import entries
from chatserver.wire.jsonl.label import label
from chatserver.wire.jsonl.parse import parse
from chatserver.wire.jsonl.render import answer, news, notice
from chatserver.wire.screen import SCREEN, Screen
from chatserver.wire.sentences import english


class JsonLines:
    """The functions are attached as they are: wrapping each in a method would cost one more call per message."""

    __slots__ = ()

    name = "jsonl"
    for_people = False
    pinged = True

    @staticmethod
    def recognizes(start: bytes) -> bool:
        return start.startswith(b"{")

    @staticmethod
    def day(at: datetime, screen: Screen = SCREEN) -> None:
        return None

    parse = staticmethod(parse)
    label = staticmethod(label)
    text = staticmethod(english)
    notice = staticmethod(notice)
    answer = staticmethod(answer)
    news = staticmethod(news)
    entries = staticmethod(entries)


JSONL: Final[Dialect] = JsonLines()
