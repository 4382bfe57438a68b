"""`chatctl check` looks at endpoints and certificates, and opens nothing."""

import json
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.chatctl.conftest import Chatctl
from tests.support.certificate import write_certificate

On = Callable[[str], Chatctl]
OPEN = "open to other hosts, without TLS"


class Checked:
    """The findings of `chatctl check` about endpoints, by the words of their lines and as JSON."""

    def __init__(self, chatctl: Chatctl, folder: Path, *listen: str, more: str = "") -> None:
        file = folder / "chatserver.toml"
        quoted = ", ".join(f"'{one}'" for one in listen)
        file.write_text(f"[server]\nlisten = [{quoted}]\n{more}")
        result = chatctl.run("--config", str(file), "check")
        self.lines = result.stdout.splitlines()[1:]
        self.status = result.exit_code
        shown = chatctl.run("--config", str(file), "check", "--json")
        assert shown.exit_code == self.status
        self.value: dict[str, Any] = json.loads(shown.stdout)

    @property
    def said(self) -> list[str]:
        """The lines about endpoints, certificates and keys."""
        items = ("listen:", "metrics:", "certificate:", "key:")
        return [line for line in self.lines if line.split()[1] in items]


@pytest.fixture
def chatctl(sqlite_url: str, on: On) -> Chatctl:
    chatctl = on(sqlite_url)
    chatctl("migrate", "--create")
    return chatctl


def test_endpoints(chatctl: Chatctl, tmp_path: Path) -> None:
    """Each kind of endpoint, for whom it is open; nothing is wrong with any of them, so that the status is 0."""
    checked = Checked(
        chatctl, tmp_path, "tcp:4000", "ws:tcp:4080:interface=127.0.0.1", "tcp6:4001", "unix:/run/chat.socket",
        "systemd:domain=INET:index=0", more="metrics = 'tcp:9400:interface=localhost'\n",
    )  # fmt: skip
    verdicts = [line.split()[0] for line in checked.said]
    assert (verdicts, checked.status) == (["warn", "ok", "warn", "ok", "ok", "ok"], 0)
    assert [OPEN in line for line in checked.said] == [True, False, True, False, False, False]
    assert [item["warning"] for item in checked.value["items"]].count(True) == 2
    assert checked.value["ok"] is True


def test_nothing_is_opened(chatctl: Chatctl, tmp_path: Path) -> None:
    """A server that runs is not disturbed: a port that is taken is none of its business, nor is a socket's file."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = tmp_path / "chat.socket"
        checked = Checked(chatctl, tmp_path, f"tcp:{port}:interface=127.0.0.1", f"unix:{path}")
    assert (checked.status, path.exists()) == (0, False)


@pytest.mark.parametrize("endpoint", ["tpc:4000", "tcp", "tcp:x", "tcp:70000", "ws:tcp:1:interfce=::", "", "unix"])
def test_what_is_no_endpoint(chatctl: Chatctl, tmp_path: Path, endpoint: str) -> None:
    checked = Checked(chatctl, tmp_path, endpoint)
    assert checked.status == 1
    assert "is not an endpoint" in checked.said[0]
    assert checked.said[0].startswith("WRONG  listen: ")


def secure(folder: Path, days: float = 100, since: float = 1, door: str = "") -> tuple[str, Path, Path]:
    """An endpoint, its key and its certificate, which is valid for this many days."""
    folder.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    key, certificate = write_certificate(folder, now - timedelta(days=since), now + timedelta(days=days))
    key.chmod(0o640)
    return f"{door}ssl:4001:privateKey={key}:certKey={certificate}", key, certificate


@pytest.mark.parametrize(
    ("days", "since", "said"),
    [
        (100, 1, "ok     certificate: of ssl:4001, for localhost, until "),
        (14.1, 1, "ok     certificate: of ssl:4001, for localhost, until "),
        (13.9, 1, "WRONG  certificate: The certificate of ssl:4001 expires on "),
        (-1, 2, "WRONG  certificate: The certificate of ssl:4001 expired on "),
        (100, -1, "WRONG  certificate: The certificate of ssl:4001 is not valid before "),
    ],
)
def test_when_a_certificate_ends(chatctl: Chatctl, tmp_path: Path, days: float, since: float, said: str) -> None:
    """It is reported a fortnight before, with what to do."""
    endpoint, *_ = secure(tmp_path / "tls", days, since, "ws:")
    checked = Checked(chatctl, tmp_path, endpoint)
    assert checked.said[0] == "ok     listen: ssl:4001, with TLS"
    assert checked.said[1].startswith(said)
    assert checked.status == said.startswith("WRONG")


def test_files_that_cannot_be_used(chatctl: Chatctl, tmp_path: Path) -> None:
    """A certificate of another key, none at all, or one that this user cannot read is WRONG."""
    endpoint, key, certificate = secure(tmp_path / "tls")
    _, other, _ = secure(tmp_path / "other")
    mixed = endpoint.replace(str(key), str(other))
    said = Checked(chatctl, tmp_path, mixed).said
    assert [line.partition(". ")[0] for line in said] == [
        "WRONG  listen: ssl:4001 cannot be used: its key does not belong to its certificate"
    ]
    certificate.write_text("nothing\n")
    assert "has no key, or no certificate, in PEM format" in Checked(chatctl, tmp_path, endpoint).said[0]
    key.unlink()
    key.mkdir()
    checked = Checked(chatctl, tmp_path, endpoint)
    assert (checked.status, f"{key} cannot be read (Is a directory)" in checked.said[0]) == (1, True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_a_key_of_somebody_else(chatctl: Chatctl, tmp_path: Path) -> None:
    endpoint, key, _ = secure(tmp_path / "tls")
    key.chmod(0)
    assert f"{key} cannot be read (Permission denied)" in Checked(chatctl, tmp_path, endpoint).said[0]


def test_a_key_for_everybody(chatctl: Chatctl, tmp_path: Path) -> None:
    """It works, and somebody should know."""
    endpoint, key, _ = secure(tmp_path / "tls")
    key.chmod(0o644)
    checked = Checked(chatctl, tmp_path, endpoint)
    assert (checked.status, checked.said[-1]) == (
        0,
        f"warn   key: {key} of ssl:4001 can be read by every user: chmod o-r {key}",
    )
