"""A web page in a real browser as a client: its script talks with others, is cut off at random, and resumes."""

import json
import os
import queue
import random
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK, query
from tests.support.client import JsonClient
from tests.support.process import clean_environment, die_with_parent

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
)  # fmt: skip
SECONDS = 40.0
"""Limit for each report of the page: a browser takes seconds to start where others use the machine too."""
FIRST_BYTES = 2000
"""Enough for the first connection to be registered."""
CUTS = 8
MESSAGES = 150

PAGE = """<!DOCTYPE html>
<meta charset="utf-8">
<title>chat</title>
<pre id="out"></pre>
<script>
const url = "ws://127.0.0.1:PORT/";
const report = result => fetch("/report", {method: "POST", body: JSON.stringify(result)});
const log = [], unsaid = new Map();
let connections = 0, position = null, reported = false;

function connect() {
  const socket = new WebSocket(url);
  const send = command => socket.send(JSON.stringify(command));
  const say = id => send({cmd: "say", room: "general", text: unsaid.get(id), id, tag: id});
  connections++;
  socket.onopen = () => {
    const who = {name: "ana", password: "s3cret-words", tag: "in"};
    send(position === null ? {cmd: "register", ...who} : {cmd: "login", ...who, resume: {general: position}});
  };
  socket.onmessage = message => {
    for (const line of message.data.trim().split("\\n")) {
      const it = JSON.parse(line);
      document.getElementById("out").append(line + "\\n");
      if (it.tag === "in") {
        if (!it.ok) report({failed: it});
        position ??= it.rooms[0].seq;
        for (const id of unsaid.keys()) say(id);
      } else if (it.ok) {
        unsaid.delete(it.tag);
      } else if (it.ok === false) {
        report({failed: it});
      } else if (it.event === "message") {
        log.push([it.seq, it.from, it.text]);
        position = it.seq;
        if (it.from === "bob" && it.text % 5 === 0) {
          unsaid.set("id " + it.text, "heard " + it.text);
          say("id " + it.text);
        }
      }
    }
    if (!reported && unsaid.size === 0 && log.some(entry => entry[2] === "the end")) {
      reported = true;
      report({log, connections});
    }
  };
  socket.onclose = close => reported ? report({code: close.code, clean: close.wasClean}) : setTimeout(connect, 10);
}
connect();
</script>
"""
ELSEWHERE = """<!DOCTYPE html>
<script>
const report = result => fetch("/report", {method: "POST", body: JSON.stringify(result)});
const socket = new WebSocket("ws://127.0.0.1:PORT/");
socket.onopen = () => report({opened: true});
socket.onclose = close => report({opened: false, code: close.code});
</script>
"""


class Relay:
    """Stands between the browser and the server, and resets each connection but the last ones after this many bytes."""

    def __init__(self, target: tuple[str, int], budgets: list[int]) -> None:
        self._target = target
        self._budgets = budgets
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def cuts_left(self) -> int:
        return len(self._budgets)

    def close(self) -> None:
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                browser, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target, 10)
            server.settimeout(None)
            self._sockets += [browser, server]
            threading.Thread(target=self._copy, args=(browser, server, None), daemon=True).start()
            budget = self._budgets.pop(0) if self._budgets else None
            threading.Thread(target=self._copy, args=(server, browser, budget), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket, budget: int | None) -> None:
        """Hands on bytes until the source ends, or until there were so many: then it cuts both connections."""
        try:
            while data := source.recv(65536):
                if budget is None:
                    target.sendall(data)
                    continue
                target.sendall(data[:budget])
                budget -= len(data)
                if budget <= 0:
                    for one in (source, target):
                        one.shutdown(socket.SHUT_RDWR)
                    return
            target.shutdown(socket.SHUT_WR)
        except OSError:  # cut by the other direction
            pass


class Site:
    """A web server with two pages, and what their scripts reported."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.reports: queue.Queue[dict[str, Any]] = queue.Queue()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = site.pages.get(self.path)
                self._respond(200 if page else 404, (page or "").encode())

            def do_POST(self) -> None:
                site.reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._respond(200, b"")

            def _respond(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def report(self) -> dict[str, Any]:
        """The next report."""
        return self.reports.get(timeout=SECONDS)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    one = Site()
    yield one
    one.close()


class Browser:
    """Opens pages, each in a browser of its own, with a new and empty profile."""

    def __init__(self, folder: Path) -> None:
        found = [path for name in BROWSERS if (path := shutil.which(name))]
        if not found:
            pytest.skip(f"there is no browser: none of {', '.join(BROWSERS)} is installed")
        self._path = found[0]
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def open(self, url: str) -> None:
        number = len(self._processes)
        with (self._folder / f"browser-{number}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    [self._path, *FLAGS, f"--user-data-dir={self._folder}/profile-{number}", url],
                    env=clean_environment({"HOME": str(self._folder)}),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=die_with_parent(signal.SIGKILL),
                )
            )

    def close(self) -> None:
        for process in self._processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait(10)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    one = Browser(tmp_path)
    yield one
    one.close()


def test_a_page(browser: Browser, site: Site, server: StartServer, connect: Connect) -> None:
    """A page registers, talks with a plain client, is cut off again and again, and hears every number once; what it
    says again after a cut is stored once. When the server stops the browser is told to come back later."""
    chat = server(config=QUICK, listen=["tcp:0:interface=127.0.0.1", "ws:tcp:0:interface=127.0.0.1"])
    bob = connect(chat, JsonClient)
    bob.register("bob")
    chance = random.Random(7)
    relay = Relay(chat.addresses[1], [FIRST_BYTES, *(chance.randrange(300, 3000) for _ in range(CUTS - 1))])
    try:
        site.pages["/"] = PAGE.replace("PORT", str(relay.port))
        browser.open(f"http://127.0.0.1:{site.port}/")
        bob.wait_event("presence", SECONDS)  # the page is logged in, and hears what is said from now on
        for number in range(MESSAGES):
            bob.say("general", str(number))
            if number % 5 == 0:
                bob.hears(f"heard {number}", SECONDS)
        bob.say("general", "the end")
        result = site.report()
        assert "log" in result, result
        chat.signal(signal.SIGTERM)
        bob.close()
        assert site.report() == {"code": 1012, "clean": True}
        assert chat.wait() == 0
    finally:
        relay.close()
    stored = query(
        chat.database,
        "SELECT seq, account.name, text FROM entry JOIN account ON account.id = author_id "
        "WHERE entry.kind = 'message' ORDER BY seq",
    )
    assert [tuple(entry) for entry in result["log"]] == stored
    assert sum(author == "ana" for _, author, _ in stored) == MESSAGES / 5
    assert relay.cuts_left == 0
    assert result["connections"] == CUTS + 1


def test_a_page_of_another_host(browser: Browser, site: Site, server: StartServer) -> None:
    """A page of another host than the server's may not connect, unless `server.origins` has its origin."""
    chat = server(config=QUICK, listen=["ws:tcp:0:interface=127.0.0.1"])
    site.pages["/"] = ELSEWHERE.replace("PORT", str(chat.port))
    browser.open(f"http://localhost:{site.port}/")
    assert site.report() == {"opened": False, "code": 1006}
    chat.stop()
    origins = f'[server]\norigins = ["http://localhost:{site.port}"]\n'
    again = server(config=QUICK + origins, listen=["ws:tcp:0:interface=127.0.0.1"])
    site.pages["/"] = ELSEWHERE.replace("PORT", str(again.port))
    browser.open(f"http://localhost:{site.port}/")
    assert site.report() == {"opened": True}
