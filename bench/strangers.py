"""The effect of a stranger on others, with default settings: `python -m bench.strangers`.

Two bystanders talk, ten messages a second. Their time from `say` to delivery is measured while strangers attack from
other addresses of the loopback network, out of another process, and in the quiet seconds before each attack and from
the moment of its end. The attacks are those of docs/security.md.
"""

import argparse
import asyncio
import json
import multiprocessing
import socket
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.machine import exclusive, process_seconds, raise_file_limit, resident_kib
from bench.tables import table
from tests.support.postgres import PostgresServer
from tests.support.process import ChatServer

SECONDS = 8.0
RATE = 10.0
PEOPLE = 200
PASSWORD = "a-long-passphrase"
BYSTANDERS = "127.0.0.2"
CROWD = 16
"""Number of accounts of an attack that comes from one address."""
AHEAD = 64
"""Number of commands that each of them always has under way."""
KNOCKS = 2000
"""Number of connections that an attack opens and closes in each second."""
HELD = 32
"""Number of them that are open at a time."""

Address = tuple[str, int]


class Client:
    """A JSON Lines client with its own source address."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, server: Address, source: str) -> "Client":
        return cls(*await asyncio.open_connection(*server, local_addr=(source, 0), limit=1 << 22))

    def post(self, **command: Any) -> None:
        self.writer.write(json.dumps(command).encode() + b"\n")

    async def answer(self) -> dict[str, Any]:
        """The next answer; events before it are skipped. Raises EOFError at the end of the connection."""
        while line := await self.reader.readline():
            if line.startswith(b"{"):
                message: dict[str, Any] = json.loads(line)
                if "event" not in message:
                    return message
        raise EOFError

    async def ask(self, **command: Any) -> dict[str, Any]:
        self.post(**command)
        return await self.answer()

    async def drain(self) -> None:
        """Reads and throws away, until the end."""
        try:
            while await self.reader.read(1 << 16):
                pass
        except OSError:
            pass


def source(number: int) -> str:
    """Another network for every ten people, so that no quota of an address or a network is in the way of preparing."""
    return f"127.{1 + number // 2500}.{number // 10 % 250}.1"


async def person(server: Address, number: int, word: str = "login", address: str = "") -> Client:
    client = await Client.connect(server, address or source(number))
    answer = await client.ask(cmd=word, name=f"p{number}x", password=PASSWORD)
    if not answer["ok"]:
        raise SystemExit(f"p{number}x could not {word}: {answer['text']}")
    return client


# The attacks. Each gets the server's address and the moment at which to end; they say what they found.


async def quiet(_: Address, __: float) -> str:
    return ""


async def newlines(server: Address, until: float) -> str:
    """Ten connections send blank lines as fast as the network takes them, before and after a login."""

    async def one(number: int) -> int:
        client = await (person(server, number) if number % 2 else Client.connect(server, source(number)))
        return await _pour(client, [b"\n" * 4096], until)

    sent = 4096 * sum(await asyncio.gather(*[one(number) for number in range(10)]))
    return f"{sent / SECONDS / 1000:,.0f} kB/s sent"


async def marks(server: Address, until: float) -> str:
    """Lines of 8 kB of combining marks in the wrong order, before and after a login."""
    text = ("\u0301\u0316" * 1800) + "a"
    line = json.dumps({"cmd": "say", "room": "general", "text": text}, ensure_ascii=False).encode() + b"\n"
    return await _flood(server, until, [line], 5)


async def mentions(server: Address, until: float) -> str:
    """Messages that name everybody in the room."""
    text = " ".join(f"p{number}x" for number in range(PEOPLE))
    return await _flood(
        server, until, [json.dumps({"cmd": "say", "room": "general", "text": text}).encode() + b"\n"], 3
    )


async def away(server: Address, until: float) -> str:
    """Going away, with a long text, and coming back, again and again."""
    lines = [json.dumps({"cmd": "away", "text": text}).encode() + b"\n" for text in ("z" * 200, "")]
    return await _flood(server, until, lines, 5)


async def flapping(server: Address, until: float) -> str:
    """Leaving and joining the room again and again."""
    lines = [json.dumps({"cmd": word, "room": "general"}).encode() + b"\n" for word in ("leave", "join")]
    return await _flood(server, until, lines, 5)


async def questions(server: Address, until: float) -> str:
    """Every command that reads, as fast as it is answered."""
    asked: list[dict[str, Any]] = [
        {"cmd": "history", "room": "general", "limit": 200},
        {"cmd": "search", "text": "p1x"},
        {"cmd": "members", "room": "general"},
        {"cmd": "who"},
        {"cmd": "rooms"},
    ]
    return await _flood(server, until, [json.dumps(command).encode() + b"\n" for command in asked], 5)


async def topics(server: Address, until: float) -> str:
    """Sixteen people at one address set topics, each in a room of their own: every one is an entry."""
    return await _crowd(server, until, [{"cmd": "topic", "text": f"The topic is {number}."} for number in range(50)])


async def chatter(server: Address, until: float) -> str:
    """Sixteen people at one address send messages as long as they may be."""
    return await _crowd(server, until, [{"cmd": "say", "text": f"lorem{number} ipsum " * 250} for number in range(50)])


async def reading(server: Address, until: float) -> str:
    """Sixteen people at one address read the longest pages."""
    return await _crowd(server, until, [{"cmd": "history", "room": "general", "limit": 500}])


async def _crowd(server: Address, until: float, commands: list[dict[str, Any]]) -> str:
    """Sixteen people at one address send these commands as fast as the server takes them, as a rule to a room of their
    own. At the end they are cut off."""

    async def one(number: int) -> int:
        client = await person(server, number, address="127.0.10.1")
        room = f"crowd-{number}"
        await client.ask(cmd="create", room=room)
        await client.ask(cmd="join", room=room)
        lines = [json.dumps({"room": room} | each).encode() + b"\n" for each in commands]
        return await _keep_busy(client, lines, until)

    answered = sum(await asyncio.gather(*[one(number) for number in range(CROWD)]))
    return f"{answered / SECONDS:,.0f} commands/s"


async def knocking(server: Address, until: float) -> str:
    """Two thousand connections a second are opened and closed at one address."""
    open: deque[socket.socket] = deque()
    began, made = time.monotonic(), 0
    while (now := time.monotonic()) < until:
        while made < (now - began) * KNOCKS:
            one = socket.socket()
            one.setblocking(False)
            one.bind(("127.0.11.1", 0))
            one.connect_ex(server)
            open.append(one)
            made += 1
            if len(open) > HELD:
                open.popleft().close()
        await asyncio.sleep(0.001)
    return f"{made / SECONDS:,.0f} connections/s"


async def _flood(server: Address, until: float, lines: list[bytes], people: int) -> str:
    """Some people send these lines as fast as the network takes them."""

    async def one(number: int) -> int:
        return await _pour(await person(server, number), lines, until)

    sent = sum(await asyncio.gather(*[one(number) for number in range(people)]))
    return f"{sent / SECONDS:,.0f} lines/s sent"


async def _pour(client: Client, lines: list[bytes], until: float) -> int:
    """Sends these again and again, as fast as the network takes them, and reads what comes. Returns how many."""
    sent = 0
    reading = asyncio.ensure_future(client.drain())
    try:
        while time.monotonic() < until and not client.writer.is_closing():
            for line in lines:
                client.writer.write(line)
                sent += 1
            await asyncio.wait_for(client.writer.drain(), max(until - time.monotonic(), 0.01))
            await asyncio.sleep(0)
    except (OSError, TimeoutError):
        pass
    reading.cancel()
    return sent


async def _keep_busy(client: Client, lines: list[bytes], until: float) -> int:
    """Sends these again and again, so that some always wait for the server. Returns how many it answered."""
    sent = answered = 0
    while (left := until - time.monotonic()) > 0:
        while sent - answered < AHEAD:
            client.writer.write(lines[sent % len(lines)])
            sent += 1
        try:
            answered += (await asyncio.wait_for(client.reader.read(1 << 16), left)).count(b'"ok":')
        except TimeoutError:
            break
    return answered


async def deaf(server: Address, until: float) -> str:
    """A hundred connections of one account ask for everything and read nothing."""
    first = await person(server, 0)
    made = await first.ask(cmd="token", label="deaf", password=PASSWORD)
    if not made["ok"]:
        return f"no token: {made['text']}"
    clients = []
    for number in range(100):
        client = await Client.connect(server, f"127.0.9.{1 + number % 10}")
        client.post(cmd="login", token=made["token"])
        for _ in range(50):
            client.post(cmd="history", room="general", limit=200)
        clients.append(client)
    await asyncio.sleep(until - time.monotonic())
    for client in clients:
        client.writer.transport.abort()
    first.post(cmd="token", revoke="deaf")
    return "100 connections"


async def guesses(server: Address, until: float) -> str:
    """Five hundred guesses at the password of a bystander, from fifty networks; the owner logs in meanwhile from where
    she has before."""
    right = refused = 0

    async def one(number: int) -> None:
        nonlocal right, refused
        for attempt in range(10):
            try:
                client = await Client.connect(server, f"127.0.{100 + number}.1")
                answer = await client.ask(cmd="login", name="ana", password=f"guess-{number}-{attempt}")
                right += answer["ok"]
                refused += answer.get("error") == "slow-down"
                client.writer.transport.abort()
            except (OSError, EOFError):
                refused += 1

    work = [asyncio.ensure_future(one(number)) for number in range(50)]
    await asyncio.sleep(1)
    began = time.monotonic()
    owner = await Client.connect(server, BYSTANDERS)
    answer = await owner.ask(cmd="login", name="ana", password=PASSWORD)
    took = time.monotonic() - began
    owner.writer.transport.abort()
    await asyncio.wait(work, timeout=max(until - time.monotonic(), 0.1))
    for task in work:
        task.cancel()
    came_in = "logged in" if answer["ok"] else f"was refused ({answer['text']})"
    return f"{right} right, {refused} refused; the owner {came_in} after {took:.2f} s"


async def logins(server: Address, until: float) -> str:
    """Two hundred people log in at once from one address."""
    done = 0

    async def one(number: int) -> None:
        nonlocal done
        client = await Client.connect(server, "127.0.6.1")
        answer = await client.ask(cmd="login", name=f"p{number}x", password=PASSWORD)
        done += answer["ok"]
        await client.drain()

    work = [asyncio.ensure_future(one(number)) for number in range(PEOPLE)]
    await asyncio.sleep(until - time.monotonic())
    for task in work:
        task.cancel()
    return f"{done} of {PEOPLE} logged in"


async def silent(server: Address, until: float) -> str:
    """Two thousand connections from four addresses say nothing; a member logs in from one of them, and from another."""
    held = []
    for number in range(2000):
        try:
            held.append(await Client.connect(server, f"127.0.5.{1 + number % 4}"))
        except OSError:
            pass
    times = []
    for address in ("127.0.5.1", "127.0.5.9"):
        began = time.monotonic()
        member = await Client.connect(server, address)
        answer = await member.ask(cmd="login", name="bob", password=PASSWORD)
        times.append(f"{time.monotonic() - began:.2f} s" if answer["ok"] else f"refused ({answer['text']})")
        member.writer.transport.abort()
    await asyncio.sleep(max(until - time.monotonic(), 0))
    for client in held:
        client.writer.transport.abort()
    return f"{len(held)} connections; a login from among them: {times[0]}, from another address: {times[1]}"


ATTACKS: dict[str, Callable[[Address, float], Coroutine[Any, Any, str]]] = {
    one.__name__: one
    for one in (
        quiet, newlines, marks, mentions, away, flapping, questions, deaf, guesses, logins, silent,
        topics, chatter, reading, knocking,
    )
}  # fmt: skip


def _attack(name: str, server: Address, results: Any) -> None:
    raise_file_limit()
    try:
        results.put(asyncio.run(ATTACKS[name](server, time.monotonic() + SECONDS)))
    except BaseException as error:
        results.put(f"failed: {error!r}")


async def bystand(server: Address) -> list[float]:
    """Milliseconds from each `say` to its delivery to the other bystander."""
    ana, bob = [await Client.connect(server, BYSTANDERS) for _ in range(2)]
    for client, name in ((ana, "ana"), (bob, "bob")):
        answer = await client.ask(cmd="login", name=name, password=PASSWORD)
        if not answer["ok"]:
            raise SystemExit(f"A bystander could not log in: {answer['text']}")
    times: list[float] = []
    sent: dict[str, float] = {}

    async def hear() -> None:
        while line := await bob.reader.readline():
            message = json.loads(line) if line.startswith(b"{") else {}
            if message.get("text") in sent:
                times.append(1000 * (time.monotonic() - sent.pop(message["text"])))

    hearing = asyncio.ensure_future(hear())
    answers = asyncio.ensure_future(ana.drain())
    end = time.monotonic() + SECONDS
    number = 0
    while time.monotonic() < end:
        number += 1
        text = f"bystander {number} {time.monotonic()}"
        sent[text] = time.monotonic()
        ana.post(cmd="say", room="yard", text=text)
        await asyncio.sleep(1 / RATE)
    await asyncio.sleep(1)
    for task in (hearing, answers):
        task.cancel()
    for client in (ana, bob):
        client.writer.transport.abort()
    return times + [1000 * SECONDS] * len(sent)


async def prepare(server: Address) -> list[Client]:
    """The bystanders' room, and people, most of whom stay online to hear the attackers."""
    for name in ("ana", "bob"):
        client = await Client.connect(server, BYSTANDERS)
        await client.ask(cmd="register", name=name, password=PASSWORD)
        await client.ask(cmd="create" if name == "ana" else "join", room="yard")
        client.writer.transport.abort()
    people = await asyncio.gather(*[person(server, number, "register") for number in range(PEOPLE)])
    for client in people[:10]:
        client.writer.transport.abort()
    for number, client in enumerate(people[10:20]):
        for turn in range(50):
            client.post(cmd="say", room="general", text=f"{number} {turn} " + "lorem ipsum p1x " * 20)
    return people[10:]


