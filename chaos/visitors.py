"""Those who come for a moment: new accounts, and guests."""

import time

from chaos.clients import ANSWER_SECONDS, PASSWORD, Client, Stage
from chaos.database import GENERAL
from chaos.log import Broken
from tests.support.client import JsonClient, Message, Silence

RETRY_SECONDS = 0.1


class Visitor(Client):
    """Comes, says something in the room general, hears it, and goes."""

    def __init__(self, stage: Stage, name: str, seed: str) -> None:
        super().__init__(stage, name, seed)
        self.visits = 0

    def converse(self) -> None:
        if self.stage.quiet:
            return
        with JsonClient(self.address(), timeout=ANSWER_SECONDS) as client:
            name = self.come(client)["name"]
            self.connections += 1
            text = f"{name} was here, on connection {self.connections}"
            self.insist(client, "say", room=GENERAL, text=text, id=f"v{self.connections}")
            try:
                client.hears(text)
            except Silence:
                raise Broken(f"{name} is deaf: its own message, which was acknowledged, has not come back") from None
            self.visits += 1
            time.sleep(self.chance.uniform(0.0, 0.3))
            if self.chance.random() < 0.7:
                client.ok("quit")

    def come(self, client: JsonClient) -> Message:
        """Log in; returns the answer."""
        raise NotImplementedError

    def insist(self, client: JsonClient, word: str, **fields: str) -> Message:
        """Repeat a command until it is `ok`."""
        while True:
            answer = client.cmd(word, **fields)
            if answer["ok"]:
                return answer
            if not answer.get("retry"):
                raise Broken(f"{word} {fields} was refused: {answer}")
            time.sleep(RETRY_SECONDS)


class Newcomer(Visitor):
    """Registers a new account on each visit, again and again until that is answered, on as many connections."""

    def come(self, client: JsonClient) -> Message:
        return self.insist(client, "register", name=f"{self.name}{self.visits + 1}", password=PASSWORD)


class Guest(Visitor):
    """Is another guest on each visit."""

    def come(self, client: JsonClient) -> Message:
        return self.insist(client, "guest")
