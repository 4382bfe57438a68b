"""The table of doors: a prefix in front of an endpoint string names one, as in `ws:tcp:4080`."""

from typing import Final

from chatserver.net.doors.base import Door
from chatserver.net.doors.line import LineDoor, TelnetDoor
from chatserver.net.doors.web import WebDoor
from chatserver.net.doors.websocket import WebSocketDoor

DOORS: Final[dict[str, type[Door]]] = {
    "": LineDoor,  # an endpoint without a prefix
    "telnet": TelnetDoor,
    "web": WebDoor,
    "ws": WebSocketDoor,
}


def split(description: str) -> tuple[type[Door], str]:
    """The door that a `--listen` names, and its endpoint string."""
    prefix, _, endpoint = description.partition(":")
    return (DOORS[prefix], endpoint) if prefix and prefix in DOORS else (DOORS[""], description)
