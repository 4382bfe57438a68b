"""The text dialect: the functions of this package as one object."""

from collections.abc import Sequence
from datetime import date, datetime, tzinfo
from typing import Final

from chatserver.answers import Answer
from chatserver.commands import Command
from chatserver.errors import Refused, Rejected
from chatserver.events import Entry, News, RoomFacts
from chatserver.stages import Stage
from chatserver.wire.dialect import SCREEN, Asked, Dialect, Form, Rendered, Screen
from chatserver.wire.text import layout, render
from chatserver.wire.text.entries import rendered
from chatserver.wire.text.parse import parse, parse_greeting, parse_password


class Text:
    """Recognizes every first line, so it must be the last dialect that is asked."""

    __slots__ = ("zone",)

    name = "text"
    for_people = True
    pinged = False

    def __init__(self, zone: tzinfo | None = None) -> None:
        """`zone`: the time zone of all times and dates shown; None for the server's local time."""
        self.zone = zone

    def recognizes(self, start: bytes) -> bool:
        return True

    def parse(self, line: str, stage: Stage) -> Command | Rejected | None:
        try:
            if stage is Stage.IN:
                return parse(line)
            if stage is Stage.PASSWORD:
                return parse_password(line)
            return parse_greeting(line)
        except Refused as refused:
            return Rejected(refused)

    def day(self, at: datetime, screen: Screen = SCREEN) -> date:
        return layout.local_day(at, self.zone)

    def notice(self, text: str, screen: Screen = SCREEN) -> bytes:
        return layout.unbroken(f"* {text}")

    def answer(self, asked: Asked, answer: Answer) -> bytes:
        return render.answer(asked, answer, self.zone)

    def news(self, item: News, screen: Screen = SCREEN) -> bytes:
        return render.news(item)

    def entries(self, facts: RoomFacts, entries: Sequence[Entry], form: Form) -> Rendered:
        return rendered(facts, entries, form, self.zone)


TEXT: Final[Dialect] = Text()
