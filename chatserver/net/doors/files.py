"""The files of the page as whole answers, made once: while the server runs, no file is read."""

import gzip
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Final

from msgspec import Struct

from chatserver.wire.framing.http import Content, Request, items, response

FOLDER: Final = Path(__file__).parents[2] / "web"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
"""The types of what is served. Other files of the folder are for people who read the sources."""
LEAN: Final = {".css", ".js"}
PARTS: Final = {".css", ".js", ".mjs"}
"""What a browser loads for a page only. It shows other files by themselves, too."""
AT_THE_ROOT: Final = {"index.html": "/", "sw.js": "/sw.js", "manifest.webmanifest": "/manifest.webmanifest"}
"""Files with an address of their own, and this address. Browsers ask each time whether they have changed."""
HASH_CHARACTERS: Final = 10
PLACEHOLDER: Final = b"/a/HASH/"
"""Stands for the folder of all other files, in the files at the root."""
FOREVER: Final = "Cache-Control: public, max-age=31536000, immutable"
ANEW: Final = "Cache-Control: no-cache"


class Page(Struct, frozen=True):
    """One path. `tag`: its ETag; "" if its address changes whenever its bytes do."""

    plain: Content
    packed: Content | None
    tag: str = ""

    def answer(self, request: Request, *, last: bool, strict: bool = False) -> bytes:
        """The response to a GET or HEAD request. `last`, `strict`: see `response`."""
        content = self.packed if self.packed is not None and _takes_gzip(request.headers) else self.plain
        if self.tag and self._is_known(request.headers):
            kept = tuple(one for one in content.headers if not one.startswith("Content-"))
            return response(HTTPStatus.NOT_MODIFIED, Content(kept), last=last, strict=strict)
        return response(HTTPStatus.OK, content, bare=request.method == "HEAD", last=last, strict=strict)

    def _is_known(self, headers: Mapping[str, list[str]]) -> bool:
        """Whether the client has it already, in whatever encoding."""
        known = {one.removeprefix("w/").strip('"') for one in items(headers, "if-none-match")}
        return bool(known & {"*", self.tag, f"{self.tag}-gzip"})


@lru_cache(maxsize=1)
def pages(folder: Path = FOLDER) -> Mapping[str, Page]:
    """The page of each path. Reads all files and packs them, which takes a moment: call it first before the reactor
    runs."""
    files = {path.relative_to(folder).as_posix(): _lean(path) for path in _served(folder)}
    prefix = f"/a/{_hashed(files)}/"
    found: dict[str, Page] = {}
    for name, data in files.items():
        if name in AT_THE_ROOT:
            data = data.replace(PLACEHOLDER, prefix.encode())
            found[AT_THE_ROOT[name]] = _page(name, data, ANEW, sha256(data).hexdigest()[:HASH_CHARACTERS])
        else:
            found[prefix + name] = _page(name, data, FOREVER)
    return found


def _served(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in TYPES and path.is_file() and not hidden:
            yield path


def _lean(path: Path) -> bytes:
    """What a browser needs of a file: our own sources without the lines of comments, blank lines and indentation, which
    are a sixth of what it would load."""
    data = path.read_bytes()
    if path.suffix not in LEAN or path.parent.name == "vendor":
        return data
    return _MARGIN.sub(b"", _COMMENT.sub(b"", data))


_COMMENT: Final = re.compile(rb"^[ \t]*(?://[^\n]*|/\*(?:[^*]|\*(?!/))*\*/)[ \t]*\n", re.MULTILINE)
_MARGIN: Final = re.compile(rb"^\s+", re.MULTILINE)


def _hashed(files: Mapping[str, bytes]) -> str:
    """Says of all files whether one of them has changed: modules refer to each other by relative addresses."""
    all = sha256()
    for name, data in files.items():
        all.update(f"{name}\0{len(data)}\0".encode() + data)
    return all.hexdigest()[:HASH_CHARACTERS]


def _page(name: str, data: bytes, caching: str, tag: str = "") -> Page:
    described = (f"Content-Type: {TYPES[Path(name).suffix]}", caching, "Vary: Accept-Encoding")
    packed = gzip.compress(data, mtime=0)
    part = not tag and Path(name).suffix in PARTS
    plain = Content((*described, *_tagged(tag)), data, part)
    if len(packed) >= len(data):
        return Page(plain, None, tag)
    zipped = Content((*described, "Content-Encoding: gzip", *_tagged(tag and f"{tag}-gzip")), packed, part)
    return Page(plain, zipped, tag)


def _tagged(tag: str) -> tuple[str, ...]:
    return (f'ETag: "{tag}"',) if tag else ()


def _takes_gzip(headers: Mapping[str, list[str]]) -> bool:
    for item in items(headers, "accept-encoding"):
        coding, _, quality = item.partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
