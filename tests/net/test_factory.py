"""Before a door: making way, delays, and PROXY headers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chatserver.net.doors import factory
from chatserver.net.doors.factory import HEADER_SECONDS, ChatFactory, ProxyGate, Waiting
from chatserver.net.doors.line import LineDoor
from chatserver.net.doors.websocket import WebSocketDoor
from chatserver.net.limits import admission
from chatserver.net.limits.admission import CROWDED, CROWDED_SECONDS, LOG_SECONDS, SPARED_SECONDS, TOLD
from chatserver.settings.tables import NO_LIMITS, Limits
from chatserver.store.moderation import NetworkBan
from chatserver.util.rates import STEP_SECONDS
from chatserver.values.stages import Stage
from chatserver.wire.addresses import Networks
from chatserver.wire.sentences import english
from tests.support.hall import PASSWORD, Client, Hall, WebSocketClient
from tests.support.memory import logged_warnings
from tests.support.proxy import v1, v2
from tests.support.sentences import written

PROXY, SOMEWHERE, CLIENT = "10.0.0.1", "192.0.2.1", "198.51.100.7"
LOGIN = f'{{"cmd":"register","name":"ana","password":"{PASSWORD}"}}\n'.encode()


def at(host: str) -> Any:
    return SimpleNamespace(host=host)


def hall_with(folder: Path, **settings: Any) -> Hall:
    quiet: Any = {"handshake_seconds": 0, "typing_seconds": 0, "ping_seconds": 0, "stalled_seconds": 0, **NO_LIMITS}
    return Hall(folder, Limits(**(quiet | settings)))


# Making way


def test_making_way(tmp_path: Path) -> None:
    """A connection that makes way is told why and when to come back, in its dialect; one that has logged in stays."""
    hall = hall_with(tmp_path, connections_per_address=4)
    ana = hall.client().come_in("ana")
    person, program, browser = hall.client(), hall.client().post("ping"), hall.browser()
    new = [hall.client().post("ping") for _ in range(3)]
    hall.settle()
    assert "* Too many connections" in person.lines[-2] + person.lines[-1]
    assert program.events[-1] == {
        "event": "closing", "reason": "too-many-connections", "text": f"{english(CROWDED[1])} Connect again.",
        "retry": CROWDED_SECONDS,
    }  # fmt: skip
    assert browser.wire.taken.startswith(b"HTTP/1.1 503 ")
    assert {person.session.stage, program.session.stage, browser.session.stage} == {Stage.ENDING}
    assert [client.session.stage for client in new] == [Stage.GREETING] * 3
    ana.say("still here")
    assert ana.said == ["still here"]
    hall.client()
    assert new[0].closing == ["too-many-connections"]


def test_a_quota(tmp_path: Path) -> None:
    """The quota of an address is kept from second to second, and a login leaves room for another stranger."""
    hall = hall_with(tmp_path, pending_per_address=2)
    clients = [hall.client() for _ in range(4)]
    clients[0].come_in("ana")
    hall.passes(SPARED_SECONDS + 0.5)
    assert [client.session.stage for client in clients] == [Stage.IN, Stage.ENDING, Stage.NEW, Stage.NEW]


def test_a_login_under_way(tmp_path: Path) -> None:
    """A connection whose login is being checked does not make way for others of the address."""
    hall = hall_with(tmp_path, pending_per_address=2)
    hall.inline.hold()
    clients = [hall.client().send(LOGIN.replace(b"ana", f"ana{n}".encode())) for n in range(10)]
    late = [hall.client() for _ in range(3)]
    hall.passes(SPARED_SECONDS + 0.5)
    assert late[0].session.stage is Stage.ENDING
    hall.inline.release()
    hall.settle()
    assert all(client.session.stage is Stage.IN for client in clients)


def test_those_that_do_not_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limited number of connections that made way may take their time to read why. One that is ending anyway is cut
    off."""
    monkeypatch.setattr(admission, "LEAVING", 2)
    hall = hall_with(tmp_path, connections_per_address=1)
    stubborn = [hall.client(room=0) for _ in range(5)]
    assert [client.wire.aborted for client in stubborn] == [True, True, False, False, False]
    stubborn[-1].connection.end("foreign")
    hall.client()
    assert stubborn[-1].wire.aborted
    for client in stubborn:
        client.cut()
    assert not hall.connections.admission._leaving