def _in_the_background(server: Address, ready: Any) -> None:
    async def stay() -> None:
        people = await prepare(server)
        ready.put(True)
        await asyncio.gather(*[client.drain() for client in people])

    asyncio.run(stay())


@contextmanager
def _database(kind: str, folder: str) -> Iterator[str]:
    """The URL of a new database."""
    if kind == "sqlite":
        yield f"sqlite:///{Path(folder) / 'chatserver.db'}"
    else:
        with PostgresServer() as postgres:
            yield postgres.create_migrated()


def _window(chat: ChatServer, attack: str = "") -> tuple[list[float], str]:
    """The bystanders' times in the next seconds, and what the attack found."""
    if not attack:
        return asyncio.run(bystand(chat.address)), ""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    attacker = context.Process(target=_attack, args=(attack, chat.address, results), daemon=True)
    attacker.start()
    time.sleep(1)
    times = asyncio.run(bystand(chat.address))
    found = results.get(timeout=60)
    attacker.join(10)
    return times, found


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.strangers", description=__doc__)
    parser.add_argument("--attacks", default=",".join(ATTACKS), help="those to run (default: all)")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--limits", choices=["default", "off"], default="default", help="off shows what they are for")
    options = parser.parse_args()
    raise_file_limit()
    rows = []
    context = multiprocessing.get_context("spawn")
    with (
        exclusive(),
        tempfile.TemporaryDirectory(prefix="chatserver-bench-") as folder,
        _database(options.database, folder) as url,
        ChatServer(url, limits=options.limits) as chat,
    ):
        ready: Any = context.Queue()
        audience = context.Process(target=_in_the_background, args=(chat.address, ready), daemon=True)
        audience.start()
        ready.get(timeout=120)
        time.sleep(12)  # what they have said is stored, and their buckets are full again
        for name in options.attacks.split(","):
            before, _ = _window(chat)
            memory, used, began = resident_kib(chat.pid), process_seconds(chat.pid), time.monotonic()
            times, found = _window(chat, name)
            busy = (process_seconds(chat.pid) - used) / (time.monotonic() - began)
            grown = (resident_kib(chat.pid) - memory) / 1024
            after, _ = _window(chat)
            row = [name]
            for each in (before, times, after):
                row += [f"{statistics.median(each):.1f}", f"{_p95(each):.1f}"]
            row += [f"{_p95(times) / _p95(before):.1f}", f"{busy:.0%}", f"{grown:+.0f}", found]
            print(*row, sep="\t", file=sys.stderr, flush=True)
            rows.append(row)
        audience.kill()
    heads = ["attack", "p50 before", "p95", "p50 during, ms", "p95", "p50 after", "p95", "ratio", "CPU", "MiB"]
    print(table([*heads, "what came of it"], rows))


if __name__ == "__main__":
    main()
