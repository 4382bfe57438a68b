"""How a command of the control socket hands over what it finds."""

from typing import Final, Protocol

FAULT: Final = "Something went wrong in the server; its log has the details."


class CannotDo(Exception):
    """The command cannot be done; the text is one line that says what to do."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Gone(Exception):
    """Nobody waits for the answer any more."""


class Out(Protocol):
    def item(self, value: object) -> None:
        """Sends one item of a list. Raises Gone."""

    async def turn(self) -> None:
        """Lets the reactor do other things, and waits until the client takes more. Raises Gone."""
