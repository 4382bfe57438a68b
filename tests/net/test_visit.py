"""Requests at the door for browsers before one of them becomes a WebSocket."""

import json
import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chatserver.net.doors.session_requests import Shown
from chatserver.net.doors.visit import FAREWELL_SECONDS, FILES_ARRIVAL, IDLE_SECONDS
from chatserver.net.doors.web import WebDoor
from chatserver.net.doors.websocket import WebSocketDoor
from chatserver.net.limits.crowd import Rank
from chatserver.settings.tables import Limits, Server, Settings
from chatserver.store.moderation import NetworkBan
from chatserver.wire.addresses import Networks
from tests.net.test_factory import CLIENT, PROXY, SOMEWHERE, addresses, at, hall_with
from tests.support.hall import PASSWORD, QUIET, Client, Hall

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
           "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")  # fmt: skip
ORIGIN = "Origin: http://localhost"
A_MINUTE = 10
"""Number of arrivals of an address in a minute that slow nobody down."""


def asks(path: str, *headers: str, method: str = "GET", body: str = "") -> bytes:
    """A request."""
    length = [f"Content-Length: {len(body)}"] if method == "POST" else []
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers, *length, "", body]).encode()


def trades(secret: str) -> bytes:
    body = json.dumps({"secret": secret})
    return asks("/session", ORIGIN, "Content-Type: application/json", method="POST", body=body)


def statuses(client: Client) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", client.wire.taken)]


def browser(hall: Hall, address: str = CLIENT, room: int | None = None) -> Client:
    return hall.client(WebDoor, room, at(address))


def forwarding(folder: Path, limits: Limits = QUIET) -> Hall:
    """A server that believes what a proxy says of its clients."""
    return Hall(folder, settings=Settings(limits=limits, server=Server(trusted_forwarders=[PROXY])))


def forwarded(path: str, address: str, *headers: str) -> bytes:
    return asks(path, f"X-Forwarded-For: {address}", *headers)


def ban(hall: Hall, address: str) -> None:
    hall.connections.set_bans([NetworkBan(Networks([address])._networks[0], None, "<spam>")])


def kept_secret(hall: Hall) -> str:
    program = hall.client().post("register", name="ana", password=PASSWORD, keep="Firefox")
    return str(program.answers[-1]["secret"])


def counted(hall: Hall) -> Counter[str]:
    """What arrivals count from now on, by address."""
    admission, counts = hall.connections.admission, Counter[str]()

    def came(address: str, much: float = 1.0) -> None:
        counts[address] += much  # type: ignore[assignment]

    admission.came = came  # type: ignore[method-assign]
    return counts


def test_every_split(hall: Hall) -> None:
    """Files, a login and what is no page are answered in order, however the bytes are cut; the upgrade at the end is
    the door's, with what follows it."""
    whole = asks("/") + trades("cs_wrong") + asks("/sw.js", method="HEAD") + asks("/nothing") + asks("/chat", *UPGRADE)
    ping = bytes.fromhex("8980000000008a80")
    for cut in range(0, len(whole), 7):
        client = browser(hall).send(whole[:cut]).send(whole[cut:] + ping)
        assert statuses(client) == [200, 403]
    whole = whole.replace(trades("cs_wrong"), b"")
    for pieces in ([bytes([byte]) for byte in whole], [whole]):
        client = browser(hall)
        for piece in pieces:
            client.send(piece)
        assert statuses(client) == [200, 200, 404, 101]
        client.send(ping)
        assert client.wire.taken.endswith(b"\x8a\x00")


def test_one_at_a_time(hall: Hall) -> None:
    """A client that does not read is sent one answer; the others wait, and so does its next request."""
    client = browser(hall, room=0).send(asks("/nothing") * 3)
    assert client.wire.queue.count(b"HTTP/1.1 404 ") == 1
    assert not client.wire.reading
    client.send(asks("/nothing"))
    client.half_close()
    client.read()
    assert statuses(client) == [404] * 4


def test_no_time_left(hall: Hall) -> None:
    """A client has ten seconds for a request and between two; then it may read for two more, and is cut off."""
    silent, slow = browser(hall), browser(hall).send(asks("/nothing")[:-2])
    hall.passes(IDLE_SECONDS - 1)
    slow.send(b"\r")
    assert not silent.wire.write_closed
    hall.passes(1.1)
    assert (silent.wire.write_closed, slow.wire.write_closed) == (True, True)
    slow.send(b"\n")
    assert (statuses(silent), statuses(slow)) == ([], [])
    silent.half_close()
    assert silent.wire.lost
    hall.passes(FAREWELL_SECONDS + 0.1)
    assert slow.wire.lost


def test_a_slow_reader(hall: Hall) -> None:
    """Whoever reads a file slowly may take as long as it likes; whoever reads nothing of it for ten seconds is cut
    off."""
    client = browser(hall, room=0).send(asks("/"))
    for _ in range(5):
        hall.passes(IDLE_SECONDS - 1)
        client.read(10)
    assert not client.wire.lost
    hall.passes(2 * IDLE_SECONDS)
    assert client.wire.lost


