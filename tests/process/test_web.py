"""The door for browsers in a running server: files, the cookie and the WebSocket on one port."""

import http.client
import json
import re
import socket
import ssl
from functools import partial
from http.client import HTTPResponse
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.conftest import Connect, StartServer
from tests.support.certificate import write_certificate
from tests.support.client import Raw
from tests.support.process import ChatServer
from tests.support.websocket import WebSocketClient

pytestmark = pytest.mark.slow

VIEWS = 24
WEB = "web:tcp:0:interface=127.0.0.1"


def secured(chat: ChatServer) -> bool:
    return "Open https://" in chat.log


def origin(chat: ChatServer) -> str:
    return f"http{'s' if secured(chat) else ''}://127.0.0.1:{chat.port}"


def ask(chat: ChatServer, method: str, path: str, body: str = "", **headers: str) -> HTTPResponse:
    """The response to one request, over TLS if the server speaks it."""
    connection = http.client.HTTPConnection("127.0.0.1", chat.port, timeout=10)
    if secured(chat):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", chat.port, timeout=10, context=context)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body or None, named)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def trade(chat: ChatServer, secret: str, **more: str) -> HTTPResponse:
    headers = {"Origin": origin(chat), "Content_Type": "application/json"} | more
    return ask(chat, "POST", "/session", json.dumps({"secret": secret}), **headers)


def browser(chat: ChatServer, cookie: str = "", **headers: str) -> WebSocketClient:
    sent = {"Origin": origin(chat)} | headers | ({"Cookie": cookie} if cookie else {})
    return WebSocketClient(("127.0.0.1", chat.port), headers=sent)


def kept(chat: ChatServer, name: str) -> str:
    """Registers, and returns the cookie of the kept session, as a browser sends it."""
    with browser(chat) as client:
        secret = client.ok("register", name=name, password="correct horse", keep="Firefox")["secret"]
    response = trade(chat, secret)
    assert response.status == 204
    cookie = response.headers["Set-Cookie"]
    assert cookie.endswith("; HttpOnly; SameSite=Strict; Path=/; Max-Age=34560000")
    assert secret not in cookie
    return str(cookie.partition(";")[0])


def test_a_login_lasts(server: StartServer) -> None:
    """A page trades its secret for a cookie that no script reads; with it the account is logged in, several tabs at a
    time and with all rights, until the session is ended."""
    chat = server(listen=[WEB])
    cookie = kept(chat, "ana")
    with browser(chat, cookie) as first, browser(chat, cookie) as second:
        for client in (first, second):
            assert "cookie" in client.ok("server")["features"]
            answer = client.ok("login", cookie=True)
            assert answer["name"] == "ana"
            assert "secret" not in answer
        assert ask(chat, "DELETE", "/session", Origin=origin(chat), Cookie=cookie).status == 204
        assert first.wait_closing()["reason"] == second.wait_closing()["reason"]
    with browser(chat, cookie) as again:
        assert again.refused("login", cookie=True) == "bad-credentials"
        assert again.refused("login", cookie=True) == "bad-credentials"
    assert cookie.partition("=")[2] not in chat.log
    assert chat.log.count("login failed") <= 1


def test_pages_of_others(server: StartServer) -> None:
    """With a cookie, only a page of exactly this scheme, host and port may connect, trade or log out, and only under a
    name of the server."""
    chat = server(listen=[WEB])
    cookie = kept(chat, "ana")
    elsewhere = [f"https://127.0.0.1:{chat.port}", "http://127.0.0.1:1", "http://evil.example", "null"]
    for other in elsewhere:
        with pytest.raises(InvalidStatus):
            browser(chat, cookie, Origin=other)
        assert trade(chat, "cs_x", Origin=other).status == 403
        assert ask(chat, "DELETE", "/session", Origin=other, Cookie=cookie).status == 403
    assert ask(chat, "DELETE", "/session", Cookie=cookie).status == 403
    assert trade(chat, "cs_x", Sec_Fetch_Site="cross-site").status == 403
    rebound = {"Host": f"evil.example:{chat.port}", "Origin": f"http://evil.example:{chat.port}"}
    assert trade(chat, "cs_x", **rebound).status == 403
    assert ask(chat, "GET", "/", **rebound).status == 403
    with browser(chat, cookie) as client:
        client.ok("login", cookie=True)


def test_wrong_trades(server: StartServer) -> None:
    """A wrong secret, another type, a body that is none or too large, and plain HTTP from elsewhere give no cookie."""
    chat = server(listen=[WEB], config='server.hosts = ["chat.example"]')
    json_type = {"Origin": origin(chat), "Content_Type": "application/json"}
    assert trade(chat, "cs_wrong").status == 403
    assert ask(chat, "POST", "/session", '{"secret":"x"}', Origin=origin(chat)).status == 415
    assert ask(chat, "POST", "/session", "no JSON", **json_type).status == 400
    assert ask(chat, "POST", "/session", "x" * 5000, **json_type).status == 413
    assert trade(chat, "cs_x", Host="chat.example", Origin="http://chat.example").status == 403
    assert "secret" in chat.log  # the audit line of the failed login names the kind
    assert "cs_wrong" not in chat.log


