"""`chatctl room export` and `import`: a room goes to another server, or back, and nothing of its log is lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from chatserver.chatctl import transfer as command
from chatserver.store import messages, search
from chatserver.store.copies import transfer
from chatserver.store.db.engine import open_ready, parse_url
from chatserver.store.messages import Draft
from chatserver.store.wanted import Wanted, exactly, terms
from chatserver.values.events import Person
from tests.chatctl.conftest import Chatctl
from tests.support.contents import AT, HOSTILE, fill
from tests.support.process import migrate

On = Callable[[str], Chatctl]


@pytest.fixture
def engine(chatctl: Chatctl) -> Any:
    engine = open_ready(parse_url(chatctl.database))
    yield engine
    engine.dispose()


@pytest.fixture
def filled(chatctl: Chatctl, engine: Engine) -> Chatctl:
    """A server with rooms that have entries of every kind. Texts that no server stores are left out."""
    with engine.begin() as db:
        fill(db)
        for number, words in enumerate(HOSTILE):
            kept = "".join(c for c in words if c >= " " and not "\x7f" <= c < "\xa0")
            db.execute(text("UPDATE entry SET text = :kept WHERE text = :words AND client_id = :id"),
                       {"kept": kept or "-", "words": words, "id": f"id-{number}"})  # fmt: skip
        db.exec_driver_sql("UPDATE entry SET text = 'because' WHERE kind = 'kicked'")
        db.exec_driver_sql("UPDATE room SET topic = 'a topic' WHERE id = 3")
        db.exec_driver_sql("UPDATE entry SET text = 'a topic' WHERE kind = 'created' AND room_id = 3")
    return chatctl


@pytest.fixture
def other(tmp_path: Path, on: On) -> Chatctl:
    """Another server, on SQLite, with nobody on it."""
    url = f"sqlite:///{tmp_path / 'other.db'}"
    migrate(url)
    return on(url)


def export(chatctl: Chatctl, file: Path, *which: str) -> list[Any]:
    file.unlink(missing_ok=True)
    chatctl("room", "export", *which, "--output", str(file))
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def like(lines: list[Any]) -> list[Any]:
    """The lines without what an import changes: the room's id, and the names of guests and erased accounts."""
    head, *entries = lines
    room = {name: value for name, value in head["room"].items() if name not in ("id", "members")}
    return [room, head["members"], *(
        {name: "?" if str(value).startswith(("~", "erased-")) else value for name, value in one.items()}
        for one in entries
    )]  # fmt: skip


def wrong(chatctl: Chatctl) -> list[str]:
    found = chatctl.run("verify", "--json")
    return [item["text"] for item in json.loads(found.stdout)["items"] if not item["ok"]]


@pytest.mark.parametrize("room", ["general", "books", "empty"])
def test_there_and_back(filled: Chatctl, other: Chatctl, tmp_path: Path, room: str) -> None:
    """An export, its import on another server, and an export of that are equal but for the room's id."""
    file, again = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    lines = export(filled, file, room)
    said = other.json("room", "import", str(file))
    assert (said["room"], said["entries"]) == (room, len(lines) - 1)
    assert like(export(other, again, room)) == like(lines)
    assert wrong(other) == []


def test_every_kind(filled: Chatctl, other: Chatctl, tmp_path: Path, engine: Engine) -> None:
    """Entries of every kind survive."""
    kinds = (
        ("topic", "a topic", None), ("created", "", None), ("deleted", "", None), ("set", "past=open,pace=30", None),
        ("kicked", "why", 2), ("banned", "", 2), ("unbanned", "", 2), ("muted", "2030-01-01T00:00:00.000Z", 2),
        ("muted", "", 2), ("unmuted", "", 2), ("role", "moderator", 2), ("joined", "", None), ("left", "", None),
    )  # fmt: skip
    with engine.begin() as db:
        for seq, (kind, words, target) in enumerate(kinds, 1):
            db.execute(
                text(
                    "INSERT INTO entry (room_id, seq, kind, author_id, text, target_id, at) "
                    "VALUES (2, :seq, :kind, :author, :words, :target, '2026-03-02 10:02:00.123000')"
                ),
                {"seq": seq, "kind": kind, "author": seq % 3 or None, "words": words, "target": target},
            )
        db.execute(text("UPDATE room SET last_seq = :seq, last_at = '2026-03-02 10:02:00.123000' WHERE id = 2"),
                   {"seq": len(kinds)})  # fmt: skip
    lines = export(filled, tmp_path / "a.jsonl", "empty")
    other.json("room", "import", str(tmp_path / "a.jsonl"))
    assert like(export(other, tmp_path / "b.jsonl", "empty")) == like(lines)
    other_engine = open_ready(parse_url(other.database))
    with other_engine.begin() as db:
        stored = db.exec_driver_sql("SELECT kind, text FROM entry ORDER BY seq").all()
    other_engine.dispose()
    assert [tuple(row) for row in stored] == [(kind, words) for kind, words, _ in kinds]