def test_a_login_that_takes_time(hall: Hall) -> None:
    """While the database works, nothing else is read; the client may leave meanwhile, or close its side."""
    secret = kept_secret(hall)
    hall.inline.hold()
    waits, leaves, closes = (browser(hall).send(trades(secret) + asks("/nothing")) for _ in range(3))
    ranks = [waits.door.rank]
    leaves.cut()
    closes.half_close()
    hall.passes(2 * IDLE_SECONDS)
    assert not waits.wire.reading
    hall.inline.release()
    hall.settle()
    assert statuses(waits) == [204, 404]
    assert statuses(closes)[0] in (204, 403)
    assert statuses(leaves) == []
    ranks += [waits.door.rank, waits.send(b"G").door.rank]
    assert ranks == [Rank.CHECKED, Rank.SILENT, Rank.STARTED]


def test_a_transport_that_fills_late(hall: Hall) -> None:
    """TLS finds out only later that a client does not read, perhaps while its next request is worked on: that is
    answered, and nothing more is read until there is room."""
    secret = kept_secret(hall)
    hall.inline.hold()
    client = browser(hall).send(trades(secret) + asks("/nothing"))
    client.door.pauseProducing()
    client.door.resumeProducing()
    assert not client.wire.reading
    client.door.pauseProducing()
    hall.inline.release()
    hall.settle()
    assert (statuses(client), client.wire.reading) == ([204], False)
    client.door.resumeProducing()
    hall.settle()
    assert (statuses(client), client.wire.reading) == ([204, 404], True)


def test_logging_out(hall: Hall) -> None:
    """The cookie is taken back, whether there was a session or not, and the session ends."""
    end = partial(asks, "/session", ORIGIN, method="DELETE")
    client = browser(hall).send(trades(kept_secret(hall)) + end())
    assert statuses(client) == [204, 204]
    assert client.wire.taken.endswith(b"Cache-Control: no-store\r\n\r\n")
    found = re.search(rb"Set-Cookie: (chat=cs_[^;]+);", client.wire.taken)
    assert found is not None
    cookie = f"Cookie: {found[1].decode()}"
    client.send(end(cookie) + trades(cookie.partition("chat=")[2]))
    assert statuses(client) == [204, 204, 204, 403]


def test_the_database_is_away(hall: Hall) -> None:
    """A login that the database does not answer is to be tried again later, and it is a fault of the server if it is
    broken."""
    secret = kept_secret(hall)
    hall.inline.refusals = 1
    client = browser(hall).send(trades(secret))
    assert statuses(client) == [503]
    assert b'"error":"unavailable"' in client.wire.taken

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    hall.inline.write = broken  # type: ignore[method-assign, assignment]
    client = browser(hall).send(trades(secret))
    assert (client.wire.aborted, statuses(client)) == (True, [])


def test_a_session_that_ends_meanwhile(hall: Hall) -> None:
    """A secret that was good when it was checked, and is not any more when it is traded, gives no cookie."""
    secret = kept_secret(hall)

    async def ended(*_: Any) -> tuple[None]:
        return (None,)

    hall.inline.write = ended  # type: ignore[method-assign, assignment]
    client = browser(hall).send(trades(secret))
    assert statuses(client) == [403]
    assert b"Set-Cookie" not in client.wire.taken


def test_no_secret_in_a_log() -> None:
    """What a traceback may show of a login has no secret in it."""
    assert "cs_x" not in repr(Shown("cs_x"))


def test_a_stop(hall: Hall) -> None:
    """A server that stops answers once more and closes; a WebSocket does not begin any more."""
    reader, talker = browser(hall), browser(hall)
    hall.connections.withdraw()
    reader.send(asks("/nothing") * 2)
    assert statuses(reader) == [404]
    assert b"Connection: close" in reader.wire.taken
    talker.send(asks("/chat", *UPGRADE))
    assert (talker.wire.aborted, statuses(talker)) == (True, [])


def test_making_way(tmp_path: Path) -> None:
    """Visits make way for others of their address, those first who have asked for nothing."""
    hall = hall_with(tmp_path, connections_per_address=2)
    silent, asking = browser(hall), browser(hall).send(b"GET ")
    browser(hall)
    assert (silent.wire.write_closed, asking.wire.write_closed) == (True, False)
    silent.half_close()
    assert silent.wire.lost
    over = browser(hall, SOMEWHERE).send(asks("/nothing", "Connection: close"))
    for _ in range(3):
        browser(hall, SOMEWHERE)
    assert (statuses(over), over.wire.lost) == ([404], False)
    hall.passes(FAREWELL_SECONDS + 0.1)
    assert over.wire.lost
    hall.close()


