"""The interface to other nodes. Without `cluster` there are none."""

from collections.abc import Sequence
from typing import Final

from chatserver.values.events import Entry, News, RoomFacts
from chatserver.values.seen import Seen


class Elsewhere:
    """The other nodes, as all parts but `cluster` know them. This class stands for none. No method may raise."""

    @property
    def origin(self) -> str:
        """Marks this process's rows in the table `change`, which it does not need to read itself. "": there can be no
        other nodes, so that no rows are written for them."""
        return ""

    @property
    def moving(self) -> bool:
        """Whether this node sends its clients to others."""
        return False

    @property
    def cut_off(self) -> bool:
        """Whether this node may lack what others have decided, such as a ban, so that it delivers nothing of theirs:
        the database has answered none of its heartbeats for as long as a lease lasts."""
        return False

    def announced(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        """This process has committed entries: in ascending order, without a gap."""

    def found(self, room_id: int, seq: int) -> None:
        """This process has found in the store that a room's log goes up to `seq`, perhaps unannounced."""

    def heard(self, room_id: int, *, here: bool) -> None:
        """A room has its first subscriber here, or has lost its last one."""

    def tell(self, account_id: int, news: News) -> None:
        """Sends news to the sessions of an account at other nodes. They may be lost."""

    def typed(self, room_id: int, account_id: int, name: str) -> None:
        """Somebody types in a room here. May be lost."""

    def account_changed(self, account_id: int) -> None:
        """The sessions that an account has here, its names, its rooms or its away text have changed."""

    def changed(self) -> None:
        """This process has committed rows of `change`."""

    def changes_read(self) -> None:
        """This process has read and applied all rows of `change` that were committed when its last poll began."""

    def suspected(self) -> None:
        """The fate of something that this process wrote is unknown: it may be stored, or be stored later, without an
        announcement."""

    async def seen(self, account_id: int) -> dict[int, Seen]:
        """By room id, the entries that an account has seen at other nodes, as far as not stored yet."""
        return {}


NOWHERE: Final = Elsewhere()


class OtherNodes:
    """`now`: the other nodes, as long as this node works together with them."""

    def __init__(self) -> None:
        self.now = NOWHERE

    def join(self, elsewhere: Elsewhere) -> None:
        """This node works together with others from now on."""
        self.now = elsewhere

    def leave(self) -> None:
        self.now = NOWHERE
