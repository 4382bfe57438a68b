"""What do readers that read again cost everybody else? `python -m bench.catchup --readers 1000 --others 1000`

All are members of one room. The readers stop to read while the room is busy, until they are far behind; then they read
again, all at once. A pair in another room talks all the time, at ten messages a second: the time from `say` to delivery
is measured in quiet seconds, and while the others catch up. Every reader's entries are checked: none is missing, none
comes twice. With two nodes the members alternate between them, and the pair has one at each.
"""

import argparse
import json
import multiprocessing
import re
import selectors
import shutil
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import machine
from bench.fill import People, token
from bench.load import Load
from bench.nodes import Case, Nodes
from bench.servers import SERVERS, Server
from bench.tables import table

QUIET_SECONDS = 5.0
RATE = 10.0
WINDOW = 16
ROOM = "ar0"
PASSWORD = "s3cret-words"
CHARACTERS = 400
FEW_BYTES, MANY_BYTES = 1 << 12, 1 << 18
"""Size of a reader's receive buffer before and after it begins to read again: one that does not read is behind soon."""
MOST_SECONDS = 120.0
AT_ONCE = 50
"""Number of logins at the same time."""
SERVED = ("chatserver-pg", "chatserver-sqlite")
NUMBER = re.compile(rb"@N(\d+)@")
LONGEST = len("@N1000000@")

Pipe = Any
"""A `multiprocessing.connection.Connection`."""


class Reader:
    """A client that is logged in, and checks the numbers in what it receives."""

    def __init__(self, port: int, name: str, *, person: bool, receive_bytes: int) -> None:
        self.socket = socket.socket()
        if receive_bytes:  # a client that does not read is behind soon
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect(("127.0.0.1", port))
        if person:  # with a token they would be a script, which is sent nothing but answers
            first = f"/register {name}p {PASSWORD}\n/join {ROOM}\n"
        else:
            first = json.dumps({"cmd": "login", "token": token(name), "tag": 1}) + "\n"
        self.socket.sendall(first.encode())
        self._admitted = f" {ROOM}".encode() if person else b'"tag":1'
        self._rest = b""
        self.admitted = False
        self.number = 0
        self.faults = 0

    def read(self) -> bool:
        """Whether there may be more."""
        data = self.socket.recv(1 << 17)
        if not data:
            self.faults += 1
            return False
        data = self._rest + data
        if not self.admitted:
            self.admitted = self._admitted in data
        found = [int(number) for number in NUMBER.findall(data)]
        if found:
            if found != list(range(self.number + 1, self.number + 1 + len(found))):
                self.faults += 1
            self.number = found[-1]
            data = data[data.rindex(b"@N%d@" % self.number) + 1 :]
        self._rest = data[-LONGEST:]
        return True


class Crowd:
    """All members of the busy room."""

    def __init__(self, ports: list[int], readers: int, others: int, people: int) -> None:
        self._selector = selectors.DefaultSelector()
        self.members: list[Reader] = []
        for number in range(readers + others):
            small = FEW_BYTES if number < readers else 0
            one = Reader(ports[number % len(ports)], f"au{number}", person=number % 100 < people, receive_bytes=small)
            self.members.append(one)
            self._selector.register(one.socket, selectors.EVENT_READ, one)
            if number % AT_ONCE == AT_ONCE - 1:
                self.until(lambda: all(one.admitted for one in self.members))
        self.until(lambda: all(one.admitted for one in self.members))
        self.readers, self.others = self.members[:readers], self.members[readers:]

    def until(self, condition: Any, seconds: float = MOST_SECONDS) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise SystemExit("The members have not received everything in time.")
            since = time.monotonic()
            while time.monotonic() < since + 0.05:  # the condition looks at all members
                for key, _ in self._selector.select(0.01):
                    if not key.data.read():
                        self._selector.unregister(key.fileobj)

    def stop(self) -> None:
        for one in self.readers:
            self._selector.unregister(one.socket)

    def start(self) -> None:
        for one in self.readers:
            one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MANY_BYTES)
            self._selector.register(one.socket, selectors.EVENT_READ, one)


