"""Many clients at a real server at once, with four write lanes."""

import random
from threading import Thread

from sqlalchemy import func, select

from chatserver.store.db.engine import open_engine, parse_url
from chatserver.store.db.schema import EntryRow
from tests.conftest import Connect, StartServer
from tests.handlers.whole import check_whole
from tests.support.client import JsonClient, Message

CONFIG = """
[server]
default_rooms = []
[passwords]
memory_kib = 8
time_cost = 1
[limits]
strikes = 0
[pipeline]
write_lanes = 4
"""
NAMES = ("ana", "bob", "cai", "dan")
ROOMS = ("hall", "den")
WORDS = (
    "create", "join", "join", "join", "invite", "invite", "say", "say", "say", "say", "tell", "tell", "read", "leave",
    "kick", "ban", "unban", "unban", "role", "block", "unblock", "delete",
)  # fmt: skip
COMMANDS = 150
IN_FLIGHT = 8


def something(chance: random.Random, me: str) -> tuple[str, Message]:
    """A random command of those that conflict with each other."""
    room, other = chance.choice(ROOMS), chance.choice([name for name in NAMES if name != me])
    word = chance.choice(WORDS)
    match word:
        case "create":
            return word, {"room": room, "visibility": "private" if room == "den" else "public"}
        case "say":
            return word, {"room": room, "text": "hello"}
        case "tell":
            return "say", {"room": f"@{other}", "text": "hello"}
        case "read":
            return word, {"room": room, "seq": chance.randrange(50)}
        case "role":
            return word, {"room": room, "name": other, "role": chance.choice(("owner", "moderator"))}
        case "invite" | "kick" | "ban" | "unban":
            return word, {"room": room, "name": other}
        case "block" | "unblock":
            return word, {"name": other}
    return word, {"room": room}


def act(client: JsonClient, name: str, seed: int, answers: list[tuple[str, Message]]) -> None:
    chance = random.Random(seed)
    flying: list[tuple[int, str]] = []
    for _ in range(COMMANDS):
        word, fields = something(chance, name)
        flying.append((client.post(word, **fields), word))
        if len(flying) == IN_FLIGHT:
            tag, word = flying.pop(0)
            answers.append((word, client.answer(tag)))
    answers += [(word, client.answer(tag)) for tag, word in flying]


def test_a_storm(postgres_url: str, server: StartServer, connect: Connect) -> None:
    """Every command is answered, none is refused because of concurrent ones, and the members, roles and authors of
    every room agree with its log."""
    one = server(postgres_url, config=CONFIG)
    clients = {name: connect(one, JsonClient, timeout=60.0) for name in NAMES}
    answers: dict[str, list[tuple[str, Message]]] = {name: [] for name in NAMES}
    for name, client in clients.items():
        client.register(name)
    threads = [
        Thread(target=act, args=(client, name, seed, answers[name]), daemon=True)
        for seed, (name, client) in enumerate(clients.items())
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    every = [answer for told in answers.values() for answer in told]
    assert len(every) == len(NAMES) * COMMANDS
    assert [answer for _, answer in every if answer.get("error") in ("unavailable", "slow-down")] == []
    assert {word for word, answer in every if answer["ok"]} >= {"create", "join", "leave", "say", "ban", "delete"}
    engine = open_engine(parse_url(postgres_url))
    with engine.connect() as db:
        check_whole(db)
        said = db.scalar(select(func.count()).select_from(EntryRow).where(EntryRow.kind == "message"))
    engine.dispose()
    assert said == len([word for word, answer in every if word == "say" and answer["ok"]])
