"""What the parts of a server tell other nodes. By itself there are none, and nobody is told; `cluster` changes that."""

from collections.abc import Sequence

from chatserver.values.events import Entry, News, RoomFacts


class Elsewhere:
    """The other nodes, as far as delivery, handlers and presence have to do with them. No method may raise."""

    @property
    def origin(self) -> str:
        """What marks this process's rows in the table `change`, from which it does not need to learn; "": it need not
        write any for other nodes, since there can be none."""
        return ""

    def announced(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        """This process has committed entries: in ascending order, without a gap."""

    def found(self, room_id: int, seq: int) -> None:
        """This process has found in the store that a room's log goes up to `seq`, and perhaps nobody has told so."""

    def heard(self, room_id: int, *, here: bool) -> None:
        """A room has its first subscriber here, or none any more."""

    def tell(self, account_id: int, news: News) -> None:
        """News for the sessions of an account at other nodes. It may be lost."""

    def changed(self) -> None:
        """This process has committed rows of `change`."""

    def suspected(self) -> None:
        """The fate of something that this process wrote is unknown: it may be stored, or be stored later, and nobody
        tells of it."""


NOWHERE = Elsewhere()
