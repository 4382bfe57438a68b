"""Makes the picture of the dashboard in docs/monitoring.md, from a real run:

    .venv/bin/python -m bench.dashboard docs/img/dashboard.png [--minutes 10]

A server on SQLite serves people, programs and WebSocket clients whose number and talk vary; Prometheus scrapes it, and
`panels.py` draws the panels of deploy/grafana.json from what Prometheus answers to their queries. Chromium makes a PNG
of that. Needs Debian's packages prometheus and chromium, and as many minutes as it is told.
"""

import argparse
import asyncio
import json
import math
import random
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from websockets.asyncio.client import connect

from bench import machine, panels
from bench.panels import Series
from chatserver import __version__
from tests.support.certificate import write_certificate

ROOT: Final = Path(__file__).parents[1]
DASHBOARD: Final = ROOT / "deploy" / "grafana.json"
SCRAPE_SECONDS: Final = 5
RATE: Final = "30s"
"""Stands for Grafana's $__rate_interval: some scrapes."""
POINTS: Final = 240
CLIENTS, ROOMS = 100, 4
PASSWORD: Final = "a-long-password"
SETTINGS: Final = """
[server]
default_rooms = ["general", {rooms}]
[limits]
connections = 400
connections_per_minute = 0
connections_per_address = 0
pending_per_address = 0
guess_seconds = 0
offences_per_address = 0
registrations_per_hour = 0
[passwords]
memory_kib = 4096
"""


class Chat:
    """The server, with a plain, a TLS and a WebSocket endpoint, and metrics."""

    def __init__(self, folder: Path) -> None:
        self.plain, self.secure, self.web, self.metrics = (machine.free_port() for _ in range(4))
        key, certificate = write_certificate(folder)
        rooms = ", ".join(f'"room{number}"' for number in range(ROOMS))
        (folder / "chat.toml").write_text(SETTINGS.format(rooms=rooms))
        endpoints = (
            f"tcp:{self.plain}:interface=127.0.0.1",
            f"ssl:{self.secure}:interface=127.0.0.1:privateKey={key}:certKey={certificate}",
            f"ws:tcp:{self.web}:interface=127.0.0.1",
        )
        command = [sys.executable, str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", "chatserver"]
        for endpoint in endpoints:
            command += ["--listen", endpoint]
        command += ["--metrics", f"tcp:{self.metrics}:interface=127.0.0.1", "--config", "chat.toml"]
        with (folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=log, preexec_fn=machine.die_with_parent
            )

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)


class Prometheus:
    """A real one, which scrapes the server and keeps what it sees in a folder that is removed afterwards."""

    def __init__(self, folder: Path, metrics: int) -> None:
        self._url = f"http://127.0.0.1:{(port := machine.free_port())}"
        text = (ROOT / "deploy" / "prometheus.yml").read_text()
        text = text.replace("127.0.0.1:9400", f"127.0.0.1:{metrics}").replace("15s", f"{SCRAPE_SECONDS}s")
        text = text.replace("/etc/prometheus/chatserver-alerts.yml", str(ROOT / "deploy" / "alerts.yml"))
        (folder / "prometheus.yml").write_text(text)
        program = shutil.which("prometheus")
        assert program is not None
        with (folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
                 f"--web.listen-address=127.0.0.1:{port}"],
                cwd=folder, stdout=log, stderr=log, preexec_fn=machine.die_with_parent,
            )  # fmt: skip

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def series(self, expression: str, legend: str, start: float, end: float) -> list[Series]:
        """The results of a query, named as the legend says."""
        for variable, value in (("$instance", ".*"), ("$__rate_interval", RATE)):
            expression = expression.replace(variable, value)
        step = max((end - start) / POINTS, SCRAPE_SECONDS)
        asked = urllib.parse.urlencode({"query": expression, "start": start, "end": end, "step": step})
        with urllib.request.urlopen(f"{self._url}/api/v1/query_range?{asked}", timeout=30) as answer:
            found = json.load(answer)["data"]["result"]
        return [(_named(legend, one["metric"]), _finite(one["values"])) for one in found]


def _named(legend: str, labels: dict[str, str]) -> str:
    for label, value in labels.items():
        legend = legend.replace("{{" + label + "}}", value)
    return legend


def _finite(values: Sequence[tuple[float, str]]) -> list[tuple[float, float]]:
    return [(at, float(value)) for at, value in values if math.isfinite(float(value))]


