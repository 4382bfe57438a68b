"""The numbers of a running server in the format of Prometheus. docs/monitoring.md explains each of them."""

import platform
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, product
from typing import Final, TypeVar

from msgspec import Struct
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from chatserver import __version__
from chatserver.net.counts import ENDINGS, OTHER
from chatserver.net.limits.admission import REFUSALS
from chatserver.operation.monitoring.counters import DOOR_NAMES, FATES, LOGIN, BusNumbers, Snapshot
from chatserver.pipeline.outcomes import BROKEN, OK
from chatserver.store.db.threads import ERRORS
from chatserver.util.histogram import Distribution
from chatserver.values.commands import COMMANDS
from chatserver.values.errors import ErrorWord
from chatserver.values.stages import Stage
from chatserver.wire.dialects import DIALECTS

Words = TypeVar("Words", bound=tuple[str, ...])

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Situation(Struct, frozen=True):
    """Values beside a snapshot. A limit of 0 is none."""

    ready: bool
    unanswered_seconds: float
    connections_limit: int
    passwords_limit: int


class Numbers(Collector):
    """A snapshot as Prometheus' metrics. Label values that are known beforehand are there from the beginning, as 0:
    a counter that appears with its first event would hide that event from `rate`."""

    def __init__(self, seen: Snapshot, situation: Situation) -> None:
        self._seen = seen
        self._situation = situation

    def collect(self) -> Iterator[Metric]:
        yield from self._process()
        yield from self._connections()
        yield from self._commands()
        yield from self._messages()
        yield from self._store()
        if self._seen.bus is not None:
            yield from self._bus(self._seen.bus)

    def _process(self) -> Iterator[Metric]:
        info = {"version": __version__, "python": platform.python_version()}
        yield InfoMetricFamily("chatserver_build", "The version of the server, and of the Python that runs it.", info)
        seen = self._seen
        yield GaugeMetricFamily("chatserver_start_time_seconds", "When the server started, since 1970.", seen.started)
        yield GaugeMetricFamily("chatserver_ready", "Whether /health/ready says so.", int(self._situation.ready))
        yield _histogram("chatserver_reactor_lag_seconds", "How late a timer of the reactor is.", seen.lag_seconds)

    def _connections(self) -> Iterator[Metric]:
        seen = self._seen
        stages = [stage.name.lower() for stage in Stage]
        every = product(stages, [dialect.name for dialect in DIALECTS], DOOR_NAMES)
        yield _gauge(
            "chatserver_connections", "Open connections.", ["stage", "dialect", "door"],
            dict.fromkeys(every, 0) | seen.connections,
        )  # fmt: skip
        yield GaugeMetricFamily(
            "chatserver_connections_limit", "limits.connections; 0 means none.", self._situation.connections_limit
        )
        yield CounterMetricFamily("chatserver_connections_accepted", "Connections let in.", seen.accepted)
        yield _counter(
            "chatserver_connections_refused", "Connections turned away at once.", "reason", REFUSALS, seen.turned_away
        )
        yield _counter(
            "chatserver_connections_ended", "Connections that ended.", "reason", [*ENDINGS, OTHER], seen.endings
        )
        expiry = GaugeMetricFamily(
            "chatserver_certificate_expiry_timestamp_seconds", "When an endpoint's certificate expires, since 1970.",
            labels=["endpoint"],
        )  # fmt: skip
        for endpoint, until in seen.certificates.items():
            expiry.add_metric([endpoint], until)
        yield expiry
        yield CounterMetricFamily("chatserver_received_bytes", "Bytes from TCP clients.", seen.bytes_received)
        yield CounterMetricFamily("chatserver_sent_bytes", "Bytes that TCP clients have received.", seen.bytes_sent)
        yield GaugeMetricFamily("chatserver_accounts_online", "Accounts with a connection.", seen.accounts)
        yield GaugeMetricFamily("chatserver_rooms", "Rooms that somebody hears.", seen.rooms)
        yield GaugeMetricFamily("chatserver_subscriptions", "Pairs of a room and who hears it.", seen.subscriptions)

    def _commands(self) -> Iterator[Metric]:
        seen = self._seen
        kinds = [LOGIN, *(str(kind.__struct_config__.tag) for kind in COMMANDS)]
        yield _counters(
            "chatserver_commands", "Commands that were done or refused.", ["kind", "outcome"],
            dict.fromkeys(product(kinds, [OK, BROKEN]), 0) | seen.commands,
        )  # fmt: skip
        yield _counter("chatserver_refusals", "Answers with an error.", "error", list(ErrorWord), seen.refusals)
        yield _gauge(
            "chatserver_queue_sessions", "Sessions with a command that wait to be served.", ["lane"],
            {(lane,): count for lane, count in seen.queued.items()},
        )  # fmt: skip
        waits = HistogramMetricFamily("chatserver_queue_wait_seconds", "How long they waited.", labels=["lane"])
        for lane, wait in seen.waits.items():
            waits.add_metric([lane], _buckets(wait), wait.total)
        yield waits
        yield GaugeMetricFamily(
            "chatserver_passwords_waiting", "Passwords that wait for a hashing thread.", seen.hashes_waiting
        )
        yield GaugeMetricFamily(
            "chatserver_passwords_waiting_limit", "passwords.queue.", self._situation.passwords_limit
        )

    def _messages(self) -> Iterator[Metric]:
        seen = self._seen
        yield CounterMetricFamily("chatserver_messages_stored", "Messages committed.", seen.stored)
        yield _histogram("chatserver_take_messages", "Messages committed together.", seen.takes)
        yield _histogram(
            "chatserver_message_commit_seconds", "From a message's line to its commit.", seen.commit_seconds
        )
        yield _histogram(
            "chatserver_delivery_seconds", "From a commit to the last subscriber that keeps up.", seen.delivery_seconds
        )
        yield _counters(
            "chatserver_deliveries", "Entries handed to subscribers, counted for each of them.", ["way"],
            {("live",): seen.delivered, ("catch-up",): seen.caught_up},
        )  # fmt: skip
        yield GaugeMetricFamily("chatserver_readers_behind", "Subscribers that lack entries.", seen.behind.readers)
        yield GaugeMetricFamily("chatserver_behind_entries", "Entries that they lack in all.", seen.behind.entries)
        yield GaugeMetricFamily("chatserver_behind_entries_max", "Entries that one of them lacks.", seen.behind.most)
        yield GaugeMetricFamily("chatserver_unindexed_entries", "Entries that the search index lacks.", seen.unindexed)

    def _store(self) -> Iterator[Metric]:
        seen = self._seen
        pools = seen.pools.items()
        yield _gauge(
            "chatserver_store_threads", "Threads for the database at most.", ["pool"],
            {(pool,): load.threads for pool, load in pools},
        )  # fmt: skip
        yield _gauge(
            "chatserver_store_threads_busy", "Those that have a call.", ["pool"],
            {(pool,): load.busy for pool, load in pools},
        )  # fmt: skip
        yield _gauge(
            "chatserver_store_calls_waiting", "Calls that wait for a thread.", ["pool"],
            {(pool,): load.waiting for pool, load in pools},
        )  # fmt: skip
        yield _counter("chatserver_store_errors", "Calls that failed.", "reason", ERRORS, seen.store_errors)
        yield GaugeMetricFamily(
            "chatserver_store_silence_seconds", "How long ago the database answered a heartbeat.",
            self._situation.unanswered_seconds,
        )  # fmt: skip

    def _bus(self, bus: BusNumbers) -> Iterator[Metric]:
        yield GaugeMetricFamily("chatserver_other_nodes", "Other nodes that are alive.", bus.nodes)
        yield GaugeMetricFamily("chatserver_bus_connected", "Whether the bus is connected.", int(bus.connected))
        yield GaugeMetricFamily("chatserver_bus_lag_seconds", "How long a frame takes over the bus.", bus.lag)
        yield CounterMetricFamily("chatserver_bus_reconnects", "Times that the bus connected again.", bus.reconnects)
        yield _counter("chatserver_bus_frames", "Frames to and from other nodes.", "fate", FATES, bus.frames)
        yield CounterMetricFamily("chatserver_bus_gaps", "Times that frames of another node were missing.", bus.gaps)
        yield CounterMetricFamily("chatserver_bus_sent_bytes", "Bytes of frames to other nodes.", bus.bytes_sent)
        yield CounterMetricFamily("chatserver_bus_received_bytes", "Bytes of frames from them.", bus.bytes_received)
        yield _counter(
            "chatserver_bus_entries", "Entries of other nodes, by the way they came.", "way", bus.entries, bus.entries
        )


