"""The machine: its hardware, its other load, and the unprivileged user that servers run as."""

import ctypes
import fcntl
import os
import platform
import pwd
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOCK = Path(tempfile.gettempdir()) / "chatserver-bench.lock"
PLACES = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/games"))
UNPRIVILEGED_USER = "nobody"


def die_with_parent() -> None:
    """A preexec_fn: the child dies with this process, even if this process is killed."""
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG


def exit_on_sigterm() -> None:
    """Makes SIGTERM end this process like Ctrl-C, so that the servers it has started are stopped first."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def find_program(name: str) -> str | None:
    """The path of a program. Debian installs servers in sbin, which is not in a user's PATH."""
    return shutil.which(name, path=PLACES)


def first_line(*command: str) -> str:
    """The first line that a command prints, such as its version; empty if it fails or prints nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, cwd="/")
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next((line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), "")


def package_version(package: str) -> str:
    """The version of an installed Debian package."""
    return first_line("dpkg-query", "-W", "-f", "${Version}", package)


def as_unprivileged() -> dict[str, Any]:
    """Popen's arguments to run a server without root privileges; none if this process is not root."""
    if os.geteuid():
        return {}
    entry = pwd.getpwnam(UNPRIVILEGED_USER)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def unprivileged_can_run(command: Sequence[str]) -> bool:
    """Whether a program can be run without root privileges: it may be in a folder that only root can read."""
    try:
        return not subprocess.run(command, capture_output=True, check=False, cwd="/", **as_unprivileged()).returncode
    except OSError:
        return False


def give_to_server(path: Path) -> None:
    """Changes the owner of a file or folder to the user that servers run as."""
    if not os.geteuid():
        entry = pwd.getpwnam(UNPRIVILEGED_USER)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def raise_file_limit() -> int:
    """Allows this process and its children as many open files as the hard limit permits; returns that limit."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


@contextmanager
def exclusive() -> Iterator[None]:
    """Waits until no other benchmark runs on this machine, and holds others off."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def busy_seconds() -> float:
    """CPU seconds that the whole machine has used."""
    with Path("/proc/stat").open() as stat:
        fields = [int(field) for field in stat.readline().split()[1:8]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def process_seconds(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_quiet(seconds: float) -> bool:
    """Waits until the machine has been nearly idle for half a second. False if that takes longer than `seconds`.

    First flushes everything to disk, including the removal of the previous run's database, which may have gigabytes.
    """
    os.sync()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = busy_seconds()
        time.sleep(0.5)
        if busy_seconds() - before < 0.05:
            return True
    return False


def resident_kib(pid: int) -> int:
    """The resident memory of one process, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def facts(folder: Path) -> dict[str, str]:
    """Facts about this machine that a reader needs; `folder` is where the databases are."""
    cpu = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    system = dict(line.split("=", 1) for line in _lines("/etc/os-release") if "=" in line)
    cores = len(os.sched_getaffinity(0))
    return {
        "CPU": f"{cpu[0] if cpu else platform.machine()}, {cores} core{'s' * (cores > 1)}",
        "Memory": f"{memory / 2**20:.1f} GiB",
        "Kernel": f"{platform.system()} {platform.release()}",
        "System": system.get("PRETTY_NAME", "unknown").strip('"'),
        "Databases on": f"{_file_system(folder)}; write and fdatasync of 8 KiB {_sync_ms(folder):.2f} ms (median)",
        "Open files": f"{resource.getrlimit(resource.RLIMIT_NOFILE)[1]} for each process",
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _file_system(folder: Path) -> str:
    at = [line.split()[1:3] for line in _lines("/proc/mounts")]
    above = [(where, kind) for where, kind in at if folder.is_relative_to(where)]
    return max(above, key=lambda one: len(one[0]))[1] if above else "unknown"


def _sync_ms(folder: Path) -> float:
    times = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(100):
            start = time.perf_counter()
            file.write(b"x" * 8192)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000