class Life:
    """Clients that come, talk and go, more in the middle of the run than at its ends."""

    def __init__(self, chat: Chat, seconds: float) -> None:
        self._chat = chat
        self._begun, self._seconds = time.monotonic(), seconds
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE

    async def run(self) -> None:
        async with asyncio.timeout(self._seconds + 60):
            await asyncio.gather(*(self._client(number) for number in range(CLIENTS)), return_exceptions=True)

    @property
    def _left(self) -> float:
        return self._begun + self._seconds - time.monotonic()

    @property
    def _liveliness(self) -> float:
        """From 0 to 1."""
        passed = min(max(1 - self._left / self._seconds, 0.0), 1.0)
        return 0.25 + 0.75 * math.sin(math.pi * passed) ** 2 * (0.75 + 0.25 * math.sin(passed * 60))

    async def _client(self, number: int) -> None:
        """Somebody who stays for some time, and comes again."""
        await asyncio.sleep(random.random() * self._seconds * 0.4)
        while self._left > 5:
            stays = min(random.uniform(0.2, 0.6) * self._seconds, self._left)
            if number % 5 == 0:
                await self._browser(number, stays)
            elif number % 5 == 1:
                await self._person(number, stays)
            else:
                await self._program(number, stays)
            await asyncio.sleep(random.uniform(1, 20))

    async def _lines(self, *, tls: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port = self._chat.secure if tls else self._chat.plain
        return await asyncio.open_connection("127.0.0.1", port, ssl=self._tls if tls else None)

    async def _program(self, number: int, seconds: float) -> None:
        reader, writer = await self._lines(tls=number % 4 == 0)
        slow = number % 40 == 3
        reading = asyncio.create_task(self._read(reader, 2.0 if slow else 0.0))
        for word in ("register", "login"):
            writer.write(_command(word, name=f"user{number}", password=PASSWORD))
        await self._talk(writer, number, seconds)
        writer.write(_command("quit"))
        await writer.drain()
        reading.cancel()
        writer.close()

    async def _talk(self, writer: asyncio.StreamWriter, number: int, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.sleep(random.expovariate(0.1 + 1.6 * self._liveliness))
            what = random.random()
            room = random.choice(["general", f"room{number % ROOMS}"])
            if what < 0.9:
                writer.write(_command("say", room=room, text="words " * random.randint(1, 40)))
            elif what < 0.95:
                writer.write(_command("history", room=room, limit=50))
            elif what < 0.98:
                writer.write(_command("who"))
            else:
                writer.write(_command("say", room="no-such-room", text="hello"))
            await writer.drain()

    async def _person(self, number: int, seconds: float) -> None:
        reader, writer = await self._lines()
        reading = asyncio.create_task(self._read(reader))
        writer.write(f"person{number}\r\n".encode())
        await asyncio.sleep(1)
        writer.write(f"{PASSWORD}\r\n".encode())
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.sleep(random.expovariate(0.05 + 0.2 * self._liveliness))
            writer.write(random.choice([b"hello everybody\r\n", b"how are you?\r\n", b"/who\r\n", b"/nonsense\r\n"]))
            await writer.drain()
        reading.cancel()
        writer.close()

    async def _browser(self, number: int, seconds: float) -> None:
        async with connect(f"ws://127.0.0.1:{self._chat.web}/") as page:
            for word in ("register", "login"):
                await page.send(_command(word, name=f"page{number}", password=PASSWORD).decode())
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                try:
                    async with asyncio.timeout(random.expovariate(0.1 + self._liveliness)):
                        while True:
                            await page.recv()
                except TimeoutError:
                    await page.send(_command("say", room="general", text="from a page").decode())

    async def _read(self, reader: asyncio.StreamReader, pause: float = 0.0) -> None:
        while await reader.read(65536 if not pause else 8192):  # noqa: ASYNC110  # some read slowly
            await asyncio.sleep(pause)


def _command(word: str, **fields: Any) -> bytes:
    return json.dumps({"cmd": word, **fields}).encode() + b"\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the picture of the dashboard from a real run.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    missing = [name for name in ("prometheus", "chromium") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"{' and '.join(missing)} cannot be found. Install: apt install {' '.join(missing)}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(_picture(options.minutes * 60))


def _picture(seconds: float) -> bytes:
    dashboard = json.loads(DASHBOARD.read_text())
    with TemporaryDirectory(prefix="dashboard-") as name, ExitStack() as cleanup:
        folder = Path(name)
        chat = Chat(folder)
        cleanup.callback(chat.close)
        prometheus = Prometheus(folder, chat.metrics)
        cleanup.callback(prometheus.close)
        _wait_for(chat.plain)
        start = time.time() + SCRAPE_SECONDS
        asyncio.run(Life(chat, seconds).run())
        end = start + seconds - 2 * SCRAPE_SECONDS
        data = {
            panel["id"]: [
                one
                for target in panel["targets"]
                for one in prometheus.series(target["expr"], target["legendFormat"], start, end)
            ]
            for panel in dashboard["panels"]
        }
        note = (
            "The panels of deploy/grafana.json, drawn by bench/dashboard.py from the data of Prometheus. chatserver "
            f"{__version__.partition('+')[0]} with up to {CLIENTS} clients on one machine."
        )
        source, picture = folder / "page.html", folder / "page.png"
        source.write_text(panels.page(dashboard, data, note), encoding="utf-8")
        width, height = panels.size(dashboard)
        subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--hide-scrollbars", f"--user-data-dir={folder / 'chromium'}", f"--window-size={width},{height}",
             f"--screenshot={picture}", source.as_uri()],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip
        return picture.read_bytes()


def _wait_for(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("The server did not start.")


if __name__ == "__main__":
    main()