_process: Final = CollectorRegistry()
ProcessCollector(registry=_process)


def exposition(seen: Snapshot, situation: Situation) -> bytes:
    """The text for a scrape. Reads /proc, whose list of open files may be long: call it in a thread."""
    numbers = CollectorRegistry()
    numbers.register(Numbers(seen, situation))
    return generate_latest(numbers) + generate_latest(_process)


def _gauge(name: str, text: str, labels: list[str], values: Mapping[Words, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for words, value in values.items():
        family.add_metric(words, value)
    return family


def _counters(name: str, text: str, labels: list[str], values: Mapping[Words, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for words, value in values.items():
        family.add_metric(words, value)
    return family


def _counter(name: str, text: str, label: str, known: Iterable[str], values: Mapping[str, int]) -> Metric:
    all_values = {**dict.fromkeys(sorted(known), 0), **values}
    return _counters(name, text, [label], {(word,): value for word, value in all_values.items()})


def _histogram(name: str, text: str, seen: Distribution) -> Metric:
    return HistogramMetricFamily(name, text, buckets=_buckets(seen), sum_value=seen.total)


def _buckets(seen: Distribution) -> list[tuple[str, float]]:
    bounds = [*map(str, seen.bounds), "+Inf"]
    return list(zip(bounds, map(float, accumulate(seen.counts)), strict=True))