def crowd(ports: list[int], readers: int, others: int, people: int, pipe: Pipe) -> None:
    """The process of the members."""
    machine.raise_file_limit()
    members = Crowd(ports, readers, others, people)
    pipe.send("ready")
    pipe.recv()
    members.stop()
    pipe.send("stopped")
    while (count := pipe.recv()) != "start":
        members.until(lambda: pipe.poll() or all(one.number >= count for one in members.others))
        if not pipe.poll():
            pipe.send(min((one.number for one in members.others), default=count))
    began = time.monotonic()
    members.start()
    last = max((one.number for one in members.others), default=0) or pipe.recv()
    times: list[float] = []
    left = set(members.readers)

    def all_read() -> bool:
        done = {one for one in left if one.number >= last}
        times.extend([time.monotonic() - began] * len(done))
        left.difference_update(done)
        return not left

    members.until(all_read)
    pipe.send((times, sum(one.faults for one in members.members)))
    pipe.recv()


def say(port: int, name: str, count: int) -> None:
    """The process that makes the room busy."""
    one = socket.create_connection(("127.0.0.1", port))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lines = one.makefile("rb")
    answers = 0

    def send(**command: Any) -> None:
        one.sendall(json.dumps(command).encode() + b"\n")

    def answered() -> None:
        while not (line := lines.readline()).startswith(b'{"ok"'):
            if not line:
                raise SystemExit("The sender's connection was closed.")
        if not line.startswith(b'{"ok":true'):
            raise SystemExit(f"The sender was refused: {line.decode()}")

    send(cmd="login", token=token(name))
    answered()
    for number in range(1, count + 1):
        if number - answers > WINDOW:
            answered()
            answers += 1
        send(cmd="say", room=ROOM, text=f"@N{number}@ " + "x" * CHARACTERS)
    while answers < count:
        answered()
        answers += 1


def bystand(ports: list[int], pipe: Pipe) -> None:
    """The process of the pair: measures from each `begin` to the next `end`, and sends the times in milliseconds."""
    sockets = [socket.create_connection(("127.0.0.1", port)) for port in (ports[0], ports[-1])]
    for number, one in enumerate(sockets):
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.sendall(json.dumps({"cmd": "login", "token": token(f"bu{number}")}).encode() + b"\n")
    speaker, listener = sockets
    selector = selectors.DefaultSelector()
    for one in sockets:
        selector.register(one, selectors.EVENT_READ)
    rest = b""
    sent: dict[int, float] = {}
    times: list[float] = []
    number, due, measuring = 0, time.monotonic(), False
    pipe.send("ready")
    while True:
        if pipe.poll():
            order = pipe.recv()
            measuring = order == "begin"
            if measuring:
                sent, times = {}, []
        if not measuring and not sent:
            if times:
                pipe.send(times)
                times = []
            if not pipe.poll(0.05):
                continue
        if measuring and time.monotonic() >= due:
            number += 1
            due = max(due + 1 / RATE, time.monotonic() - 1)
            sent[number] = time.monotonic()
            speaker.sendall(json.dumps({"cmd": "say", "room": "br0", "text": f"@N{number}@"}).encode() + b"\n")
        for key, _ in selector.select(max(min(due - time.monotonic(), 0.05), 0)):
            data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
            if key.fileobj is listener:
                now = time.monotonic()
                rest += data
                for found in NUMBER.findall(rest):
                    if int(found) in sent:
                        times.append(1000 * (now - sent.pop(int(found))))
                rest = rest[-LONGEST:] if b"\n" not in rest[-LONGEST:] else rest[rest.rindex(b"\n") + 1 :]


def resident(server: Server) -> float:
    """MiB of all nodes."""
    return sum(machine.resident_kib(pid) for name, pid in server.pids.items() if name != "postgres") / 1024


