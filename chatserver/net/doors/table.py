"""The table of doors: a prefix in front of an endpoint string names one, as in `ws:tcp:4080`."""

from collections.abc import Callable
from typing import Final

from chatserver.config import Settings
from chatserver.net.door import Door
from chatserver.net.line import LineDoor
from chatserver.net.telnet import TelnetDoor
from chatserver.net.websocket import WebSocketDoor

NewDoor = Callable[[Settings], Door]

DOORS: Final[dict[str, NewDoor]] = {
    "": LineDoor,  # an endpoint without a prefix
    "telnet": TelnetDoor,
    "ws": WebSocketDoor,
}


def split(description: str) -> tuple[NewDoor, str]:
    """The door that a `--listen` names, and its endpoint string."""
    prefix, _, endpoint = description.partition(":")
    return (DOORS[prefix], endpoint) if prefix and prefix in DOORS else (DOORS[""], description)
