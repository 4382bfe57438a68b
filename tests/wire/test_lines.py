"""Bytes to lines."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatserver.wire.framing.lines import END, Lines, TooLong, Undecodable
from chatserver.wire.framing.telnet import MAX_SUBNEGOTIATION

MAX_LINE, MAX_UNENDED = 12, 40
TOO_LONG = TooLong(MAX_LINE)

Heard = list[bytes | TooLong | str]


def plain(heard: Heard) -> Heard:
    """Without what is kept of lines that are too long."""
    return [TOO_LONG if isinstance(one, TooLong) else one for one in heard]


def drained(lines: Lines) -> Heard:
    heard: Heard = []
    try:
        while (line := lines.next()) is not None:
            heard.append(line)
    except Undecodable as error:
        heard.append(error.text)
    return heard


def heard_of(*chunks: bytes) -> Heard:
    lines = Lines(MAX_LINE, MAX_UNENDED)
    for chunk in chunks:
        lines.feed(chunk)
    return plain(drained(lines))


@pytest.mark.parametrize(
    ("data", "heard"),
    [
        (b"", []),
        (b"a", []),
        (b"\n", [b""]),
        (b"a\nb\nc", [b"a", b"b"]),
        (b"a\r\nb\r\0c\n", [b"a", b"b", b"c"]),
        (b"a\rb\n", [b"a\rb"]),  # not a line end but a control character, which is refused later
        (b"a\r\r\n", [b"a\r"]),
        (b"a\0b\n", [b"a\0b"]),
        (b"\xe2\x80\xa8\x0b\x0c\x1c\xc2\x85\n", [b"\xe2\x80\xa8\x0b\x0c\x1c\xc2\x85"]),
        (b"12345678901\n1234567890\r\n", [b"12345678901", b"1234567890"]),
        (b"123456789012\nb\n", [TOO_LONG, b"b"]),
        (b"12345678901\r\nb\n", [TOO_LONG, b"b"]),
        (b"x" * 39 + b"\nb\n", [TOO_LONG, b"b"]),
    ],
)
def test_ends_and_limits(data: bytes, heard: Heard) -> None:
    """Only LF, CRLF and CR NUL end a line, and a line with its end has at most `max_line` bytes."""
    assert heard_of(data) == heard


@pytest.mark.parametrize(
    ("data", "heard"),
    [
        (b"\xff\xf1a\xff\xf6b\n", [b"ab"]),
        (b"a\xff\xffb\n", [b"a\xffb"]),
        (b"a\xff\xfa\x1fx\ny\xff\xff\xf0z\xff\xf0b\n", [b"ab"]),
        (b"a\r\xff\xf1\0b\n", [b"a", b"b"]),
        (b"\xff\xfa" + b"x" * MAX_SUBNEGOTIATION + b"\xff\xf0a\n", [b"a"]),
        (b"ab\xff\xf7c\xff\xf8d\xff\xf4e\n", [b"ab\x7fc\x15d\x03e"]),
        (b"a\xff\xf3b\xff\xf5c\xff\xf9d\n", [b"abcd"]),
        (b"x\xff\xff\n\xffhello\n", [b"x\xff", b"hello"]),  # the DM between them came as urgent data
    ],
)
def test_telnet(data: bytes, heard: Heard) -> None:
    """Telnet commands are not part of a line, but for those that edit it: they become the keys that do so."""
    assert heard_of(data) == heard


@pytest.mark.parametrize(
    "bad",
    [b"x" * 40, b"x" * 40 + b"\n", b"b\xff\xfa" + b"x" * (MAX_SUBNEGOTIATION + 1), b"\xff\xfa" + b"\xff\xff" * 600],
)
def test_trouble_is_final(bad: bytes) -> None:
    """A broken stream gives the lines before the break, and then always the same reason."""
    lines = Lines(MAX_LINE, MAX_UNENDED)
    lines.feed(b"a\r\n" + bad)
    lines.feed(b"c\n")
    first, *reasons = drained(lines) + drained(lines)
    assert first == b"a"
    assert len(reasons) == 2
    assert len(set(reasons)) == 1
    assert isinstance(reasons[0], str)
    assert lines.finish() is None
    assert lines.pending == 0


@pytest.mark.parametrize(
    ("data", "heard", "ended"),
    [
        (b"a\n\x04b\n", [b"a"], True),
        (b"\x04", [], True),
        (b"a\nbc\x03\x04d\n", [b"a"], True),
        (b"a\nbc\x15\x04", [b"a"], True),
        (b"a\nbc\xff\xec\xff\xf1d\n", [b"a"], True),
        (b"a\x04b\n", [b"a\x04b"], False),
        (b"x" * 20 + b"\x04\nb\n", [TOO_LONG, b"b"], False),
    ],
)
@pytest.mark.parametrize("size", [1, 100])
def test_the_end_that_is_typed(data: bytes, heard: Heard, ended: bool, size: int) -> None:
    """A Ctrl-D at the beginning of a line, and telnet's EOF anywhere, end the input; what follows is no line, and the
    line that was begun is dropped. To programs it is a byte like any other."""
    lines = Lines(MAX_LINE, MAX_UNENDED)
    lines.typed = True
    for at in range(0, len(data), size):
        lines.feed(data[at : at + size])
    assert (plain(drained(lines)), lines.ended) == (heard, ended)
    assert not (ended and lines.finish())
    program = Lines(MAX_LINE, MAX_UNENDED)
    program.feed(data)
    assert not program.ended


PIECES = st.sampled_from([
    b"a", b"bc" * 3, b"x" * 11, b"x" * 30, b"\n", b"\r\n", b"\r\0", b"\r", b"\0", b"\xff", b"\xfa", b"\xf0",
    b"\xfd\x01", b"\xfb\n", b"\xff\xfd\x03", b"\xff\xfa", b"\xff\xf0", b"\xff\xff", b"y" * (MAX_SUBNEGOTIATION // 3),
    b"\x04", b"\x15", b"\xff\xec", b"\xff\xf4\xff\xfd\x06", b"\xff\xfb\0", b"\xff\xfc\0", b"\xff\xfd\0", b"\r\0\r\n\r",
    b"\xff\xfa\x1f\0\x64\0\x18\xff\xf0",
    "é\u2028".encode(),
])  # fmt: skip


@given(st.lists(PIECES, max_size=30).map(b"".join), st.lists(st.integers(1, 50), max_size=20))
@example(b"\r\0" * 4, [1] * 8)
@example(b"\xff\xfb\0a\r\xff\xfc\0\n", [1] * 12)
@example(b"x" * 39 + b"\x15\x04", [38, 1, 1, 1])
@example(b"x" * 100, [39])
@example(b"x" * 39 + b"\n" + b"x" * 39 + b"\n", [40])
def test_any_split_is_the_same(data: bytes, sizes: list[int]) -> None:
    """However the bytes are split, and whenever lines are taken, the lines, the errors and the replies are the same."""
    whole = Lines(MAX_LINE, MAX_UNENDED)
    whole.typed = True
    whole.feed(data)
    expected = drained(whole)

    cut = Lines(MAX_LINE, MAX_UNENDED)
    cut.typed = True
    heard: Heard = []
    replies = b""
    rest = data
    for size in sizes:
        cut.feed(rest[:size])
        rest = rest[size:]
        replies += cut.replies()
        if size % 2:
            heard += drained(cut)
        if heard and isinstance(heard[-1], str):
            break
    cut.feed(rest)
    heard += drained(cut) if not (heard and isinstance(heard[-1], str)) else []

    assert heard == expected
    assert cut.pending == whole.pending
    assert cut.ended == whole.ended or isinstance(expected[-1], str)
    if not whole.ended and not (expected and isinstance(expected[-1], str)):  # one that is broken gets no replies
        assert replies + cut.replies() == whole.replies()
        assert cut.finish() == whole.finish()


@given(st.lists(st.sampled_from([b"a" * 5, b"\n", b"x" * 13, b"y" * END]), max_size=20))
def test_pending_counts_what_is_held(pieces: list[bytes]) -> None:
    """`pending` is what was fed, less what was taken and what was cut from lines over the limit."""
    lines, most = Lines(MAX_LINE, 100_000), MAX_LINE + END
    for piece in pieces:
        lines.feed(piece)
    data = b"".join(pieces)
    *whole, rest = data.split(b"\n")
    assert lines.pending == sum(min(len(line), most) + 1 for line in whole) + min(len(rest), most)
    assert lines.start() == b"".join([line[:16] + b"\n" for line in whole] + [rest])[:16] or any(
        len(line) > MAX_LINE for line in [*whole, rest]
    )
    drained(lines)
    assert lines.pending == min(len(rest), most)


@pytest.mark.parametrize(
    ("data", "last"),
    [(b"a\nbye", b"bye"), (b"a\nbye\r", b"bye"), (b"a\n", None), (b"a\n\r", None), (b"a\n" + b"x" * 12, TOO_LONG)],
)
def test_finish(data: bytes, last: bytes | TooLong | None) -> None:
    """At the end of input the last line needs no newline, and is given once."""
    lines = Lines(MAX_LINE, MAX_UNENDED)
    lines.feed(data)
    drained(lines)
    found = lines.finish()
    assert (TOO_LONG if isinstance(found, TooLong) else found, lines.finish(), lines.pending) == (last, None, 0)


def test_start_is_seen_before_a_line_is() -> None:
    """A client can be recognized by its first bytes before its first line is complete, telnet commands aside."""
    lines = Lines()
    lines.feed(b"\xff\xfd\x01SS")
    lines.feed(b"H-2.0-" + b"x" * 30)
    assert lines.start() == b"SSH-2.0-xxxxxxxx"
    assert lines.next() is None


def test_no_limit_of_a_line_leaves_the_other() -> None:
    """With a `max_line` of 0 only the limit on bytes without a newline remains."""
    lines = Lines(max_line=0, max_unended=100)
    lines.feed(b"x" * 99 + b"\n" + b"y" * 100)
    assert lines.next() == b"x" * 99
    with pytest.raises(Undecodable):
        lines.next()
