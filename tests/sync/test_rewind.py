"""What happens once the server cannot trust what it has read, without any of the parts that it happens to."""

from twisted.logger import LogLevel

from chatserver.sync.rewind import Rewind
from tests.support.memory import logged


class Part:
    """Notes what it is called for."""

    def __init__(self, name: str, calls: list[object]) -> None:
        self.name = name
        self.calls = calls

    def database_rewound(self, *, told: bool) -> None:
        self.calls.append((self.name, "rewound", told))

    def lease_lost(self) -> None:
        self.calls.append((self.name, "lease lost"))


def followed() -> tuple[Rewind, list[object]]:
    """Two parts follow."""
    calls: list[object] = []
    rewind = Rewind()
    for name in ("connections", "cluster"):
        rewind.follow(Part(name, calls))
    return rewind, calls


def test_a_room_shows_it() -> None:
    """All parts forget what they have read, in the order in which they follow; other nodes are to be told."""
    rewind, calls = followed()
    with logged(LogLevel.error) as lines:
        rewind.room_rewound(7, 12, 9)
    assert calls == [("connections", "rewound", False), ("cluster", "rewound", False)]
    assert ["room 7 went up to entry 12, and goes to 9 now" in line for line in lines] == [True]


def test_another_node_has_noticed_it() -> None:
    """Then the others know it, too."""
    rewind, calls = followed()
    rewind.node_rewound()
    assert calls == [("connections", "rewound", True), ("cluster", "rewound", True)]


def test_the_lease_is_lost() -> None:
    """That says nothing of the database."""
    rewind, calls = followed()
    rewind.lease_lost()
    assert calls == [("connections", "lease lost"), ("cluster", "lease lost")]
