"""The scenarios, each with its question, and the series that the plots show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench import probes
from bench.fill import People
from bench.load import Load, run
from bench.servers import PEERS, Server

OURS = ["chatserver-pg", "chatserver-sqlite"]
FAST = ["ngircd", "inspircd", *OURS]  # an XMPP server's logins alone would take longer than everything else
Result = dict[str, Any]


@dataclass(frozen=True)
class Scenario:
    """One measurement. `people` are inserted into the database before `measure` is called with the running server."""

    name: str
    question: str
    load: Load
    peers: Sequence[str] = tuple(PEERS)
    quick: bool = False  # part of a quick run
    kind: str = "load"  # selects its table in the report
    more_people: Sequence[People] = ()
    probe: Callable[[Server, Load], Result] = run
    statements: bool = False  # let the database record how long its statements take
    size: int = 0  # entries in the log before the run

    @property
    def people(self) -> list[People]:
        return [replace(self.load.people, entries=self.size), *self.more_people]

    def measure(self, server: Server) -> Result:
        return self.probe(server, self.load)

    def shortened(self, factor: float) -> "Scenario":
        return replace(self, load=replace(self.load, seconds=max(1.0, self.load.seconds * factor)))


def _fan(clients: int, window: int = 16, **more: Any) -> Load:
    return Load(clients=clients, senders=min(4, clients), window=window, **more)


def _paced(rate: float, seconds: float = 4, **more: Any) -> Load:
    return Load("paced", rate=rate, seconds=seconds, **more)


def _rooms(rooms: int) -> Load:
    """Rooms of 4, with about 64 messages in flight in total, or at least one per room."""
    return Load(clients=4 * rooms, rooms=rooms, senders=rooms, window=max(1, 64 // rooms))


COMPARED = [
    Scenario("fan100", "One room of 100; 4 senders with 16 messages in flight each.", _fan(100), quick=True),
    Scenario("fan100w1", "The same with 1 in flight: the full path of one message.", _fan(100, 1)),
    Scenario("fan100w64", "The same with 64 in flight: how much batching helps.", _fan(100, 64)),
    Scenario("fan500", "One room of 500; 4 senders with 16 messages in flight each.", _fan(500), quick=True),
    Scenario(
        "rooms50", "50 rooms of 10; one sender in each, with 4 messages in flight.",
        Load(clients=500, rooms=50, senders=50, window=4), quick=True,
    ),
    Scenario(
        "paced100", "100 messages/s in a room of 100, to clients with delayed ACKs, as ordinary clients have.",
        _paced(100, 5, quickack=False), quick=True,
    ),
    Scenario("paced500", "500 messages/s in a room of 100.", _paced(500)),
    Scenario(
        "idle10k", "10,000 clients log in, 10 per room, and stay connected.",
        Load("idle", clients=10_000, rooms=1000, seconds=2, login_seconds=150), FAST, kind="idle",
    ),
]  # fmt: skip

GROWING = [
    Scenario("members10", "Like fan100, with 10 members.", _fan(10), FAST, quick=True),
    Scenario("members30", "Like fan100, with 30 members.", _fan(30), FAST),
    Scenario("members300", "Like fan100, with 300 members.", _fan(300), FAST),
    Scenario("members1000", "Like fan100, with 1,000 members.", _fan(1000), FAST, quick=True),
    Scenario("members10000", "Like fan100, with 10,000 members.", _fan(10_000, login_seconds=150), OURS),
    *(
        Scenario(f"rate{rate}", f"{rate:,} messages/s in a room of 100.", _paced(rate, 3), FAST, quick=rate == 1000)
        for rate in (200, 1000, 2000, 5000, 10_000)
    ),
    *(
        Scenario(f"chats{rooms}", f"{rooms:,} rooms of 4 members, about 64 messages in flight.", _rooms(rooms), FAST)
        for rooms in (1, 10, 100, 1000)
    ),
]

PROBED = [
    *(
        Scenario(
            f"stored{entries}", f"100 messages/s to a room of {entries:,} entries; pages of 50 from its log.",
            _paced(100, 3, clients=20), OURS, entries == 10_000, "stored",
            probe=probes.stored, statements=True, size=entries,
        )
        for entries in (1000, 10_000, 100_000, 1_000_000, 10_000_000)
    ),
    Scenario(
        "resume", "A client resumes a room of 1,000,000 entries repeatedly; another room has 100 messages/s.",
        _paced(100, 6, prefix="b", clients=100), OURS, kind="resume", probe=probes.resume,
        more_people=[People("a", 1, entries=1_000_000)],
    ),
    Scenario(
        "stalled", "A room with 5,000 messages/s, in which 1,000 members never read and 100 do.",
        _paced(5000, 4), OURS, kind="stalled", probe=probes.stalled,
        more_people=[People("s", probes.STALLED, room_prefix="a")],
    ),
    Scenario(
        "bigroom", "One message a second to a room of 10,000, while a room of 20 has 100 messages/s.",
        _paced(1, 7, clients=10_000, login_seconds=150), OURS, kind="bigroom", probe=probes.bigroom,
        more_people=[probes.BESIDE.people],
    ),
]  # fmt: skip

SCENARIOS = {scenario.name: scenario for scenario in (*COMPARED, *GROWING, *PROBED)}


@dataclass(frozen=True)
class Series:
    """Scenarios that differ in one number, which is the x axis of a plot."""

    name: str
    title: str
    x: str
    figures: Sequence[tuple[str, str]]  # the key of a figure, and its label
    points: dict[str, float] = field(default_factory=dict)


THROUGHPUT = [("msgs_per_s", "messages/s"), ("deliveries_per_s", "deliveries/s")]
LATENCY = [("lat_ms.p50", "p50, ms"), ("lat_ms.p99", "p99, ms")]
SERIES = [
    Series("members", "Throughput by members of the room", "members", THROUGHPUT,
           {"members10": 10, "fan100": 100, "members1000": 1000, "members10000": 10_000}),
    Series("rate", "Latency by rate, room of 100", "messages/s", LATENCY,
           {"rate200": 200, "paced500": 500, **{f"rate{n}": n for n in (1000, 2000, 5000, 10_000)}}),
    Series("rooms", "Throughput by number of rooms, 4 members each", "rooms", THROUGHPUT[:1],
           {f"chats{n}": n for n in (1, 10, 100, 1000)}),
    Series("stored", "Latency by stored entries, 100 messages/s", "entries in the room", LATENCY[1:],
           {f"stored{n}": n for n in (1000, 10_000, 100_000, 1_000_000, 10_000_000)}),
]  # fmt: skip
README_SERIES = Series(
    "deliveries", "Deliveries per second, by members of the room", "members of the room", THROUGHPUT[1:],
    {"members10": 10, "members30": 30, "fan100": 100, "members300": 300, "fan500": 500},
)  # fmt: skip
"""The plot in the project's README."""
