"""The files of the page: small, our own or vendored as they say, and without what its security policy forbids."""

import re
from hashlib import sha256
from pathlib import Path

import pytest

from chatserver.net.doors.files import pages

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "chatserver" / "web"
VENDORED = [WEB / "vendor", Path(__file__).parent / "vendor"]
SOURCES = sorted(path for path in WEB.rglob("*") if path.suffix in {".js", ".html", ".css"})
LEAN = [path for path in SOURCES if path.suffix != ".html" and path.name != "sw.js" and path.parent.name != "vendor"]
BUDGET = 86_000
"""Number of bytes of all files but pictures and the declarations in core/types.js, which no browser fetches."""
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|localStorage|dangerouslySetInnerHTML"
    r"|\bon\w+=\"|\bstyle=\"|\bsrcdoc\b|https?://(?!www\.w3\.org/2000/svg)[\w-]+\.\w"
)


@pytest.mark.parametrize("folder", VENDORED, ids=lambda folder: folder.parent.name)
def test_vendored(folder: Path) -> None:
    """Every vendored file is the one whose version, licence and hash are written down, with its licence beside it."""
    lines = (folder / "VERSIONS").read_text(encoding="utf-8").splitlines()[1:]
    written = {name: digest for name, _, _, _, digest, *_ in (line.split(" ", 5) for line in lines)}
    files = [path for path in folder.iterdir() if path.suffix in {".js", ".mjs"}]
    assert {path.name: sha256(path.read_bytes()).hexdigest() for path in files} == written
    packages = {line.split(" ")[1] for line in lines}
    assert packages == {path.suffix[1:] for path in folder.glob("LICENSE.*")}


def test_budget() -> None:
    """All files of the page together have at most 86 KB when compressed."""
    served = {name: page for name, page in pages().items() if not name.endswith((".png", "/core/types.js"))}
    sizes = {name: len((page.packed or page.plain).body) for name, page in served.items()}
    assert sum(sizes.values()) <= BUDGET, sorted(sizes.items(), key=lambda size: -size[1])


@pytest.mark.parametrize("path", LEAN, ids=lambda path: str(path.relative_to(WEB)))
def test_what_is_left_out(path: Path) -> None:
    """Of our own sources the server leaves out lines of comments, blank lines and indentation, and nothing else."""
    [served] = [page.plain.body for name, page in pages().items() if name.endswith(f"/{path.relative_to(WEB)}")]
    left = iter(served.decode().splitlines())
    line = next(left, None)
    for source in filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines())):
        if line is not None and source == line.rstrip():
            line = next(left, None)
        else:
            assert source.startswith(("//", "/*", "*")), source
    assert line is None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(WEB)))
def test_nothing_forbidden(path: Path) -> None:
    """No source makes markup from text, runs text as code, keeps secrets in storage, or names a host."""
    code = re.sub(r"^\s*(//|\*|/\*).*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert [line for line in code.splitlines() if FORBIDDEN.search(line)] == []


def test_preloads() -> None:
    """The page names all of its modules, so that the browser need not find them one after the other."""
    page = (WEB / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r'href="/a/HASH/([^"]+\.m?js)"', page))
    modules = {str(path.relative_to(WEB)) for path in WEB.rglob("*") if path.suffix in {".js", ".mjs"}}
    assert named == modules - {"app.js", "sw.js", "core/types.js"}
