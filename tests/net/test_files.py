"""The files of the page, as answers made from a folder."""

import gzip
from pathlib import Path

import pytest

from chatserver.net.doors.files import Page, pages
from chatserver.wire.framing.http import Request


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "index.html": '<script src="/a/HASH/app.js"></script>' * 20,
        "sw.js": "/a/HASH/",
        "app.js": "start();" * 50,
        "core/a.mjs": "a",
        "LICENSE": "not served",
        ".hidden.js": "not served",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def get(page: Page, method: str = "GET", **headers: str) -> tuple[str, bytes]:
    """The head and the body of the answer."""
    request = Request(method, "/", {name.replace("_", "-"): [value] for name, value in headers.items()}, True, b"")
    head, _, body = page.answer(request, last=False).partition(b"\r\n\r\n")
    return head.decode(), body


def test_addresses(folder: Path) -> None:
    """Files at the root know the folder of all others, whose name changes with every byte of any of them."""
    found = pages.__wrapped__(folder)
    (script,) = [path for path in found if path.endswith("/app.js")]
    prefix = script.removesuffix("app.js")
    assert set(found) == {"/", "/sw.js", f"{prefix}app.js", f"{prefix}core/a.mjs"}
    assert f'src="{script}"'.encode() in get(found["/"])[1]
    assert "immutable" in get(found[script])[0]
    assert "no-cache" in get(found["/"])[0]
    for path in found:
        head = get(found[path])[0]
        assert "X-Content-Type-Options: nosniff" in head
        assert ("Content-Security-Policy" in head) == (path in ("/", "/sw.js")), path
    (folder / "core/a.mjs").write_text("b")
    assert script not in pages.__wrapped__(folder)


def test_encodings(folder: Path) -> None:
    """Whoever takes gzip is sent it where it is smaller; HEAD is answered without the body."""
    found = pages.__wrapped__(folder)
    plain, packed = get(found["/"]), get(found["/"], accept_encoding="deflate, gzip;q=0.5")
    assert gzip.decompress(packed[1]) == plain[1]
    assert "Content-Encoding: gzip" in packed[0]
    assert get(found["/"], accept_encoding="gzip;q=0")[1] == plain[1]
    assert get(found["/sw.js"], accept_encoding="gzip")[1] == get(found["/sw.js"])[1]
    assert get(found["/"], "HEAD") == (plain[0], b"")


def test_not_modified(folder: Path) -> None:
    """A browser that has the file already is sent its head only, whichever encoding it has."""
    page = pages.__wrapped__(folder)["/"]
    for known in (f'"{page.tag}"', f'W/"{page.tag}-gzip"', f'"x", "{page.tag}"', "*"):
        head, body = get(page, if_none_match=known)
        assert head.startswith("HTTP/1.1 304 ")
        assert "Content-" not in head.replace("Content-Security", "").replace("X-Content-Type", "")
        assert body == b""
    assert get(page, if_none_match='"x"')[0].startswith("HTTP/1.1 200 ")
