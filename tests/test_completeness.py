"""A new command or kind of entry has to be added in several places: these tests name those that are missing.

CONTRIBUTING.md has the lists of files.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import get_args

import pytest

from chatserver.handlers import READS, WRITES
from chatserver.handlers.immediate import IMMEDIATE
from chatserver.handlers.rights import RIGHTS
from chatserver.values import commands as c
from chatserver.values.errors import Rejected
from chatserver.values.events import MESSAGE, MUTED, EntryKind
from chatserver.values.stages import LEGAL, Stage
from chatserver.wire.framing.lines import Undecodable
from chatserver.wire.jsonl import JSONL
from chatserver.wire.jsonl.entries import FIELDS
from chatserver.wire.jsonl.parse import CHECKS
from chatserver.wire.text import TEXT
from chatserver.wire.text.shown.entries import ABOUT, TOLD
from chatserver.wire.text.shown.help import PAGES
from chatserver.wire.text.typed.parse import BUILDERS, GREETINGS
from tests.support.transcript import files

ROOT = Path(__file__).resolve().parents[1]
SLOW = {c.Password, c.Token, c.Sessions, c.Forget, c.Rename, c.Logout}
"""They check a password's hash, and are served by methods of the handshake."""
OPEN_TO_ALL = {c.Create, c.Join, c.Leave}
"""They change a room but need no right in it: visibility decides."""


@lru_cache
def said() -> dict[str, frozenset[type[c.Command]]]:
    """For each dialect, the commands that clients send in the transcripts."""
    found: dict[str, set[type[c.Command]]] = {"jsonl": set(), "text": set()}
    for path in files():
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("C"):
                continue
            typed = line.partition(": ")[2]
            for dialect, stage in ((JSONL, Stage.IN), (TEXT, Stage.GREETING), (TEXT, Stage.IN)):
                try:
                    parsed = dialect.parse(typed, stage)
                except Undecodable:
                    continue
                if parsed is not None and not isinstance(parsed, Rejected):
                    found[dialect.name].add(type(parsed))
    return {name: frozenset(kinds) for name, kinds in found.items()}


def documented() -> str:
    return (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")


def names(kind: type[c.Command]) -> str:
    return str(kind.__struct_config__.tag)


def served(kind: type[c.Command]) -> bool:
    at_once = kind in {c.Ping, c.Help, c.Server, c.Away, c.Quit, *c.FOR_PROGRAMS}
    return [kind in WRITES, kind in READS, at_once and kind in IMMEDIATE, kind in SLOW].count(True) == 1


@pytest.mark.parametrize("kind", c.COMMANDS, ids=names)
def test_a_command_is_complete(kind: type[c.Command]) -> None:
    """Each command has a handler, a check, a typed form, a right, transcripts and a row in the documentation; if one is
    missing, the failure names it."""
    before_login = kind in LEGAL[Stage.GREETING] and kind not in LEGAL[Stage.IN]
    has_room = "room" in kind.__struct_fields__
    wanted = {
        "handlers/: a function, in exactly one of WRITES, READS, IMMEDIATE": before_login or served(kind),
        "values/stages.py: LEGAL": before_login or kind in LEGAL[Stage.IN],
        "wire/jsonl/parse.py: CHECKS": kind in CHECKS,
        "handlers/rights.py: RIGHTS": kind not in WRITES
        or not has_room
        or kind in OPEN_TO_ALL
        or names(kind) in RIGHTS,
        "tests/transcripts/: as a program sends it": kind in said()["jsonl"],
        "wire/text/typed/ and tests/transcripts/: as a person types it": kind in c.FOR_PROGRAMS
        or kind in said()["text"],
        "docs/protocol.md: its row": f"| `{names(kind)}` |" in documented(),
    }
    assert [what for what, there in wanted.items() if not there] == []


def test_every_typed_command_has_a_help_page() -> None:
    """Every typed command has a help page, and nothing else has one."""
    assert set(PAGES) == set(BUILDERS) | set(GREETINGS)


@pytest.mark.parametrize("kind", get_args(EntryKind))
def test_a_kind_of_entry_is_complete(kind: EntryKind) -> None:
    """Each kind of entry is rendered in both dialects, and has a transcript and a row in the documentation."""
    shown = any(f'{{"event":{json.dumps(kind)},' in path.read_text(encoding="utf-8") for path in files())
    wanted = {
        "wire/jsonl/entries.py: FIELDS": kind in FIELDS or kind == MESSAGE,
        "wire/text/shown/entries.py: TOLD or ABOUT": kind in TOLD or kind in ABOUT or kind in (MESSAGE, MUTED),
        "tests/transcripts/: as a program is told": shown,
        "docs/protocol.md: its row": f"| `{kind}` |" in documented(),
    }
    assert [what for what, there in wanted.items() if not there] == []
