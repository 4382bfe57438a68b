"""A client in a kept session, which counts for itself what the server says is unread."""

import re
import time
from collections.abc import Mapping
from typing import Any

from chaos.clients import Reader
from chaos.log import Broken
from tests.support.client import Message

NOTIFY = ("all", "mentions", "nothing")
LATE_SECONDS = 80.0
"""How long a command whose answer did not come may still take effect: the server may commit it that late."""


class Badge(Reader):
    """Reads, moves its read marks, sets its notifications, and compares what `unread` says with its own logs."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.compared = 0
        """Number of rooms in answers that were compared."""
        self._secret = ""
        self._next = 0.0
        self._news: dict[str, dict[int, bool]] = {}
        """By room and seq: whether this message of somebody else mentions the client."""
        self._marks: dict[str, int] = {}
        """By room, the highest read mark that was acknowledged."""
        self._notify: dict[str, str] = {}
        """By room, what was acknowledged last."""
        self._unsure: dict[str, list[tuple[float, str]]] = {}
        """By room, what was sent and not acknowledged, and until when it may take effect."""
        self._due: list[Message] = []
        """Rooms of answers that are compared once their entries have come."""

    def credentials(self) -> Mapping[str, Any]:
        known = {"secret": self._secret} if self._secret else {**super().credentials(), "keep": "chaos"}
        return {**known, "state": True}

    def logged_in(self, answer: Message) -> None:
        self._secret = answer["secret"]
        self._due = []
        self._told(answer)

    def act(self) -> None:
        self._compare()
        now = time.monotonic()
        if self.stage.quiet or self.waiting or now < self._next:
            return
        self._next = now + self.chance.uniform(0.1, 0.5)
        room = self.chance.choice(sorted(self.inside))
        match self.chance.randrange(4):
            case 0 if position := self.log(room).position:
                seq = max(position - self.chance.choice((0, 3, 30)), 1)
                self.post(lambda answer: self._marked(room, seq, answer), cmd="read", room=room, seq=seq)
            case 1:
                notify = self.chance.choice(NOTIFY)
                self._unsure.setdefault(room, []).append((now + LATE_SECONDS, notify))
                self.post(lambda answer: self._set(room, notify, answer), cmd="prefer", room=room, notify=notify)
            case _:
                self.post(self._told, cmd="unread")

    def _take(self, message: Message) -> None:
        if message.get("event") == "message" and message["from"] != self.name:
            mentions = self.name in re.findall(r"\w+", message["text"])
            self._news.setdefault(message["room"], {})[message["seq"]] = mentions
        super()._take(message)

    def _marked(self, room: str, seq: int, answer: Message) -> None:
        if answer["ok"]:
            self._marks[room] = max(self._marks.get(room, 0), answer["seq"], seq)
        elif not answer.get("retry"):
            raise Broken(f"{self.name} may not mark {room} as read: {answer}")

    def _set(self, room: str, notify: str, answer: Message) -> None:
        if answer["ok"]:
            self._notify[room] = notify
            self._unsure[room] = [one for one in self._unsure[room][:-1] if one[0] > time.monotonic()]
        elif not answer.get("retry"):
            raise Broken(f"{self.name} may not set its notifications of {room}: {answer}")

    def _told(self, answer: Message) -> None:
        if not answer["ok"]:
            if not answer.get("retry"):
                raise Broken(f"{self.name} was refused what is unread: {answer}")
            return
        for told in answer["rooms"]:
            room = told["room"]
            if told["read"] < self._marks.get(room, 0):
                raise Broken(f"{self.name} has read {room} up to {self._marks[room]}, but is told {told}")
            notify = {self._notify.get(room), *(value for _, value in self._unsure.get(room, ()))}
            if told.get("notify") not in notify:
                raise Broken(f"{self.name} is told {told}, and its notifications are one of {notify}")
            self._due.append(told)

    def _compare(self) -> None:
        ready = [told for told in self._due if self.log(told["room"]).position >= told["seq"]]
        self._due = [told for told in self._due if told not in ready]
        for told in ready:
            room, read = told["room"], told["read"]
            if read + 1 < self.log(room).entries[0].seq:
                continue  # something unread was there before it came
            news = {seq: named for seq, named in self._news.get(room, {}).items() if read < seq <= told["seq"]}
            count = len(news), sum(news.values()), min(news, default=None)
            if (told["messages"], told["mentions"], told.get("first")) != count:
                raise Broken(f"{self.name} counts {count} as messages, mentions and first of {told}")
            self.compared += 1