def test_answers(
    filled: Chatctl, other: Chatctl, tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replies answer what they did, and messages have the reactions and pins that follow from the log, in however many
    steps it is read; what the file says of sums is not needed."""
    monkeypatch.setattr(transfer, "STEP", 2)
    lines = export(filled, tmp_path / "a.jsonl", "--id", "6")
    assert [line for line in lines if "reactions" in line or "re" in line] != []
    for line in lines:
        line.pop("reactions", None)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    other.json("room", "import", str(tmp_path / "a.jsonl"), "--name", "old-words")
    query = "SELECT seq, kind, text, target_seq, reactions, pinned FROM entry WHERE room_id = {} ORDER BY seq"
    other_engine = open_ready(parse_url(other.database))
    found = []
    for one, room_id in ((engine, 6), (other_engine, 1)):
        with one.begin() as db:
            rows = db.exec_driver_sql(query.format(room_id)).all()
            found.append([(*row[:5], bool(row[5])) for row in rows])
    other_engine.dispose()
    assert found[0] == found[1]
    assert [row[0] for row in found[1] if row[4]] == [2]
    assert [row[0] for row in found[1] if row[5]] == [3]
    assert wrong(other) == []


def test_in_use(filled: Chatctl, other: Chatctl, tmp_path: Path) -> None:
    """In the new room words are found, numbers go on, a retry is free, and members and their roles are as they were."""
    export(filled, tmp_path / "a.jsonl", "general")
    other.add("ana")
    other.json("room", "delete", "general", "--yes") if other.json("room", "list") else None
    said = other.json("room", "import", str(tmp_path / "a.jsonl"))
    members = {one["name"]: one["role"] for one in other.json("room", "show", "general")["members"]}
    assert members["ana"] == "member"
    people = {one["name"]: one for one in other.json("user", "list", "--all")}
    assert people["Bob_1"]["disabled"]
    assert not people["ana"].get("disabled")
    other("user", "password", "Bob_1", "--password-stdin", typed="s3cret-words\n")
    other("user", "disable", "Bob_1", "--off")
    assert "disabled" not in other.json("user", "show", "Bob_1")
    engine = open_ready(parse_url(other.database))
    with engine.begin() as db:
        ana = people["ana"]["id"]
        found, _ = search.search(db, Person(ana, "ana"), None, Wanted(terms("two other words", prefix=False)), None, 10)
        assert [entry.seq for _, entry in found] == [15]
        assert search.search(db, Person(ana, "ana"), None, exactly("secret"), None, 10) == ([], None)
        last = said["entries"]
        known = db.execute(text("SELECT text FROM entry WHERE client_id = 'id-4'")).scalar_one()
        again, new = messages.append(
            db, [Draft(said["id"], ana, known, "id-4"), Draft(said["id"], ana, "new", None)], AT
        )
        assert (again.outcome, new.outcome, new.seq) == ("dup", "stored", last + 1)
    engine.dispose()


def test_on_the_same_server(filled: Chatctl, tmp_path: Path) -> None:
    """Under another name it can be imported beside the original; ids of messages stay with that."""
    lines = export(filled, tmp_path / "a.jsonl", "general")
    assert "--name" in filled.fails("room", "import", str(tmp_path / "a.jsonl"))
    said = filled.json("room", "import", str(tmp_path / "a.jsonl"), "--name", "Copy", "--without-members")
    assert said["room"] == "copy"
    assert said["accounts_created"] == 0
    copied = export(filled, tmp_path / "b.jsonl", "copy")
    assert copied[0]["members"] == []
    assert [{**one, "room": "general"} for one in copied[1:]] == [
        {name: value for name, value in one.items() if name != "id"} for one in lines[1:]
    ]


def test_a_direct_room(filled: Chatctl, other: Chatctl, tmp_path: Path) -> None:
    """A direct room becomes a private one, which needs a name."""
    export(filled, tmp_path / "a.jsonl", "--id", "6")
    assert "--name" in other.fails("room", "import", str(tmp_path / "a.jsonl"))
    other.json("room", "import", str(tmp_path / "a.jsonl"), "--name", "two")
    shown = other.json("room", "show", "two")
    assert (shown["kind"], shown["entries"], len(shown["members"])) == ("private", 11, 2)
    assert wrong(other) == []


def test_a_wrong_line(filled: Chatctl, other: Chatctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is wrong is named with its number, and nothing of the file is imported, not even an account."""
    monkeypatch.setattr(transfer, "STEP", 3)
    file = tmp_path / "a.jsonl"
    export(filled, file, "general")
    lines = [f"{line}\n" for line in file.read_text(encoding="utf-8").split("\n")[:-1]]
    one = json.loads(lines[11])
    before = other.json("room", "list", "--deleted")
    for number, replaced, why in (
        (1, "{}\n", "no export of a room"),
        (1, "\x1f\x8b\n", "no export of a room"),
        (12, "nonsense\n", "no entry"),
        (12, "\n", "its number is 12, but 11 comes next"),
        (12, json.dumps({**one, "seq": 90}) + "\n", "its number is 90, but 11 comes next"),
        (12, json.dumps({**one, "seq": "x"}) + "\n", "no entry"),
        (12, json.dumps({**one, "at": "yesterday"}) + "\n", "is no time"),
        (12, json.dumps({**one, "at": "2020-03-02T10:02:00.123Z"}) + "\n", "its time is before"),
        (12, json.dumps({**one, "event": "what"}) + "\n", "no entries of the kind what"),
        (12, json.dumps({**one, "from": "no such name"}) + "\n", "the name of an account"),
        (12, json.dumps({**one, "from": "x" * 60}) + "\n", "cannot be used"),
        (12, json.dumps({**one, "text": "a\x00b"}) + "\n", "U+0000"),
        (12, json.dumps({**one, "id": "x" * 65}) + "\n", "the id is too long"),
        (len(lines), "", "the file ends after"),
    ):
        file.write_text("".join([*lines[: number - 1], replaced, *lines[number:]]), encoding="utf-8")
        said = other.fails("room", "import", str(file))
        streamed = other.fails("room", "import", "-", typed=file.read_text(encoding="utf-8"))
        assert streamed == said.replace(str(file), "standard input")
        assert why in said
        named = number + 1 if replaced == "\n" else number - 1 if replaced == "" else number
        assert said.startswith(f"Line {named} of {file}: ")
        assert said.endswith("Nothing was imported.")
        assert other.json("room", "list") == []
        assert other.json("room", "list", "--deleted") == before
        assert other.json("user", "list", "--all") == []
    file.write_text("".join(lines), encoding="utf-8")
    assert other.fails("room", "import", str(file), "--authors", "refuse").startswith(
        f"Line 2 of {file}: there is no user ana"
    )
    assert "cannot be read" in other.fails("room", "import", str(tmp_path / "none"))


def test_interrupted(filled: Chatctl, other: Chatctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sees the room before it is complete, and an interrupted import leaves nothing."""
    monkeypatch.setattr(transfer, "STEP", 3)
    export(filled, tmp_path / "a.jsonl", "general")
    seen: list[Any] = []

    def pause(_seconds: float) -> None:
        if len(seen) < 3:
            seen.append(other.json("room", "list"))
        if len(seen) == 3:
            seen.append(None)
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "sleep", pause)
    assert other.run("room", "import", str(tmp_path / "a.jsonl")).exit_code == 1
    assert seen == [[], [], [], None]
    assert other.json("room", "list", "--deleted") == []
    assert wrong(other) == []


def test_streams(filled: Chatctl, other: Chatctl) -> None:
    """The export of one command is the input of the other."""
    said = other.json("room", "import", "-", typed=filled("room", "export", "books"))
    assert (said["room"], said["entries"]) == ("books", 5)