def test_forwarded(server: StartServer) -> None:
    """The address and the scheme in a request of a trusted forwarder count, and only what it has added itself."""
    chat = server(listen=[WEB], config='server.trusted_forwarders = ["127.0.0.1"]')
    there = {
        "Origin": f"https://127.0.0.1:{chat.port}",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": "192.0.2.1, 198.51.100.7",
    }
    with browser(chat, **there) as client:
        assert client.ok("server")["tls"]
        secret = client.ok("register", name="ana", password="correct horse", keep="Firefox")["secret"]
        response = trade(chat, secret, **there)
    assert response.headers["Set-Cookie"].startswith("__Host-chat=")
    assert "; HttpOnly; Secure; SameSite=Strict" in response.headers["Set-Cookie"]
    assert "Strict-Transport-Security" not in ask(chat, "GET", "/", **(there | {"Host": "localhost"})).headers
    assert "198.51.100.7" in chat.log
    assert "192.0.2.1" not in chat.log


def test_forged(server: StartServer) -> None:
    """Nobody else is believed: neither an address nor a scheme, in whatever header."""
    chat = server(listen=[WEB], config='server.trusted_forwarders = ["127.0.0.1"]')
    forged = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "Forwarded": "for=203.0.113.9;proto=https",
    }
    with WebSocketClient(
        ("127.0.0.1", chat.port), source="127.0.0.2", headers=forged | {"Origin": origin(chat)}
    ) as ana:
        assert not ana.ok("server").get("tls")
        ana.register("ana")
    assert "audit: registered address=127.0.0.2 name=ana" in chat.log
    assert "203.0.113.9" not in chat.log


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def statuses(data: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", data)]


def test_one_connection(server: StartServer, connect: Connect) -> None:
    """Requests that come at once are answered in order, up to 100 on a connection. None of them is in the log, and a
    WebSocket on the same connection is."""
    chat = server(listen=[WEB])
    raw = connect(chat, Raw)
    raw.send(get("/nothing") * 3 + get("/no", method="HEAD") + get("/", method="PUT") + get("/nothing"))
    assert statuses(raw.eof()) == [404, 404, 404, 404, 405]
    raw = connect(chat, Raw)
    raw.send(get("/nothing") * 150)
    assert statuses(raw.eof()) == [404] * 100
    raw = connect(chat, Raw)
    raw.send(get("/") + b"junk\r\n")
    assert statuses(raw.eof())[-1] == 400
    assert "web:tcp" not in chat.log
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
               "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")  # fmt: skip
    raw = connect(chat, Raw)
    raw.send(get("/nothing") + get("/chat", *upgrade))
    raw.read_until(b"101 Switching Protocols")
    raw.close()
    chat.wait_log(r"web:tcp")


def test_page_views(server: StartServer, connect: Connect) -> None:
    """A page view is one arrival, and one line of the log when it begins, though a proxy may open a connection for each
    of its files: two dozen of one address are not everything that it may do in a minute."""
    chat = server(listen=[WEB], limits="default", config=f"limits.connections_per_minute = {2 * VIEWS}")
    for _ in range(VIEWS):
        paths = re.findall(rb'(?:href|src)="(/[^"]+)"', fetched(connect(chat, Raw), "/"))
        assert len(paths) > 10
        for path in paths:
            fetched(connect(chat, Raw), path.decode())
        browser(chat).close()
    with browser(chat) as client:
        client.register("ana")
    assert chat.log.count("audit: began") == VIEWS + 1
    assert "audit: refused" not in chat.log


def fetched(raw: Raw, path: str) -> bytes:
    raw.send(get(path, "Connection: close"))
    answer = raw.eof()
    assert statuses(answer) == [200]
    return answer


def test_forwarded_to_a_plain_websocket(server: StartServer) -> None:
    """Trusted forwarders are believed at endpoints for WebSocket alone, too; other requests are refused."""
    chat = server(listen=["ws:tcp:0:interface=127.0.0.1"], config='server.trusted_forwarders = ["127.0.0.1"]')
    with browser(chat, **{"X-Forwarded-For": "198.51.100.7"}) as client:
        client.register("ana")
        assert "cookie" not in client.ok("server")["features"]
    assert "198.51.100.7" in chat.log
    assert ask(chat, "GET", "/").status == 426


def test_a_unix_socket(server: StartServer, tmp_path: Path) -> None:
    """A web server on the same machine may come over a Unix socket."""
    path = tmp_path / "web"
    server(listen=[WEB, f"web:unix:{path}"])
    with socket.socket(socket.AF_UNIX) as web:
        web.settimeout(10)
        web.connect(str(path))
        web.sendall(get("/sw.js") + get("/nothing", "Connection: close"))
        answer = b"".join(iter(partial(web.recv, 65536), b""))
    assert statuses(answer) == [200, 404]


def test_tls(server: StartServer, tmp_path: Path) -> None:
    """The same with TLS: the cookie is for this host over TLS only, and the WebSocket comes on the same port. Browsers
    are to use TLS only for a host of which it is the usual port, which other ports share."""
    key, certificate = write_certificate(tmp_path)
    chat = server(listen=[f"web:ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"])
    here = {"Origin": f"https://127.0.0.1:{chat.port}"}
    with WebSocketClient(("127.0.0.1", chat.port), tls=True, headers=here) as client:
        assert client.ok("server")["tls"]
        secret = client.ok("register", name="ana", password="correct horse", keep="Firefox")["secret"]
    cookie = trade(chat, secret).headers["Set-Cookie"]
    assert re.fullmatch(r"__Host-chat=\S+; HttpOnly; Secure; SameSite=Strict; Path=/; Max-Age=34560000", cookie)
    assert ask(chat, "GET", "/nothing", Connection="close").status == 404
    strict = "max-age=31536000"
    for host, said in (("chatserver", strict), ("chatserver:443", strict), (f"chatserver:{chat.port}", None)):
        assert ask(chat, "GET", "/", Host=host).headers["Strict-Transport-Security"] == said
