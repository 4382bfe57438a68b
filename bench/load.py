"""The load generator: how to call it, and whether a run counts."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import machine
from bench.fill import People
from bench.servers import Server

HERE = Path(__file__).parent
GENERATOR = HERE / "chatload"
OTHER_WORK = 0.05
"""The share of a run's time that CPUs may spend on other processes; above it, the run is disturbed."""


@dataclass(frozen=True)
class Load:
    """Options of the load generator; see its --help. `prefix` distinguishes its accounts from those of another load."""

    mode: str = "throughput"
    clients: int = 100
    rooms: int = 1
    senders: int = 4
    window: int = 16
    rate: float = 100
    seconds: float = 3
    quickack: bool = True
    prefix: str = "a"
    login_seconds: int = 60
    spread: str = "client"  # over the nodes of a server that has several

    @property
    def people(self) -> People:
        return People(self.prefix, self.clients, self.rooms)

    def options(self) -> list[str]:
        options = ["--mode", self.mode, "--clients", self.clients, "--rooms", self.rooms, "--prefix", self.prefix]
        if self.mode == "idle":
            options += ["--hold", self.seconds]
        else:
            options += ["--senders", self.senders, "--secs", self.seconds, "--quickack", int(self.quickack)]
            options += ["--rate", self.rate] if self.mode == "paced" else ["--window", self.window]
        options += ["--spread", self.spread]
        options += ["--login-timeout", self.login_seconds, "--max-secs", self.login_seconds + 3 * self.seconds + 30]
        return [str(option) for option in options]


class Running:
    """A running load generator."""

    def __init__(self, server: Server, load: Load) -> None:
        profile = HERE / "profiles" / f"{server.profile}.profile"
        ports = ",".join(map(str, server.ports))
        command = [str(GENERATOR), "--port", ports, "--profile", str(profile), "--announce", "1"]
        command += [*load.options(), *server.login_options]
        for name, pid in server.pids.items():
            command += ["--pid", f"{name}={pid}"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=machine.die_with_parent,
        )

    def ready(self) -> bool:
        """Waits until all clients are logged in; False if that fails."""
        assert self._process.stdout is not None
        return self._process.stdout.readline() == "ready\n"

    @property
    def over(self) -> bool:
        return self._process.poll() is not None

    def result(self) -> dict[str, Any]:
        """Waits for the end; returns the figures. `faults` says why the run does not count; it is empty if it does."""
        out, err = self._process.communicate()
        lines = [line for line in out.splitlines() if line.startswith("{")]
        if not lines:
            return {"faults": [err.strip()[-300:] or f"chatload ended with status {self._process.returncode}"]}
        result: dict[str, Any] = json.loads(lines[-1])
        result["faults"] = _faults(result)
        return result

    def kill(self) -> None:
        if not self.over:
            self._process.kill()
        self._process.communicate()


def run(server: Server, load: Load) -> dict[str, Any]:
    """Runs one load to its end; returns the figures."""
    running = Running(server, load)
    try:
        running.ready()
        return running.result()
    finally:
        if not running.over:
            running.kill()


def _faults(result: dict[str, Any]) -> list[str]:
    counted = ("lost", "duplicated", "out_of_order", "corrupt", "misrouted", "self_echo", "errors", "disconnects")
    faults = [f"{result[name]} {name.replace('_', ' ')}" for name in counted if result.get(name)]
    faults += [name.replace("_", " ") for name in ("stalled", "cut_off") if result.get(name)]
    if result.get("rooms_one_order") != result.get("rooms_order_checked"):
        faults.append("members of a room saw different orders")
    return faults or ([] if result["ok"] else ["not ok"])


def disturbed(result: dict[str, Any]) -> bool:
    """Whether other processes on the machine used a noticeable share of its CPUs."""
    host = result.get("host")
    if host is None:
        return False
    allowed = 0.2 + OTHER_WORK * float(result.get("seconds", 3))
    other = host["login_other_s"] if result.get("mode") == "idle" else host["other_s"]
    return bool(other > allowed + (OTHER_WORK * result["login_s"] if result.get("mode") == "idle" else 0))
