"""The door for browsers behind real proxies, with the examples of the manual: what they say of a client is believed."""

import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.chatctl.conftest import Chatctl
from tests.conftest import StartServer
from tests.process.test_drain import free_port
from tests.support.certificate import write_certificate
from tests.support.process import ChatServer, die_with_parent, wait_until
from tests.support.websocket import WebSocketClient

pytestmark = pytest.mark.slow

MANUAL = Path(__file__).parents[2] / "docs" / "operating.md"
WEB = "web:tcp:0:interface=127.0.0.1"
FORGED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http", "Forwarded": "for=203.0.113.9"}
QUICK = "[passwords]\nmemory_kib = 8\ntime_cost = 1\n"
PEOPLE = 30
REQUEST_SECONDS = 30.0


def example(section: str, introduction: str) -> str:
    """The configuration that follows this line in a section of the manual."""
    text = MANUAL.read_text(encoding="utf-8").partition(f"\n### {section}\n")[2].partition("\n##")[0]
    found = re.search(rf"^.*{re.escape(introduction)}\n\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    assert found is not None, f"{section} has no example behind {introduction!r}"
    return found[1]


def put(text: str, **values: str) -> str:
    """Replaces parts of an example, each of which has to occur in it."""
    for what, value in values.items():
        text, count = re.subn(PARTS[what], value.replace("\\", r"\\"), text)
        assert count, what
    return text


PARTS = {
    "listen": r"(?<=bind ):\d+",
    "server": r"(?<=[ /])(?:127\.0\.0\.1|192\.0\.2\.20):\d+",
    "pem": r"/etc/haproxy/chat\.pem",
    "site": r"chat\.example\.org",
}


def nginx(folder: Path, chat: str, port: int) -> list[str]:
    location = put(example("The page", "nginx, of which `chatctl example nginx` prints a whole site:"), server=chat)
    log = f"{folder}/error.log"
    temporary = "".join(
        f"{what}_temp_path {folder}/{what};" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = folder / "nginx.conf"
    path.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {log};\nevents {{}}\n"
        f"http {{ access_log off; {temporary}\nserver {{ listen 127.0.0.1:{port} ssl;\n"
        f"ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;\n{location}\n}}\n}}\n"
    )
    return ["nginx", "-e", log, "-p", str(folder), "-c", str(path)]


def caddy(folder: Path, chat: str, port: int) -> list[str]:
    site = put(
        example("The page", "Caddy sets these headers by itself:"), server=chat, site=f"https://127.0.0.1:{port}"
    )
    path = folder / "Caddyfile"
    path.write_text(
        "{\n admin off\n auto_https disable_redirects\n}\n"
        + site.replace("{", f"{{\n tls {folder}/cert.pem {folder}/key.pem", 1)
    )
    return ["caddy", "run", "--config", str(path), "--adapter", "caddyfile"]


def haproxy(folder: Path, chat: str, port: int, found: str = "") -> list[str]:
    found = found or example("The page", "HAProxy:")
    (folder / "chat.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    path = folder / "haproxy.cfg"
    path.write_text(put(found, server=chat, listen=f"127.0.0.1:{port}", pem=f"{folder}/chat.pem"))
    return ["haproxy", "-db", "-f", str(path)]


def haproxy_header(folder: Path, chat: str, port: int) -> list[str]:
    """With the PROXY protocol, in place of headers in each request."""
    return haproxy(folder, chat, port, example("Behind a proxy", "HAProxy, with TLS handled by HAProxy, for the plain "
                                               "endpoint, or a `ws:` or `web:` one:"))  # fmt: skip


class Site:
    """A server behind a proxy, as people see it who come from the loopback address `source`."""

    def __init__(self, chat: ChatServer, port: int) -> None:
        self.chat = chat
        self.port = port
        self.origin = f"https://127.0.0.1:{port}"
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE

    def connect(self, source: str) -> HTTPSConnection:
        return HTTPSConnection(
            "127.0.0.1", self.port, timeout=REQUEST_SECONDS, source_address=(source, 0), context=self._tls
        )

    def view(self, source: str) -> list[int]:
        """The status of everything that a page view fetches, on one connection."""
        with ExitStack() as stack:
            connection = self.connect(source)
            stack.callback(connection.close)
            first, page = get(connection, "/")
            used = connection.sock
            paths = re.findall(r'(?:href|src)="(/[^"]+)"', page)
            assert len(paths) > 10
            found = [first.status, *(get(connection, path)[0].status for path in paths)]
            assert connection.sock is used, "the proxy did not keep the connection"
        return found

    def trade(self, source: str, secret: str, **headers: str) -> HTTPResponse:
        sent = {"Origin": self.origin, "Content-Type": "application/json"} | headers
        connection = self.connect(source)
        connection.request("POST", "/session", json.dumps({"secret": secret}), sent)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response

    def client(self, source: str, **headers: str) -> WebSocketClient:
        sent = {"Origin": self.origin} | headers
        return WebSocketClient(("127.0.0.1", self.port), tls=True, source=source, headers=sent)


def get(connection: HTTPSConnection, path: str) -> tuple[HTTPResponse, str]:
    connection.request("GET", path, headers=FORGED)
    response = connection.getresponse()
    return response, response.read().decode("latin-1")


Open = Callable[..., Site]


@pytest.fixture(params=[nginx, caddy, haproxy, haproxy_header], ids=lambda proxy: proxy.__name__)
def behind(request: pytest.FixtureRequest, server: StartServer, tmp_path: Path) -> Iterator[Open]:
    """Starts a server, and each proxy before it."""
    command: Callable[[Path, str, int], list[str]] = request.param
    program = command.__name__.partition("_")[0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    with ExitStack() as stack:

        def start(config: str = "") -> Site:
            trusted = "proxies" if command is haproxy_header else "forwarders"
            config = f'{QUICK}[server]\ntrusted_{trusted} = ["127.0.0.1"]\n{config}'
            chat = server(listen=[WEB], config=config, limits="default")
            write_certificate(tmp_path)
            port = free_port()
            process = subprocess.Popen(
                command(tmp_path, f"127.0.0.1:{chat.port}", port), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, preexec_fn=die_with_parent(signal.SIGKILL),
            )  # fmt: skip
            stack.callback(process.wait, 10)
            stack.callback(process.kill)
            wait_until(lambda: process.poll() is not None or listens(port), 30.0, f"{program} listens")
            assert process.poll() is None, f"{program} does not accept the example"
            return Site(chat, port)

        yield start


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def test_a_visit(behind: Open) -> None:
    """The page loads over one connection, a login is kept in a cookie for this host over TLS, and the WebSocket talks;
    a page of another origin cannot use the cookie. Everything is counted for the client's own address, whatever the
    client says of it, and a ban of one client bans no other."""
    site = behind()
    ana, bob = "127.0.0.9", "127.0.0.10"
    assert set(site.view(ana)) == {200}
    with site.client(ana, **FORGED) as client:
        assert client.ok("server")["tls"]
        secret = client.ok("register", name="ana", password="correct horse", keep="Firefox")["secret"]
    response = site.trade(ana, secret, **FORGED)
    assert response.status == 204
    cookie = response.headers["Set-Cookie"]
    assert re.fullmatch(r"__Host-chat=[^;]+; HttpOnly; Secure; SameSite=Strict; Path=/; Max-Age=\d+", cookie)
    cookie = cookie.partition(";")[0]
    for other in (f"http://127.0.0.1:{site.port}", "https://127.0.0.1", f"https://localhost:{site.port}"):
        assert site.trade(ana, "cs_x", Origin=other).status == 403
        with pytest.raises(InvalidStatus):
            site.client(ana, Cookie=cookie, Origin=other)
    with site.client(ana, Cookie=cookie) as one, site.client(bob) as two:
        assert one.ok("login", cookie=True)["name"] == "ana"
        two.register("bob")
        one.say("general", "hello")
        two.hears("hello")
    assert f"audit: registered address={ana} name=ana" in site.chat.log
    assert f"audit: registered address={bob} name=bob" in site.chat.log
    assert "203.0.113.9" not in site.chat.log
    assert "address=127.0.0.1 " not in site.chat.log
    Chatctl(site.chat.database)("ban", "add", ana, "--yes")
    wait_until(lambda: refused(site, ana), 30.0, "the ban holds")
    assert set(site.view(bob)) == {200}


def refused(site: Site, source: str) -> bool:
    connection = site.connect(source)
    try:
        response, text = get(connection, "/")
        return response.status == 503 and "banned" in text
    except (OSError, http.client.HTTPException):  # with a PROXY header nothing is read before the refusal
        return True
    finally:
        connection.close()


def test_many_people(behind: Open) -> None:
    """Thirty people behind one proxy open the page within a minute, each from their own address, and again all from
    one: nobody is refused, though a proxy may open a connection for each file."""
    site = behind("[limits]\nconnections_per_minute = 120\n")
    for number in range(2 * PEOPLE):
        source = f"127.0.0.{10 + min(number, PEOPLE)}"
        assert set(site.view(source)) == {200}
        with site.client(source) as client:
            assert client.ok("ping")
    assert "audit: refused" not in site.chat.log
