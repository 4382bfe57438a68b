"""The tree reads like a table of contents, the architecture page describes this tree, and docstrings say it plainly."""

import ast
import re
import tomllib
from collections.abc import Iterator
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

FOLDER_FILES = 20
FOLDER_LINES = 3_000
ALPHABETICAL = {HOUSE / "store", HOUSE / "chatctl"}
SMALL_FILES = 12
SMALL_LINES = 40
PARAMETERS = 7
CALLABLES = 20

ODD = re.compile(r"(So (many|often|long|much)|Of|Likewise|Whoever|Whom|The same)\b")
MEASURE = re.compile(
    r"(Maximum|Minimum|Default|Number of|How (long|many|much|often|far)|Interval between|Size of|Length of|Width of"
    r"|Share of|Cost of|Factor|Multiple of|Version of|Permissions|Exit status|Revision|First key of|Key of)\b"
)

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


def constructors(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """For each class with a constructor: its name, its parameters besides self, and how many of these are callables."""
    for kind in ast.walk(tree):
        if isinstance(kind, ast.ClassDef):
            for inner in kind.body:
                if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
                    taken = [*inner.args.posonlyargs, *inner.args.args, *inner.args.kwonlyargs][1:]
                    types = [ast.unparse(one.annotation) for one in taken if one.annotation is not None]
                    yield kind.name, len(taken), sum("Callable" in one for one in types)


def test_folders_are_small() -> None:
    """A folder has few modules and lines, but for the alphabetical lists of nouns; four modules stand at the top."""
    assert {path.name for path in HOUSE.glob("*.py")} == {"__init__.py", "tap.py", "wiring.py", "service.py"}
    crowded = {}
    for folder in {path.parent for path in modules()} - {HOUSE, *ALPHABETICAL}:
        here = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in here)
        if len(here) > FOLDER_FILES or lines > FOLDER_LINES:
            crowded[str(folder.relative_to(ROOT))] = len(here), lines
    assert crowded == {}


def test_few_files_are_small() -> None:
    """A file holds one idea whole."""
    small = [
        str(path.relative_to(HOUSE))
        for path in modules()
        if path.name != "__init__.py" and len(path.read_text(encoding="utf-8").splitlines()) < SMALL_LINES
    ]
    assert len(small) < SMALL_FILES, small


def test_parts_are_passed_by_name() -> None:
    """Constructors have few parameters, and few of them are callables, behind which nobody sees who is called."""
    found = [(path.name, *one) for path in modules() for one in constructors(tree_of(path))]
    assert [one for one in found if one[2] > PARAMETERS] == []
    assert sum(one[3] for one in found) <= CALLABLES, [one for one in found if one[3]]


def docstrings(tree: ast.Module) -> Iterator[tuple[str, str, ast.expr | None]]:
    """Every string that stands by itself, after the name and the value of the assignment above it, if there is one."""
    for node in ast.walk(tree):
        above: ast.stmt | None = None
        for statement in getattr(node, "body", []) if not isinstance(node, ast.Lambda | ast.IfExp) else []:
            match statement:
                case ast.Expr(value=ast.Constant(value=str() as text)):
                    target = above.targets[0] if isinstance(above, ast.Assign) else getattr(above, "target", None)
                    yield getattr(target, "id", ""), text, getattr(above, "value", None)
            above = statement


def test_no_sentence_begins_oddly() -> None:
    """In docstrings, no sentence begins with a word that has to be read twice."""
    odd = [
        f"{path.relative_to(ROOT)}: {sentence}"
        for path in modules()
        for _, text, _ in docstrings(tree_of(path))
        for sentence in re.split(r"(?<=[.:])\s+", text.strip())
        if ODD.match(sentence)
    ]
    assert odd == []


def test_docstrings_of_numbers() -> None:
    """The docstring of a number begins with what the number is: `Maximum number of`, `How long`, `Interval between`."""
    wrong = [
        f"{path.relative_to(ROOT)}: {name}: {text}"
        for path in modules()
        for name, text, value in docstrings(tree_of(path))
        if name.isupper() and is_number(value) and not MEASURE.match(text)
    ]
    assert wrong == []


def is_number(value: ast.expr | None) -> bool:
    """Whether a constant is a number, or numbers that are multiplied, added or shifted."""
    if isinstance(value, ast.BinOp):
        return is_number(value.left) or is_number(value.right)
    return isinstance(value, ast.Constant) and type(value.value) in (int, float)
