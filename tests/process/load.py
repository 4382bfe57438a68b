"""Clients that send messages continuously, and checks of what the database contains afterwards."""

import json
import threading
from typing import Self

from sqlalchemy import text

from chatserver.store.db.engine import open_engine, parse_url
from tests.support.client import Ended, JsonClient, Message, Raw
from tests.support.process import wait_until

QUICK = "[passwords]\nmemory_kib = 8\ntime_cost = 1\n"
"""Cheap password hashes, for servers with many logins."""

IN_FLIGHT = 8


class Talker:
    """Sends numbered messages, each with an id, in a separate thread, until it is stopped or the connection ends.

    It retries messages that are refused as `unavailable`, with the same id, until they are stored.
    """

    def __init__(self, client: JsonClient, name: str, rooms: list[str]) -> None:
        self.client = client
        self.name = name
        self.acknowledged: dict[str, tuple[str, int]] = {}
        """By id: the room and the number of each acknowledged message."""
        self.unavailable: list[Message] = []
        self.failure: BaseException | None = None
        self._rooms = rooms
        self._count = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop, and wait until every message is acknowledged or the connection has ended."""
        self._stopping.set()
        self.join()

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            in_flight: list[tuple[int, str]] = []
            while in_flight or not self._stopping.is_set():
                while len(in_flight) < IN_FLIGHT and not self._stopping.is_set():
                    self._count += 1
                    id = f"{self.name}-{self._count}"
                    in_flight.append((self._post(id), id))
                tag, id = in_flight.pop(0)
                answer = self.client.answer(tag, 30)
                if answer["ok"]:
                    self.acknowledged[id] = answer["room"], answer["seq"]
                else:
                    assert answer["error"] == "unavailable", answer
                    self.unavailable.append(answer)
                    in_flight.append((self._post(id), id))
        except (Ended, ConnectionError):
            self._read_the_rest()
        except BaseException as error:
            self.failure = error

    def _post(self, id: str) -> int:
        room = self._rooms[int(id.rpartition("-")[2]) % len(self._rooms)]
        return self.client.post("say", room=room, text=f"text of {id}", id=id)

    def _read_the_rest(self) -> None:
        try:
            self.client.drain(10)
        except BaseException as error:
            self.failure = error
        self.client.close()


def under_load(ana: JsonClient, bob: JsonClient, cai: JsonClient) -> list[Talker]:
    """The three register, and ana and bob talk without pause. Returns them once there is load."""
    for name, client in (("ana", ana), ("bob", bob), ("cai", cai)):
        client.register(name)
    talkers = [Talker(ana, "t0", ["general"]), Talker(bob, "t1", ["general", "@ana"])]
    for talker in talkers:
        talker.start()
    wait_for_load(talkers, 50)
    return talkers


def wait_for_load(talkers: list[Talker], each: int) -> None:
    """Wait until every talker has `each` more messages acknowledged than now."""
    before = [len(talker.acknowledged) for talker in talkers]

    def enough() -> bool:
        return all(
            talker.failure is not None or len(talker.acknowledged) >= count + each
            for talker, count in zip(talkers, before, strict=True)
        )

    wait_until(enough, 30, "the talkers have sent enough")


Row = tuple[int, str, str, str | None]


def query(database: str, statement: str) -> list[tuple[object, ...]]:
    engine = open_engine(parse_url(database))
    try:
        with engine.connect() as db:
            return [tuple(row) for row in db.execute(text(statement))]
    finally:
        engine.dispose()


def stored(database: str) -> dict[str, list[Row]]:
    """By room: the number, kind, text and id of every entry in its log.

    A direct room is called "@", because these tests have at most one.
    """
    rows = query(
        database,
        "SELECT room.name, seq, entry.kind, text, client_id FROM entry JOIN room ON room.id = room_id ORDER BY 1, 2",
    )
    logs: dict[str, list[Row]] = {}
    for room, *row in rows:
        logs.setdefault(name(str(room)), []).append(tuple(row))  # type: ignore[arg-type]
    return logs


def name(room: str) -> str:
    return "@" if room.startswith("@") else room


def check_kept(database: str, talkers: list[Talker]) -> None:
    """No log has a gap; each acknowledged message is stored once, under the room and number in its answer; every
    message that a client received is stored."""
    logs = stored(database)
    for log in logs.values():
        assert [seq for seq, *_ in log] == list(range(1, len(log) + 1))
    positions: dict[str | None, list[tuple[str, int]]] = {}
    for room, log in logs.items():
        for seq, _, said, id in log:
            if id is not None:
                assert said == f"text of {id}"
                positions.setdefault(id, []).append((room, seq))
    for talker in talkers:
        for id, (room, seq) in talker.acknowledged.items():
            assert positions.get(id) == [(name(room), seq)], id
        for room, heard in talker.client.rooms.items():
            check_heard(heard)
            texts = {seq: said for seq, kind, said, _ in logs[name(room)] if kind == "message"}
            for entry in heard:
                if entry["event"] == "message":
                    assert texts.get(entry["seq"]) == entry["text"]


def check_heard(heard: list[Message]) -> None:
    """No entry is skipped, repeated or out of order."""
    numbers = [entry["seq"] for entry in heard]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True


def say_often(client: JsonClient, words: str, count: int) -> int:
    """Send a text to general `count` times, with several messages in flight; returns the number of the last one."""
    tags: list[int] = []
    for _ in range(count):
        tags.append(client.post("say", room="general", text=words))
        if len(tags) > 2 * IN_FLIGHT:
            client.answer(tags.pop(0))
    return [int(client.answer(tag)["seq"]) for tag in tags][-1]


def send_later(client: Raw, data: bytes) -> threading.Thread:
    """Send in a separate thread, for a client that does not read meanwhile."""
    thread = threading.Thread(target=client.socket.sendall, args=(data,), daemon=True)
    client.socket.settimeout(60)
    thread.start()
    return thread


def lines(*objects: Message) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in objects)