@pytest.mark.parametrize(("path", "slowed"), [("/", False), ("/nothing", True)])
def test_many_visits(tmp_path: Path, path: str, slowed: bool) -> None:
    """Many page views of an address slow nobody down; as many requests for what is no file do."""
    hall = hall_with(tmp_path, connections_per_minute=A_MINUTE)
    visits = [browser(hall).send(asks(path, "Connection: close")) for _ in range(40)]
    assert any(not statuses(visit) for visit in visits) is slowed
    hall.close()


def test_what_a_visit_costs(tmp_path: Path) -> None:
    """A connection for files is a fiftieth of an arrival, whatever it fetches; one for anything else, or for nothing,
    is a whole one, and so is a WebSocket, whatever was fetched before it. Nobody is counted twice for being slowed."""
    visits = {
        b"\r": 1.0,
        asks("/nothing"): 1.0,
        asks("/") * 3 + asks("/nothing"): FILES_ARRIVAL,
        asks("/") + trades("cs_wrong"): 1.0,
        asks("/") + asks("/chat", *UPGRADE): 1.0,
    }
    hall = hall_with(tmp_path, connections_per_minute=A_MINUTE)
    admission = hall.connections.admission
    for slowed in (False, True):
        if slowed:
            for _ in range(2 * A_MINUTE):
                admission.came(CLIENT)
            assert admission.delay(CLIENT)
        counts = counted(hall)
        for data, cost in visits.items():
            client = browser(hall).send(data)
            assert (statuses(client) == []) is slowed
            hall.passes(2)
            client.cut()
            assert counts.pop(CLIENT) == pytest.approx(cost), data
        client = browser(hall)
        client.wire.ends = True
        hall.passes(2)
        client.cut()
        assert counts.pop(CLIENT) == pytest.approx(1.0)
        del admission.came
    hall.close()


def test_clients_of_a_proxy(tmp_path: Path) -> None:
    """Requests of several clients may come on one connection of a proxy, and each counts for its client; those of
    others do not say who they are."""
    hall = forwarding(tmp_path)
    counts = counted(hall)
    proxy = browser(hall, PROXY)
    proxy.send(forwarded("/", CLIENT) + forwarded("/", SOMEWHERE) * 2 + forwarded("/chat", CLIENT, *UPGRADE))
    assert statuses(proxy) == [200, 200, 200, 101]
    assert counts == pytest.approx({CLIENT: 1.0 + FILES_ARRIVAL, SOMEWHERE: FILES_ARRIVAL})
    assert addresses(hall) == [CLIENT]
    browser(hall, SOMEWHERE).send(forwarded("/chat", CLIENT, *UPGRADE))
    assert addresses(hall) == [SOMEWHERE, CLIENT]
    proxy.cut()
    assert hall.connections.admission.many_open(1).keys() & {CLIENT, PROXY} == set()
    hall.close()


def test_bans_behind_a_proxy(tmp_path: Path) -> None:
    """A banned client is told so, also on a connection on which it came before; other clients of the proxy go on."""
    hall = forwarding(tmp_path)
    proxy = browser(hall, PROXY).send(forwarded("/", CLIENT))
    ban(hall, CLIENT)
    counts = counted(hall)
    proxy.send(forwarded("/", CLIENT))
    other = browser(hall, PROXY).send(forwarded("/", SOMEWHERE) + forwarded("/", CLIENT))
    assert (statuses(proxy), statuses(other)) == ([200, 503], [200, 503])
    assert b"&lt;spam&gt;" in proxy.wire.taken
    assert CLIENT not in counts  # as for everybody else who is refused
    hall.close()


def test_slow_clients_behind_a_proxy(tmp_path: Path) -> None:
    """The request of a client that is slowed waits, and with it the requests behind it; meanwhile the client may be
    banned, or leave."""
    hall = forwarding(tmp_path, Limits(**{name: getattr(QUIET, name) for name in QUIET.__struct_fields__}
                                       | {"offences_per_address": 1}))  # fmt: skip
    hall.connections.admission.offence(CLIENT)
    waits, leaves = (browser(hall, PROXY).send(forwarded("/nothing", CLIENT) * 2) for _ in range(2))
    assert waits.door.rank is Rank.CHECKED
    leaves.cut()
    hall.passes(1)
    assert (statuses(waits), statuses(leaves)) == ([404, 404], [])
    hall.connections.admission.offence(CLIENT)
    late = browser(hall, PROXY).send(forwarded("/", CLIENT))
    ban(hall, CLIENT)
    hall.passes(1)
    assert statuses(late) == [503]
    hall.close()


def test_a_plain_websocket_behind_a_proxy(tmp_path: Path) -> None:
    """The door for WebSockets alone has no files: it refuses all other requests itself, for the client's address."""
    hall = forwarding(tmp_path)
    client = hall.client(WebSocketDoor, address=at(PROXY)).send(forwarded("/", CLIENT))
    assert statuses(client) == [426]
    hall.close()
