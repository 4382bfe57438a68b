"""Erasing a large account in a running server."""

from sqlalchemy import func, select

from chatserver.store import erasure
from chatserver.store.db.engine import open_engine, parse_url
from chatserver.store.db.schema import EntryRow
from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.client import JsonClient
from tests.support.process import migrate, wait_until

TEXTS = 3 * erasure.STEP_TEXTS


def test_what_is_left_after_the_answer(database_url: str, server: StartServer, connect: Connect) -> None:
    """The account is gone when its owner is answered; the rest of what it said follows in the background, also after a
    crash."""
    migrate(database_url)
    chat = server(database_url, config=QUICK + "[limits]\nstrikes = 0\n")
    ana, bob = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bob.register("bob")
    for n in range(TEXTS):
        ana.post("say", room="general", text=f"secret {n}")
    ana.ok("ping")
    engine = open_engine(parse_url(database_url))

    def left() -> int:
        with engine.begin() as db:
            return db.scalar(select(func.count()).where(EntryRow.text.like("secret%"))) or 0

    wait_until(lambda: left() == TEXTS, what="everything is stored")
    ana.ok("forget", password="s3cret-words", messages="erase")
    chat.kill()
    assert 0 < left() < TEXTS
    chat.start()
    wait_until(lambda: left() == 0, 30, "the texts are gone")
    with JsonClient(chat.address) as bob:
        bob.login("bob")
        entries = bob.ok("history", room="general", limit=500)["entries"]
    assert {entry["from"] for entry in entries if entry["event"] == "message"} == {"erased-1"}
    engine.dispose()