def test_farewells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limited number at a time is told why they are refused; further ones are closed at once."""
    monkeypatch.setattr(factory, "FAREWELLS", 2)
    hall = hall_with(tmp_path)
    hall.connections.admission.refusal = lambda address: written("Go away.")  # type: ignore[method-assign]
    chat = hall.factory()
    refused = [Client(hall, chat.buildProtocol(None), room=0) for _ in range(2)]
    assert chat.buildProtocol(None) is None
    refused[0].cut()
    assert chat.buildProtocol(None) is not None


def test_refused_again_and_again(tmp_path: Path) -> None:
    """In each second, a few refused connections of an address are told why. Further ones are closed as soon as they are
    accepted, without a protocol; they are counted, and other addresses are told as ever."""
    hall = hall_with(tmp_path, connections_per_minute=1)
    chat = hall.factory()
    for _ in range(10):
        hall.connections.admission.arrivals.count(SOMEWHERE, hall.clock.seconds())
    for _ in range(2):
        protocols = [chat.buildProtocol(at(SOMEWHERE)) for _ in range(TOLD + 50)]
        assert sum(protocol is not None for protocol in protocols) == TOLD
        hall.clock.advance(LOG_SECONDS)
    hall.connections.set_bans([NetworkBan(Networks([f"{CLIENT}/32"])._networks[0], None, "spam")])
    assert chat.buildProtocol(at(CLIENT)) is not None
    assert hall.connections.counts.turned_away == {"rate": 2 * (TOLD + 50), "banned": 1}


# Delays


def slowed(folder: Path, **settings: Any) -> tuple[Hall, Client]:
    """A client of an address that has offended."""
    hall = hall_with(folder, offences_per_address=1, **settings)
    hall.connections.admission.offence(SOMEWHERE)
    return hall, hall.client(address=at(SOMEWHERE))


def test_a_delay(tmp_path: Path) -> None:
    """A client that is slowed is neither greeted nor read until its time has come, then treated as any other."""
    hall, client = slowed(tmp_path)
    client.send(LOGIN)
    assert (client.seen, client.wire.unread, client.wire.reading) == (b"", [LOGIN], False)
    assert hall.client(address=at(CLIENT)).lines
    hall.passes(STEP_SECONDS + 0.1)
    assert client.lines[0].startswith("* Welcome")
    assert client.answers[0]["ok"]
    assert client.say("hello").said == ["hello"]


@pytest.mark.parametrize("data", [b"", LOGIN])
def test_a_client_that_closes_during_its_delay(data: bytes, tmp_path: Path) -> None:
    """If it has sent nothing, its connection ends without a door; otherwise it is served."""
    hall, client = slowed(tmp_path)
    if data:
        client.send(data)
    client.wire.ends = True
    accepted = hall.connections.counts.accepted
    hall.passes(STEP_SECONDS + 0.1)
    assert hall.connections.counts.accepted - accepted == bool(data)
    assert client.wire.aborted is not bool(data)


def test_the_end_of_a_delay(tmp_path: Path) -> None:
    """Meanwhile the client may leave, be banned, or make way; and the server may stop."""
    hall, gone = slowed(tmp_path, connections_per_address=3)
    gone.cut()
    hall.passes(1)
    assert gone.seen == b""
    hall.connections.admission.offence(SOMEWHERE)
    banned = hall.client(address=at(SOMEWHERE))
    hall.connections.set_bans([NetworkBan(Networks([f"{SOMEWHERE}/32"])._networks[0], None, "spam")])
    hall.passes(1)
    assert "banned" in banned.lines[0]
    hall.connections.set_bans([])
    crowd = [hall.client(address=at(SOMEWHERE)) for _ in range(3)]
    assert isinstance(crowd[0].door, Waiting)
    refused = hall.client(address=at(SOMEWHERE))  # the server keeps all of them waiting: none makes way
    assert "too many connections" in refused.lines[0]
    hall.connections.parting.stop_reading()
    hall.passes(1)
    assert all(client.wire.aborted for client in crowd)
    assert hall.connections.admission.refusal(SOMEWHERE) is None


def test_waiting_clients_make_way_for_another_address(tmp_path: Path) -> None:
    """Where all are kept waiting, the address with the most has to make room, and its client is told."""
    hall, client = slowed(tmp_path, pending_connections=2)
    hall.client(address=at(SOMEWHERE))
    hall.client(address=at(CLIENT))
    program, *person = client.lines
    assert '"retry":5' in program
    assert person == [f"! {english(CROWDED[1])}", "* Press Enter to leave."]


# PROXY headers


def trusting(hall: Hall, door: Any = LineDoor) -> ChatFactory:
    return hall.factory(door, Networks(["10.0.0.0/8"]))


def behind_proxy(hall: Hall, host: str = PROXY, chat: ChatFactory | None = None) -> Client:
    """Somebody connects through the proxy, which has sent nothing yet."""
    return Client(hall, (chat or trusting(hall)).buildProtocol(at(host)))


def addresses(hall: Hall) -> list[str]:
    return sorted(connection.session.address for connection in hall.connections.open)


@pytest.mark.parametrize(
    ("header", "address"),
    [(v1(CLIENT), CLIENT), (v2(CLIENT), CLIENT), (v2("2001:db8::7"), "2001:db8::7"), (b"PROXY UNKNOWN\r\n", PROXY)],
)
def test_the_address_behind_a_proxy(hall: Hall, header: bytes, address: str) -> None:
    """A client behind a trusted proxy has the address of the header, in whatever pieces the header comes."""
    whole, pieces = behind_proxy(hall).send(header + LOGIN), behind_proxy(hall)
    for byte in header + LOGIN.replace(b"ana", b"bob"):
        pieces.send(bytes([byte]))
    assert [client.answers[0]["name"] for client in (whole, pieces)] == ["ana", "bob"]
    assert addresses(hall) == [address] * 2


def test_a_header_that_came_while_the_server_was_stopped(hall: Hall) -> None:
    """It is read although the time for it is up when the server goes on: timers come before sockets then."""
    client = behind_proxy(hall)
    hall.clock.callLater(HEADER_SECONDS, client.send, v1(CLIENT) + LOGIN)
    hall.clock.advance(HEADER_SECONDS)
    assert [answer["name"] for answer in client.answers] == ["ana"]


def test_a_browser_behind_a_proxy(hall: Hall) -> None:
    """The header comes before the request of a WebSocket, and may come with it."""
    browser = WebSocketClient(hall, trusting(hall, WebSocketDoor).buildProtocol(at(PROXY)))
    browser.protocol.send_request(browser.protocol.connect())
    browser.raw(v2(CLIENT) + b"".join(browser.protocol.data_to_send()))
    assert browser.wire.taken.startswith(b"HTTP/1.1 101 ")
    assert addresses(hall) == [CLIENT]


@pytest.mark.parametrize("data", [b"ana\r\n", LOGIN, b"PROXY TCP4 nonsense\r\n", b"\x16\x03\x01\x02\x00"])
def test_a_proxy_without_a_header(hall: Hall, data: bytes) -> None:
    """A connection of a trusted proxy that begins otherwise, or does not begin in time, ends without a word. The log
    names the proxy and the remedy, but not for each connection."""
    chat = trusting(hall)
    with logged_warnings() as warnings:
        stray, silent = behind_proxy(hall, chat=chat), behind_proxy(hall, chat=chat).send(b"PROXY TCP4 ")
        stray.send(data)
        assert (stray.wire.lost, stray.seen, silent.wire.lost) == (True, b"", False)
        assert behind_proxy(hall, chat=chat).send(data).wire.lost
        hall.passes(HEADER_SECONDS + 0.1)
        assert (silent.wire.lost, silent.seen) == (True, b"")
    assert len(warnings) == 2
    assert all(f"from {PROXY} " in line and "server.trusted_proxies" in line for line in warnings)


def test_others_have_no_header(hall: Hall) -> None:
    """A header from any other address is a line like any other."""
    stranger = behind_proxy(hall, CLIENT)
    assert stranger.lines[0].startswith("* Welcome")
    stranger.send(v1("203.0.113.9"))
    assert addresses(hall) == [CLIENT]
    assert stranger.lines[-2].startswith("! ")


def test_bans_behind_a_proxy(hall: Hall) -> None:
    """A ban applies to the client's address, not to the proxy's."""
    client = behind_proxy(hall).send(v1(CLIENT))
    hall.connections.set_bans([NetworkBan(Networks([f"{CLIENT}/32"])._networks[0], None, "spam")])
    hall.settle()
    assert "banned" in client.lines[-1]
    assert "banned" in behind_proxy(hall).send(v1(CLIENT)).lines[0]
    assert behind_proxy(hall).send(v1(SOMEWHERE)).lines[0].startswith("* Welcome")


def test_quotas_behind_a_proxy(tmp_path: Path) -> None:
    """Each client uses the quotas of its own address. The proxy's own open connections count for the proxy, and make
    way, too."""
    hall = hall_with(
        tmp_path, connections_per_address=2, connections_per_minute=3, pending_per_address=1, network_times=0
    )
    for n in range(1, 10):
        behind_proxy(hall).send(v1(f"198.51.100.{n}") + LOGIN.replace(b"ana", f"ana{n}".encode()))
    assert len(addresses(hall)) == 9
    behind_proxy(hall).send(v1(CLIENT) + LOGIN)
    assert "too many connections" in behind_proxy(hall).send(v1(CLIENT)).lines[0]
    silent = [behind_proxy(hall) for _ in range(4)]
    assert all(isinstance(client.door, ProxyGate) for client in silent)
    assert [client.wire.lost for client in silent] == [True, True, False, False]
    hall.passes(SPARED_SECONDS + 0.5)
    assert [client.wire.lost for client in silent] == [True, True, True, False]
    assert hall.connections.admission.delay(PROXY) == 0


def test_a_slow_client_behind_a_proxy(tmp_path: Path) -> None:
    """Bytes that came with the header are read when a delay is over."""
    hall = hall_with(tmp_path, offences_per_address=1)
    hall.connections.admission.offence(CLIENT)
    client = behind_proxy(hall).send(v1(CLIENT) + LOGIN[:20])
    client.send(LOGIN[20:])
    assert (client.seen, client.wire.unread) == (b"", [LOGIN[20:]])
    hall.passes(STEP_SECONDS + 0.1)
    assert client.answers[0]["ok"]


def test_a_proxy_while_the_server_stops(hall: Hall) -> None:
    """A server that stops takes no connections."""
    early = behind_proxy(hall)
    hall.connections.parting.stop_reading()
    assert early.send(v1(CLIENT)).wire.aborted
    assert trusting(hall).buildProtocol(at(PROXY)) is None
