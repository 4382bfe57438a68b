"""The door for browsers: the files of the page, and the WebSocket that it opens, on one port."""

from chatserver.net.doors.factory import ChatFactory
from chatserver.net.doors.files import pages
from chatserver.net.doors.visit import FILES_ARRIVAL, Visit
from chatserver.net.doors.websocket import WebSocketDoor


class WebDoor(WebSocketDoor):
    """A WebSocketDoor behind a `Visit`."""

    prefix = "web:"
    serves_pages = True
    cost = FILES_ARRIVAL

    @classmethod
    def prepare(cls) -> None:
        pages()

    @classmethod
    def visit(cls, factory: ChatFactory, address: str, encrypted: bool | None, counted: float) -> Visit:
        return Visit(factory, address, encrypted, pages(), counted)
