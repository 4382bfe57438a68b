"""The metrics endpoint of a real server, as Prometheus and load balancers use it."""

import http.client
import socket
from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.process import ChatServer

LOOPBACK = "tcp:0:interface=127.0.0.1"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))


class Monitor:
    """`server` was started with `--metrics LOOPBACK`."""

    def __init__(self, server: ChatServer) -> None:
        found = server.wait_log(r"Monitoring reads http://([\d.]+):(\d+)/metrics")
        self.address = (found[1], int(found[2]))

    def get(self, path: str) -> tuple[int, str]:
        return ask(http.client.HTTPConnection(*self.address, timeout=10), path)

    @property
    def text(self) -> str:
        status, text = self.get("/metrics")
        assert status == 200
        return text

    def numbers(self) -> "Numbers":
        return Numbers(self.text)


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[int, str]:
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Numbers:
    """The result of one scrape."""

    def __init__(self, text: str) -> None:
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def of(self, name: str, **labels: str) -> float:
        """The sum over all series of this name with these labels; there has to be one."""
        wanted: Mapping[str, str] = labels
        values = [
            sample.value
            for sample in self.samples
            if sample.name == name and all(sample.labels.get(key) == value for key, value in wanted.items())
        ]
        assert values, (name, labels)
        return sum(values)
