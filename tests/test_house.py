"""The tree reads like a table of contents, the architecture page describes this tree, and docstrings say it plainly."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ROOT / "chatserver"
PAGE = ROOT / "docs" / "architecture.md"
PAGES_WITH_PATHS = [
    PAGE,
    *sorted((ROOT / "docs" / "design").glob("*.md")),
    ROOT / "docs" / "performance.md",
    ROOT / "CONTRIBUTING.md",
]

_PATH = re.compile(r"`((?:[a-z_][\w-]*/)+(?:[\w-]+\.\w+)?|[a-z_]+\.py)`")


def modules(folder: Path = HOUSE) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_the_drawing_of_the_layers() -> None:
    """It has the layers of the contract that import-linter checks, in its order."""
    drawn = PAGE.read_text(encoding="utf-8").split("```\n")[1].splitlines()
    rows = [line[:32].split() for line in drawn]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    assert rows == [layer.split(" | ") for layer in layers]


def test_a_line_for_each_package() -> None:
    """The architecture page says of each package what the first line of its docstring says."""
    table = PAGE.read_text(encoding="utf-8").split("| package | |\n| --- | --- |\n")[1].split("\n\n")[0]
    said = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, flags=re.MULTILINE))
    docs = {path.parent.name: ast.get_docstring(tree_of(path)) for path in HOUSE.glob("*/__init__.py")}
    assert said == {name: (doc or "").splitlines()[0] for name, doc in docs.items()}


@pytest.mark.parametrize("page", PAGES_WITH_PATHS, ids=lambda page: page.name)
def test_paths(page: Path) -> None:
    """Every file and folder that a page names exists. NAME and NNNN stand for any word."""
    places = (ROOT, HOUSE)
    named = [path for path in _PATH.findall(page.read_text(encoding="utf-8")) if not re.search("NAME|NNNN", path)]
    assert [path for path in named if not any((place / path).exists() for place in places)] == []
