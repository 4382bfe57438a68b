"""What people type where no terminal edits it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatserver.values.errors import Refused
from chatserver.wire.framing.line_editing import typed_line
from chatserver.wire.framing.lines import Undecodable


def read(line: str) -> str:
    return typed_line(line.encode())[0]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("hellp\x7fo", "hello"),
        ("hellp\x08o", "hello"),
        ("\x7f\x7fa", "a"),
        ("a日本\x7f", "a日"),
        ("cafe\u0301\x7fé", "café"),
        ("ok 👍🏽\x7f!", "ok !"),
        ("ok ❤\ufe0f\x7f!", "ok !"),
        ("👩\u200d💻\x7fa", "👩a"),
        ("one two  \x17three", "one three"),
        ("one two\x1b\x7fthree", "one three"),
        ("wrong\x15right", "right"),
        ("wrong\x03right", "right"),
        ("a\tb", "a b"),
        ("a\x0cb\x01\x05\x0b\x12\x1a", "ab"),
        ("\x1b[200~pasted text\x1b[201~", "pasted text"),
        ("\x1b[Aa\x1b[1;5Db\x1bOHc\x1b[3~d\x1b[[Ae\x1b[<0;12;3Mf", "abcdef"),
        ("\x1b]11;rgb:0000/1111/2222\x1b\\\x1b]0;title\x07hi\x1bP1$r0m\x1b\\!", "hi!"),
        ("a\x1bb", "a"),
        ("a\x1b\x1b[Cb\x1b", "ab"),
        ("\x1b]2 without an end", "2 without an end"),
        ("\x1b[12", "12"),
        ("\x15\x7f\x17\x1b[A", ""),
    ],
)
def test_editing(typed: str, meant: str) -> None:
    """Keys do what they do at a shell's prompt with the cursor at the end, or nothing; no key is text."""
    assert read(typed) == meant


@pytest.mark.parametrize(
    "before", ["\x1b", "\x1b[", "\x1b[1;", "\x1bO", "\x1b\x1b", "\x1b]", "\x1bP", "\x1b[A", "\x1b]1"]
)
def test_a_slash_is_never_taken_out(before: str) -> None:
    """A line that shows its slash on the screen stays a command, and is not said to everybody without it."""
    assert read(f"{before}/msg bob psst").lstrip("1;") == "/msg bob psst"


@pytest.mark.parametrize(("raw", "reported"), [(b"hello", False), (b"a\tb", False), (b"\x03", False), (b"a\x7f", True)])
def test_what_is_reported(raw: bytes, reported: bool) -> None:
    """Whether keys were pressed that edit elsewhere. Ctrl-C, which telnet has a command for, is none of them."""
    assert typed_line(raw)[1] is reported


@pytest.mark.parametrize(
    "raw", ["é".encode()[:1], b"a\xe2\x82b", b"\xf0\x9f\x91 x", b"\xe0\xa0", b"\xed\x9f-", b"\xf4"]
)
def test_torn_characters(raw: bytes) -> None:
    """A character of which the end is missing spoils its line only: some terminals' backspace removes one byte. If it
    is erased, there is nothing wrong."""
    with pytest.raises(Refused, match="BROKEN_LETTER"):
        typed_line(raw)
    assert typed_line(raw + b"\x15ok")[0] == "ok"
    assert typed_line(b"o\xc3\x7fk")[0] == "ok"


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (b"a\x80\x15", "0x80 at position 2"),
        (b"\xc3\xff", "0xFF at position 2"),
        (b"\xc0\xaf", "0xC0 at position 1"),
        (b"\xed\xa0\x80", "0xA0 at position 2"),
        (b"a\0\x15", "0x00"),
        (b"\x1b[Aa\rb", "0x0D"),
        (b"\xc2\x9b31m", "0x9B"),
        (b"\xc2\x9b31m\x15", "0x9B"),
    ],
)
def test_senseless_bytes(raw: bytes, named: str) -> None:
    """A byte that no key sends ends the connection with its name, even if it was erased."""
    with pytest.raises(Undecodable, match=named):
        typed_line(raw)


KEYS = st.sampled_from(
    ["\x1b", "[", "]", "0;", "O", "A", "~", "/", "P", "\\", "\x07", "\x7f", "\x17", "\x15", "\x03", "é",
     "e\u0301", "👩", "\u200d", " ", "\t", "x", "\x08", "$", "1"]
)  # fmt: skip


@given(st.lists(KEYS, max_size=40).map("".join))
@example("\x1b]0;" * 3)
def test_no_key_is_left(typed: str) -> None:
    """Whatever is pressed, what is left can be shown, and reading it again changes nothing."""
    kept = read(typed)
    assert kept.isprintable() or "\u200d" in kept
    assert read(kept) == kept


@given(st.binary(max_size=30))
def test_any_bytes(raw: bytes) -> None:
    """Any bytes are a line, a broken letter, or senseless; and a line that is plain UTF-8 without keys is itself."""
    try:
        text, _ = typed_line(raw)
    except (Refused, Undecodable):
        return
    assert text == text.encode().decode()
    if raw.isascii() and raw.decode().isprintable():
        assert text == raw.decode()


def test_long_lines_take_no_time() -> None:
    """However long a line is, and whatever it is made of, reading it takes linear time: else this would take hours."""
    for piece in ("\x1b]0;", "\x1b[1", "\x1bP", "a\x7f", "a \x17", "\udcc3", "e\u0301\x7f", "\x1b"):
        raw = (piece * 100_000).encode(errors="surrogateescape")
        try:
            typed_line(raw)
        except Refused:
            pass
