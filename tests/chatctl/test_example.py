"""`chatctl example` prints what the documentation uses, and the programs that it is for accept it."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from chatserver.chatctl.example import EXAMPLES
from chatserver.chatctl.main import main

DEPLOY = Path(__file__).parents[2] / "deploy"


def example(what: str) -> str:
    result = CliRunner().invoke(main, ["example", what])
    assert result.exit_code == 0, result.output
    return result.output


def accepts(*command: str | Path) -> None:
    """Runs a program that has to accept its input; skips the test where it is not installed."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_every_file_is_offered() -> None:
    """Every file of deploy/ can be printed; those of deploy/debian/ make the package."""
    offered = {name for names in EXAMPLES.values() for name in names}
    there = {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file()}
    assert {name for name in there if not name.startswith("debian/")} <= offered


@pytest.mark.parametrize("what", [what for what, names in EXAMPLES.items() if len(names) == 1])
def test_a_file_as_it_is(what: str) -> None:
    [name] = EXAMPLES[what]
    assert example(what) == (DEPLOY / name).read_text(encoding="utf-8")


def test_several_files() -> None:
    """Each is under its path, in a comment."""
    printed = example("fail2ban")
    assert re.findall(r"^# /etc/(\S+)$", printed, re.MULTILINE) == list(EXAMPLES["fail2ban"])
    assert example("fail2ban-jail") in printed


def test_another_word() -> None:
    """The usage error names those that there are."""
    result = CliRunner().invoke(main, ["example", "apache"])
    assert result.exit_code == 2
    assert "unit" in result.output


def test_the_settings(tmp_path: Path) -> None:
    """`chatctl check` accepts them, but for the place of the database, which belongs to root's machine."""
    path = tmp_path / "chatserver.toml"
    text = example("config")
    assert tomllib.loads(text)["server"]["database"] == "sqlite:////var/lib/chatserver/chatserver.db"
    path.write_text(text.replace("/var/lib/chatserver", str(tmp_path)), encoding="utf-8")
    for words in (["migrate", "--create"], ["check"]):
        result = CliRunner().invoke(main, ["--config", str(path), *words])
        assert result.exit_code == 0, result.output


def test_commented_settings(tmp_path: Path) -> None:
    """Settings that are commented out would be accepted, too."""
    text = re.sub(r"^(\s*)# (?=\w+ = |\")", r"\1", example("config"), flags=re.MULTILINE)
    path = tmp_path / "chatserver.toml"
    path.write_text(text, encoding="utf-8")
    from chatserver.settings import file

    settings = file.load(path)
    assert len(settings.server.listen) == 3
    assert settings.server.metrics


def test_systemd(tmp_path: Path) -> None:
    program = tmp_path / "twistd"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    for kind, name in (("", "chatserver"), ("node-", "chatserver@")):
        unit, sockets = tmp_path / f"{name}.service", tmp_path / f"{name}.socket"
        unit.write_text(example(f"{kind}unit").replace("/opt/chatserver/bin/twistd", str(program)), encoding="utf-8")
        sockets.write_text(example(f"{kind}socket"), encoding="utf-8")
        accepts("systemd-analyze", "verify", "--man=no", unit, sockets)


def test_the_unit_of_a_node() -> None:
    """It is the other one, hardened alike, but for what belongs to one node."""

    def lines(what: str) -> list[str]:
        return [line for line in example(what).splitlines() if line and not line.startswith("#")]

    one, many = lines("unit"), lines("node-unit")
    assert [line for line in one if line not in many] == ["Description=Chat server for telnet and netcat"]
    assert [line for line in many if line not in one] == [
        "Description=Chat server for telnet and netcat, node %i",
        "Sockets=chatserver@%i.socket",
        "RuntimeDirectoryPreserve=yes",
        "Environment=CHATSERVER_NODE=%i",
        "EnvironmentFile=-/etc/chatserver/environment-%i",
    ]
    assert "ReusePort=yes" in lines("node-socket")


def test_nginx(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    accepts("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=chat", "-keyout", key, "-out",
            certificate)  # fmt: skip
    site = example("nginx").replace("/etc/ssl/private/chat.example.org.pem", str(key))
    site = site.replace("/etc/ssl/certs/chat.example.org.pem", str(certificate))
    path = tmp_path / "nginx.conf"
    path.write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{site}\n}}\n", encoding="utf-8")
    accepts("nginx", "-t", "-c", path, "-p", tmp_path)


@pytest.mark.parametrize("what", ["haproxy", "haproxy-cluster"])
def test_haproxy(what: str, tmp_path: Path) -> None:
    path = tmp_path / "haproxy.cfg"
    path.write_text(example(what), encoding="utf-8")
    accepts("haproxy", "-c", "-f", path)


def test_prometheus(tmp_path: Path) -> None:
    rules, scrape = tmp_path / "rules.yml", tmp_path / "prometheus.yml"
    rules.write_text(example("alerts"), encoding="utf-8")
    scrape.write_text(example("prometheus").replace("/etc/prometheus/chatserver-alerts.yml", str(rules)))
    accepts("promtool", "check", "rules", rules)
    accepts("promtool", "check", "config", scrape)


def test_grafana() -> None:
    assert json.loads(example("grafana"))["panels"]
