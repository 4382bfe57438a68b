"""The text dialect: the functions of this package as one object."""

from collections.abc import Sequence
from datetime import date, datetime, tzinfo
from typing import Final

from chatserver.values.answers import Answer, Preferences
from chatserver.values.commands import Command
from chatserver.values.errors import Refused, Rejected, Sentence
from chatserver.values.events import Entry, News, RoomFacts
from chatserver.values.stages import SECRET, Stage
from chatserver.wire.dialect import Asked, Dialect, Form, Rendered
from chatserver.wire.screen import SCREEN, Screen, preferred
from chatserver.wire.text.shown import layout, render
from chatserver.wire.text.shown.entries import rendered
from chatserver.wire.text.shown.terminal import terminal
from chatserver.wire.text.typed.parse import (
    parse,
    parse_answer,
    parse_greeting,
    parse_password,
    parse_password_or_token,
)


class Text:
    """Recognizes every first line, so it must be the last dialect that is asked."""

    __slots__ = ("zone",)

    name = "text"
    for_people = True
    pinged = False

    def __init__(self, zone: tzinfo | None = None) -> None:
        """`zone`: the time zone of all times and dates shown to people who have not chosen one; None for the server's
        local time."""
        self.zone = zone

    def recognizes(self, start: bytes) -> bool:
        return True

    def parse(self, line: str, stage: Stage) -> Command | Rejected | None:
        try:
            if stage is Stage.IN:
                return parse(line)
            if stage is Stage.PASSWORD:
                return parse_password_or_token(line)
            if stage in SECRET:
                return parse_password(line)
            if stage is Stage.CONFIRM:
                return parse_answer(line)
            return parse_greeting(line)
        except Refused as refused:
            return Rejected(refused)

    def label(self, start: bytes, end: bytes) -> tuple[None, str]:
        return None, ""

    def day(self, at: datetime, screen: Screen = SCREEN) -> date:
        return terminal(screen, self.zone).day(at)

    def text(self, sentence: Sentence) -> str:
        return render.text(sentence)

    def notice(self, text: str, screen: Screen = SCREEN) -> bytes:
        return layout.unbroken(f"* {text}", terminal(screen, self.zone))

    def answer(self, asked: Asked, answer: Answer) -> bytes:
        screen = preferred(asked.screen, answer) if isinstance(answer, Preferences) else asked.screen
        return render.answer(asked, answer, terminal(screen, self.zone))

    def news(self, item: News, screen: Screen = SCREEN) -> bytes:
        return render.news(item, terminal(screen, self.zone))

    def entries(self, facts: RoomFacts, entries: Sequence[Entry], form: Form) -> Rendered:
        return rendered(facts, entries, form, terminal(form.screen, self.zone))


TEXT: Final[Dialect] = Text()
