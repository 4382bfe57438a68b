"""The door for people with telnet: the door for lines, at which the server speaks telnet first."""

from chatserver.net.doors.line import LineDoor


class TelnetDoor(LineDoor):
    """A client that does not speak telnet shows three strange characters twice, and is served all the same."""

    prefix = "telnet:"

    def connectionMade(self) -> None:
        self.connection.made()
        self._negotiate()
        self.connection.opened()
