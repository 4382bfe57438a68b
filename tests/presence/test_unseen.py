"""Two people of whom one has blocked the other: neither sees whether the other is there, away, or was there lately."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.hall import PASSWORD, Client, Hall

Reveals = Callable[["Pair"], None]


class Pair:
    """`me` looks, in either dialect; `eve` is looked at. Both are in the rooms `general` and `den`, and have talked."""

    def __init__(self, hall: Hall, blocked_by: str, text: bool) -> None:
        self.hall = hall
        self.text = text
        self.eve = hall.program("eve")
        self.me = self._arrive("register")
        self.eve.post("create", room="den")
        self.ask("/join den", "join", room="den")
        self.ask("/msg eve hello", "say", room="@eve", text="hello")
        if blocked_by == "me":
            self.ask("/block eve", "block", name="eve")
        elif blocked_by == "eve":
            self.eve.post("block", name="ana")
        hall.passes(10)

    def _arrive(self, how: str) -> Client:
        client = self.hall.client()
        return client.type(f"/{how} ana {PASSWORD}") if self.text else client.post(how, name="ana", password=PASSWORD)

    def ask(self, typed: str, command: str, **fields: Any) -> None:
        self.me.type(typed) if self.text else self.me.post(command, **fields)

    def come(self) -> None:
        """Logs in once more."""
        self.me.cut()
        self.me = self._arrive("login")

    def say_away(self, text: str) -> None:
        self.eve.post("away", text=text)

    def sees(self, look: Reveals) -> bool:
        """Whether what is sent meanwhile says that Eve is there, away, or was there lately."""
        before, me = len(self.me.seen), self.me
        look(self)
        self.hall.passes(8)
        sent = self.me.seen[before if me is self.me else 0 :].decode()
        return bool(self._told(sent) if self.text else [line for line in sent.split("\n") if self._shown(line)])

    def _told(self, sent: str) -> bool:
        lines = re.sub(r"\r\n +", " ", sent).splitlines()
        here = re.compile(r"(?<!not )here: .*\beve\b|\beve (is here|is away|has gone|left|is gone)|\beve .*last seen")
        beside = re.compile(r"You are in \w+ with .*\beve\b")
        return any(here.search(line) or beside.search(line) for line in lines)

    def _shown(self, line: str) -> bool:
        def reveals(value: Any) -> bool:
            if isinstance(value, list):
                return any(map(reveals, value))
            if not isinstance(value, dict):
                return False
            about = value.get("name") == "eve" and value.get("event", "presence") == "presence"
            says = value.get("online") or {"away", "last_seen", "event"} & value.keys()
            return bool(about and says) or any(map(reveals, value.values()))

        return reveals(json.loads(line)) if line.startswith("{") else False


def return_of_eve(pair: Pair) -> None:
    pair.eve = pair.hall.client().post("login", name="eve", password=PASSWORD)


def join_again(pair: Pair) -> None:
    pair.ask("/leave den", "leave", room="den")
    pair.ask("/join den", "join", room="den")


LOOKS: dict[str, Reveals] = {
    "who is near": lambda pair: pair.ask("/who", "who"),
    "who is it": lambda pair: pair.ask("/who eve", "who", name="eve"),
    "members": lambda pair: pair.ask("/members den", "members", room="den"),
    "members of the direct room": lambda pair: pair.ask("/members @eve", "members", room="@eve"),
    "login": Pair.come,
    "joining": join_again,
    "away": lambda pair: pair.say_away("lunch"),
    "who is near and away": lambda pair: pair.ask("/who", "who"),
    "who is it that is away": lambda pair: pair.ask("/who eve", "who", name="eve"),
    "back": lambda pair: pair.say_away(""),
    "going": lambda pair: pair.eve.cut(),
    "when was she here": lambda pair: pair.ask("/who eve", "who", name="eve"),
    "coming": return_of_eve,
}
FOR_PEOPLE = {"login", "joining"}
"""Programs are told no names there."""


@pytest.mark.parametrize("text", [True, False], ids=["text", "jsonl"])
@pytest.mark.parametrize("blocked_by", ["nobody", "me", "eve"])
def test_nobody_is_seen_across_a_block(tmp_path: Path, blocked_by: str, text: bool) -> None:
    """Commands and events show it to one account if neither has blocked the other, and otherwise nothing."""
    hall = Hall(tmp_path)
    pair = Pair(hall, blocked_by, text)
    found = {name: pair.sees(look) for name, look in LOOKS.items()}
    assert found == {name: blocked_by == "nobody" and (text or name not in FOR_PEOPLE) for name in LOOKS}
    hall.close()
