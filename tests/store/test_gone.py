"""Erased is gone: from SQLite's file, its write-ahead log and its index of words."""

import random
import string
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection

from chatserver.store import accounts, erasure, messages, rooms, search, tokens
from chatserver.store import words as index
from chatserver.store.db.database_file import empty_log, is_log_empty
from chatserver.store.db.engine import open_ready, parse_url
from chatserver.store.messages import Draft
from chatserver.store.sessions import Opened, record
from chatserver.store.visibility import find_room
from chatserver.store.wanted import exactly
from chatserver.values.events import Person, RoomFacts
from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.store.conftest import AT, Tables
from tests.support.client import JsonClient
from tests.support.process import wait_until

MESSAGES = 600


def word(numbers: random.Random) -> str:
    return "".join(numbers.choices(string.ascii_lowercase, k=16))


def on_disk(database: Path) -> list[Path]:
    """The file of a database and those beside it, but not the control socket of a server."""
    return [path for path in database.parent.glob(f"{database.name}*") if path.is_file()]


class Files:
    """An open SQLite database, and what can be read in its files."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.path = Path(str(tables.engine.url.database))
        tables(search.tune)

    def contents(self) -> bytes:
        return b"".join(path.read_bytes() for path in on_disk(self.path))

    def found(self, words: list[str]) -> int:
        """How many of these words, or their ends (the index shares beginnings), are still there."""
        assert empty_log(self.tables.engine)
        assert is_log_empty(self.tables.engine)
        contents = self.contents()
        return sum(one[6:].encode() in contents for one in words)


@pytest.fixture
def files(sqlite_url: str) -> Iterator[Files]:
    engine = open_ready(parse_url(sqlite_url))
    with ThreadPoolExecutor(1) as threads:
        yield Files(Tables(engine, threads))
    engine.dispose()


def say(files: Files, room: RoomFacts, who: Person, count: int = MESSAGES) -> dict[int, list[str]]:
    """Says so many messages, each of words that nobody else says. Returns the words by seq."""
    numbers = random.Random(who.id)
    said: dict[int, list[str]] = {}
    for _ in range(count // 20):
        texts = [[word(numbers) for _ in range(8)] for _ in range(20)]
        verdicts = files.tables.append(*(Draft(room.id, who.id, " ".join(text), None) for text in texts))
        said |= {verdict.seq: text for verdict, text in zip(verdicts, texts, strict=True)}
        while files.tables(index.step, "", None).behind:
            pass
    return said


def test_messages(files: Files) -> None:
    """Words of erased messages and replaced texts are gone once the log is emptied; others stay, and can be found."""
    tables = files.tables
    ana = tables.person("ana")
    books = tables.room("books", ana)
    said = say(files, books, ana)
    empty_log(tables.engine)
    erased, replaced = list(said)[::3], list(said)[1::3]

    def change(db: Connection) -> None:
        access = find_room(db, ana, "books", lock=True)
        for seq in erased:
            messages.erase(db, ana, access, seq, AT)
        for seq in replaced:
            messages.edit(db, ana, access, seq, "better", AT)

    tables(change)
    gone = [one for seq in (*erased, *replaced) for one in said[seq]]
    kept = [one for seq in list(said)[2::3] for one in said[seq]]
    assert files.found(gone) == 0
    assert files.found(kept) == len(kept)
    access = tables.find(ana, "books")
    assert len(tables(search.search, ana, access, exactly(kept[0]), None, 5)[0]) == 1
    assert tables(search.search, ana, access, exactly(gone[0]), None, 5)[0] == []


def test_accounts(files: Files) -> None:
    """Messages, password, tokens and addresses of an erased account are gone; its name only stays reserved."""
    tables = files.tables
    ana, bob = tables.person("AnaOfTheTest"), tables.person("bob")
    tables(accounts.set_password, ana.id, "the-hash-of-a-password")
    tables(tokens.create, ana.id, "label-of-a-token", "5" * 64, AT)
    tables(record, [Opened("s1", ana.id, "main", "192.0.2.77", AT)])
    books = tables.room("books", ana, bob)
    mine, others = say(files, books, ana), say(files, books, bob)
    secrets = [b"AnaOfTheTest", b"the-hash-of-a-password", b"label-of-a-token", b"5" * 64, b"192.0.2.77"]
    empty_log(tables.engine)
    assert all(secret in files.contents() for secret in secrets)
    tables(rooms.leave_all, ana, AT)
    tables(erasure.erase, ana, AT, messages=True)
    while (found := tables(erasure.places, ana.id)) is not None:
        for places in erasure.steps(found):
            tables(erasure.step, ana.id, places, AT)
    assert files.found([one for text in mine.values() for one in text]) == 0
    assert [secret for secret in secrets if secret in files.contents()] == []
    kept = [one for text in others.values() for one in text]
    assert files.found(kept) == len(kept)


def test_an_old_sqlite(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before version 3.42 the index of words keeps erased ones; merging it step by step drops them."""
    monkeypatch.setattr(search, "SECURE_DELETE", (99,))
    monkeypatch.setattr(search, "MERGE_PAGES", 5)
    engine = open_ready(parse_url(sqlite_url))
    with ThreadPoolExecutor(1) as threads:
        files = Files(Tables(engine, threads))
        tables = files.tables
        ana = tables.person("ana")
        said = say(files, tables.room("books", ana), ana)
        _, mark = tables(search.anything_erased, search.MergeMark())
        assert tables(search.anything_erased, mark) == (False, mark)
        erased = list(said)[::2]
        for seq in erased:
            tables(lambda db, s=seq: messages.erase(db, ana, find_room(db, ana, "books", lock=True), s, AT))  # type: ignore[misc]
        assert tables(search.anything_erased, mark)[0]
        gone = [one for seq in erased for one in said[seq]]
        assert files.found(gone) > 0
        steps = 1
        while tables(search.merge_index, first=steps == 1):
            steps += 1
        assert files.found(gone) == 0
        kept = [one for seq in list(said)[1::2] for one in said[seq]]
        assert files.found(kept) == len(kept)
        assert steps > 2
    engine.dispose()


def test_a_reader_in_the_way(files: Files) -> None:
    """The log is not emptied while a long read needs it, writers do not wait for that, and it is emptied afterwards."""
    tables = files.tables
    ana = tables.person("ana")
    books = tables.room("books", ana)
    with tables.engine.execution_options(read_only=True).begin() as reading:
        reading.exec_driver_sql("SELECT count(*) FROM entry").scalar()
        tables.say(books, ana, "hello")
        assert not empty_log(tables.engine)
        assert tables.say(books, ana, "again").outcome == "stored"
    assert empty_log(tables.engine)


@pytest.mark.slow
def test_a_running_server(server: StartServer, connect: Connect) -> None:
    """A minute after a client has erased a message, its words are in none of the files."""
    chat = server(config=QUICK)
    ana = connect(chat, JsonClient)
    ana.register("ana")
    seq = ana.say("general", "gorgonzola")["seq"]
    ana.say("general", "mozzarella")
    ana.ok("erase", room="general", seq=seq)
    path = Path(str(parse_url(chat.database).database))

    def gone() -> bool:
        return not any(b"gorgonzola" in one.read_bytes() for one in on_disk(path))

    assert not gone()
    wait_until(gone, 60, "the word is gone")
    assert b"mozzarella" in path.read_bytes()
