"""`chatctl user erase` and `export` of accounts that have said a lot."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from chatserver.chatctl import leaving
from chatserver.store import erasure, messages
from chatserver.store.db.engine import open_ready, parse_url
from chatserver.store.db.schema import EntryRow
from chatserver.store.messages import Draft
from tests.chatctl.conftest import Chatctl
from tests.store.conftest import AT

TEXTS = 20


@contextmanager
def opened(chatctl: Chatctl) -> Iterator[Engine]:
    engine = open_ready(parse_url(chatctl.database))
    yield engine
    engine.dispose()


def left(chatctl: Chatctl) -> int:
    """How many texts of ana's, the first account, there are."""
    with opened(chatctl) as engine, engine.begin() as db:
        return db.scalar(select(func.count()).where(EntryRow.author_id == 1, EntryRow.text != "")) or 0


@pytest.fixture
def talkative(chatctl: Chatctl, monkeypatch: pytest.MonkeyPatch) -> Chatctl:
    """Ana has said so much that erasing it takes several steps."""
    monkeypatch.setattr(erasure, "STEP_TEXTS", 3)
    chatctl.add("ana", "bob")
    with opened(chatctl) as engine:
        auto = engine.execution_options(isolation_level="AUTOCOMMIT") if engine.dialect.name == "postgresql" else engine
        with auto.begin() as db:
            messages.append(db, [Draft(1, 1, f"secret {n}", None) for n in range(TEXTS)], AT)
    return chatctl


def test_pauses(talkative: Chatctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a pause after each step, in which others have their turn."""
    seen: list[int] = []

    def pause(seconds: float) -> None:
        assert seconds == erasure.PAUSE_SECONDS
        seen.append(left(talkative))
        with opened(talkative) as engine, engine.begin() as db:
            db.exec_driver_sql("UPDATE room SET topic = 'someone else was here'")

    monkeypatch.setattr(leaving, "sleep", pause)
    talkative("user", "erase", "ana", "--messages", "erase", "--yes")
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) >= TEXTS // 3
    assert left(talkative) == 0


def test_interrupted(talkative: Chatctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the command is interrupted, the account cannot be used any more, and the same command goes on."""
    words = ("user", "erase", "ana", "--messages", "erase", "--yes")

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(leaving, "sleep", interrupt)
        assert talkative.run(*words).exit_code != 0
    assert 0 < left(talkative) <= TEXTS
    assert "There is no user" in talkative.fails("user", "password", "ana", "--password-stdin", typed="s3cret-words")
    assert talkative.json(*words)["erased"] is True
    assert left(talkative) == 0
    assert "There is no user" in talkative.fails(*words)


def test_exporting_to_a_file(talkative: Chatctl, tmp_path: Path) -> None:
    """With --output an export goes to a new file, which only its owner can read."""
    file = tmp_path / "ana.jsonl"
    assert talkative("user", "export", "ana", "--output", str(file)) == ""
    assert file.read_text(encoding="utf-8") == talkative("user", "export", "ana")
    assert file.stat().st_mode & 0o777 == 0o600
    assert "Name a new file" in talkative.run("user", "export", "ana", "--output", str(file)).stderr
