"""How far a message walks: through how many files and packages, from its bytes to the answer that it is stored."""

import json
from pathlib import Path

from tests.conftest import Connect, StartServer
from tests.support.client import JsonClient

FILES = 34
PACKAGES = 12
WALKS = 8
"""Timers may tick during some of them: the shortest counts."""


def test_a_message(server: StartServer, connect: Connect, postgres_url: str, tmp_path: Path) -> None:
    """A message from one program to another passes through few files and packages."""
    (tmp_path / "sitecustomize.py").write_text(
        (Path(__file__).parent / "support" / "walked.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    walks = tmp_path / "walks"
    chat = server(database=postgres_url, limits="default", env={"PYTHONPATH": str(tmp_path), "WALKS": str(walks)})
    ana, bob = connect(chat, JsonClient), connect(chat, JsonClient)
    ana.register("ana")
    bob.register("bob")
    for number in range(WALKS):
        tag = f"walk-{number}"
        ana.send_object({"cmd": "say", "room": "general", "text": f"text {number}", "tag": tag})
        ana.answer(tag)
        bob.hears(f"text {number}")
    found = [set(json.loads(line)) for line in walks.read_text(encoding="utf-8").splitlines()]
    assert len(found) == WALKS
    files = min(found, key=len)
    packages = {name.partition("/")[0] for name in files}
    assert len(files) <= FILES, f"{len(files)} files: {sorted(files)}"
    assert len(packages) <= PACKAGES, f"{len(packages)} packages: {sorted(packages)}"