def used(server: Server) -> float:
    """CPU seconds of all nodes."""
    ticks = 0
    for name, pid in server.pids.items():
        if name != "postgres":
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def measure(server: Server, options: argparse.Namespace) -> list[list[str]]:
    context = multiprocessing.get_context("spawn")
    processes = []

    def start(target: Any, *arguments: Any) -> Pipe:
        here, there = multiprocessing.Pipe()
        process = context.Process(target=target, args=(*arguments, there), daemon=True)
        process.start()
        processes.append(process)
        return here

    def wait(pipe: Pipe) -> Any:
        if not pipe.poll(MOST_SECONDS):
            raise SystemExit("A process of the benchmark did not answer.")
        return pipe.recv()

    count = options.messages
    members = start(crowd, server.ports, options.readers, options.others, options.people)
    wait(members)
    pair = start(bystand, server.ports)
    wait(pair)
    rows = []

    def row(what: str, times: list[float], note: str = "") -> None:
        p50, p95 = statistics.median(times), statistics.quantiles(times, n=20, method="inclusive")[-1]
        rows.append([what, f"{p50:.1f}", f"{p95:.1f}", f"{max(times):.0f}", f"{resident(server):.0f}", note])
        print(*rows[-1], sep="\t", file=sys.stderr, flush=True)

    pair.send("begin")
    time.sleep(QUIET_SECONDS)
    pair.send("end")
    row("quiet", wait(pair))
    members.send("stop")
    wait(members)
    pair.send("begin")
    sender = context.Process(target=say, args=(server.ports[0], f"au{options.readers + options.others}", count))
    sender.start()
    sender.join(MOST_SECONDS)
    if sender.exitcode:
        raise SystemExit("The room was not busy.")
    members.send(count)
    wait(members)
    pair.send("end")
    row("the room is busy", wait(pair))
    time.sleep(1)
    pair.send("begin")
    before, most = used(server), resident(server)
    members.send("start")
    if not options.others:
        members.send(count)
    while not members.poll(0.05):
        most = max(most, resident(server))
    seconds, faults = members.recv()
    spent = used(server) - before
    pair.send("end")
    ends = statistics.quantiles(seconds, n=20, method="inclusive")
    note = (
        f"caught up: p50 {statistics.median(seconds):.1f} s, p95 {ends[-1]:.1f} s, all {max(seconds):.1f} s; "
        f"CPU {spent:.1f} s; most {most:.0f} MiB; {faults} faults"
    )
    row(f"{options.readers} catch up", wait(pair), note)
    time.sleep(2)
    pair.send("begin")
    time.sleep(QUIET_SECONDS)
    pair.send("end")
    row("quiet again", wait(pair))
    members.send("end")
    for process in processes:
        process.kill()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.catchup", description=__doc__)
    parser.add_argument("--server", choices=SERVED, default=SERVED[0])
    parser.add_argument("--nodes", type=int, default=1, help="more than one: on PostgreSQL")
    parser.add_argument("--readers", type=int, default=1000, help="those who stop to read")
    parser.add_argument("--others", type=int, default=1000, help="those who go on reading")
    parser.add_argument("--messages", type=int, default=1500)
    parser.add_argument(
        "--people", type=int, default=0, help="percentage of people at terminals; the others are programs"
    )
    options = parser.parse_args()
    machine.raise_file_limit()
    machine.exit_on_sigterm()
    workspace = Path(tempfile.mkdtemp(prefix="chatserver-bench-"))
    workspace.chmod(0o755)
    with machine.exclusive():
        server: Server
        if options.nodes > 1:
            server = Nodes(workspace, Case("", Load(), options.nodes, "postgres"), None)
        else:
            server = SERVERS[options.server](workspace)
        try:
            server.start([People("a", options.readers + options.others + 1), People("b", 2)])
            rows = measure(server, options)
        finally:
            server.stop()
            shutil.rmtree(workspace, ignore_errors=True)
    print(table(["", "p50 ms", "p95 ms", "most ms", "MiB", ""], rows))


if __name__ == "__main__":
    main()
