"""A person at a text client: what is on the screen must be a piece of the room's log."""

import re
import time
from contextlib import suppress

from chaos.clients import ANSWER_SECONDS, PASSWORD, TURN_SECONDS, Client, Refused, Stage
from chaos.database import GENERAL, Row
from chaos.log import Broken
from tests.support.client import Silence, TextClient

_MESSAGE = re.compile(rf"\[{GENERAL}\] \d\d:\d\d (?:» )?([\w~-]+): (.*)")
_FILLED = re.compile(r"(\S+-\d+) x*")
_WELCOME = re.compile(r"(\* Hello [^\n]* You are in [^\n]*|! [^\n]*)\n")


def _kept(text: str) -> str:
    """A message without what fills it: that goes on on further lines of the screen."""
    found = _FILLED.fullmatch(text)
    return found[1] if found else text


class Screen(Client):
    """Logs in, and reads the messages of the room general."""

    def __init__(self, stage: Stage, name: str, seed: str) -> None:
        super().__init__(stage, name, seed)
        self.shown: list[list[str]] = []
        """For each connection, the messages but for what fills them, in the order in which they were shown."""

    def has_shown(self, text: str) -> bool:
        """Whether the present connection shows this message."""
        return bool(self.shown) and _kept(text) in self.shown[-1]

    def converse(self) -> None:
        with TextClient(self.address(), timeout=ANSWER_SECONDS) as client:
            client.type(f"/login {self.name} {PASSWORD}")
            if client.expect(_WELCOME)[1].startswith("!"):
                raise Refused
            self.shown.append([])
            self.connected_at = time.monotonic()
            self.connections += 1
            while not self.stopping:
                with suppress(Silence):
                    client.fill(lambda: b"\n" in client.received, "a line", TURN_SECONDS)
                *lines, client.received = client.received.split(b"\n")
                for line in lines:
                    found = _MESSAGE.fullmatch(line.decode().rstrip("\r"))
                    if found is not None:
                        self.shown[-1].append(_kept(found[2]))

    def check(self, log: list[Row]) -> None:
        """Raises Broken unless each connection showed messages that follow one another in the log of general."""
        places = {_kept(row.text): place for place, row in enumerate(row for row in log if row.kind == "message")}
        for number, texts in enumerate(self.shown, 1):
            where = [places.get(_kept(text), -1) for text in texts]
            for before, after, text in zip(where, where[1:], texts[1:], strict=False):
                if after != before + 1:
                    raise Broken(
                        f"Connection {number} of {self.name} shows message {after} ({text[:40]}) of {GENERAL}"
                        f" after message {before}"
                    )
