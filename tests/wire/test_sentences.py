"""Every sentence that people read stands in one table, and everything that says one fills all of its gaps."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

import chatserver
from chatserver.values.errors import Note, Sentence, Why
from chatserver.wire.dialect import Dialect
from chatserver.wire.jsonl import JSONL
from chatserver.wire.sentences import SENTENCES
from chatserver.wire.text import TEXT
from chatserver.wire.text.shown import render

ROOT = Path(chatserver.__file__).parent
SAYS = {"Refused", "Guessed", "Sentence", "Unavailable"}
"""What is called with a key and its fields."""
ADDS = {"slow_down": {"time", "place"}}
"""What is called with a key, and adds these fields itself."""


def gaps(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


def keys(node: ast.expr) -> list[Why | Note] | None:
    """The keys that an expression names; None if it is no such expression."""
    match node:
        case ast.Attribute(ast.Name("Why" | "Note" as kind), name):
            return [(Why if kind == "Why" else Note)[name]]
        case ast.IfExp(_, body, orelse):
            found = [keys(body), keys(orelse)]
            return None if None in found else [key for each in found for key in each or ()]
    return None


def said() -> Iterator[tuple[str, Why | Note, set[str]]]:
    """All keys in the source: where each is, and the fields given with it, but `retry`."""
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text())
        calls: dict[int, set[str]] = {}
        for node in ast.walk(tree):
            match node:
                case ast.Call(ast.Name(name), [first, *_], keywords) if name in SAYS:
                    given = {str(keyword.arg) for keyword in keywords} - {"retry"}
                    calls |= {id(part): given for part in ast.walk(first) if isinstance(part, ast.Attribute)}
                case ast.Call(ast.Name(name), [first, *_]) if name in ADDS:
                    calls[id(first)] = ADDS[name]
                case ast.Compare() | ast.Dict() | ast.MatchValue():  # it is only looked at
                    for part in ast.walk(node):
                        if isinstance(part, ast.Attribute):
                            calls.setdefault(id(part), {"*"})
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and (found := keys(node)):
                given = calls.get(id(node), set())
                if given != {"*"}:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", found[0], given


def test_each_dialect_has_every_sentence() -> None:
    assert set(SENTENCES) == set(render.SENTENCES) == {*Why, *Note}
    for key, template in SENTENCES.items():
        assert gaps(render.SENTENCES[key]) == gaps(template)


def test_everything_said_has_its_fields() -> None:
    """A key without a call has no fields: it is a part of a sentence, or somebody's reason to refuse."""
    wrong = [
        f"{where}: {key} has {sorted(gaps(SENTENCES[key]))}, not {sorted(given)}"
        for where, key, given in said()
        if given != gaps(SENTENCES[key])
    ]
    assert not wrong, "\n".join(wrong)


def test_every_sentence_is_said_somewhere() -> None:
    source = "".join(path.read_text() for path in ROOT.rglob("*.py") if path.name != "sentences.py")
    assert not [key for key in (*Why, *Note) if str(key) not in source]


PACKAGES = ("delivery", "handlers", "login", "net", "pipeline", "presence", "session", "store", "sync", "values")
FOR_OPERATORS = {
    "net/doors/session_requests.py",
    "net/doors/visit.py",
    "net/listening",
    "store/copies",
    "store/db",
    "store/nodes",
    "store/reach.py",
}
"""Their sentences are in the log, what `chatctl` prints, or short pages of the door for browsers."""


def literals(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The sentences in the source, but for docstrings, logged ones, and those of exceptions for programmers."""
    left_out: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Expr(ast.Constant() as docstring):
                left_out.add(id(docstring))
            case (
                ast.Call(ast.Attribute(_, "debug" | "info" | "warn" | "error" | "failure"))
                | ast.Assert()
                | ast.Raise(
                    ast.Call(
                        ast.Name("CannotStart" | "ConfigProblem" | "DatabaseProblem" | "RuntimeError" | "ValueError")
                    )
                )
            ):
                left_out |= {id(part) for part in ast.walk(node)}
            case ast.Constant(str(text)) if id(node) not in left_out and re.search(r"\w \w.*\w[.?!:]\s*$", text):
                yield node.lineno, text


def test_sentences_stand_in_the_table_only() -> None:
    found = [
        f"{name}:{line}: {text}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if not any((name := str(path.relative_to(ROOT))).startswith(allowed) for allowed in FOR_OPERATORS)
        for line, text in literals(ast.parse(path.read_text()))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("dialect", [TEXT, JSONL])
def test_fields_are_data(dialect: Dialect) -> None:
    """Nothing in a field is taken for a gap or for the name of a command."""
    name = "{name} the command help {0} {name:because}"
    refused = Sentence(Why.NO_SUCH_USER, name=name)
    assert dialect.text(refused) == f"There is no account named {name}. Check the spelling."


def test_each_dialect_names_commands_in_its_own_way() -> None:
    refused = Sentence(Why.NO_SUCH_ROOM, name="den")
    assert TEXT.text(refused) == "There is no room den. For a list, use /rooms."
    assert JSONL.text(refused) == "There is no room den. For a list, use the command rooms."
