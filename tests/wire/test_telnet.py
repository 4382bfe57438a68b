"""Telnet's options, without sockets. What its commands do to lines: see `test_lines.py`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.wire.framing.lines import Lines
from chatserver.wire.framing.telnet import (
    BINARY,
    DO,
    DONT,
    ECHO,
    IAC,
    NAWS,
    SGA,
    TIMING_MARK,
    WILL,
    WONT,
    Option,
    State,
    Telnet,
)

TERMINAL_TYPE, LINEMODE = 24, 34


def said(verb: int, code: int) -> bytes:
    return bytes((IAC, verb, code))


def answer(telnet: Telnet, *data: bytes) -> bytes:
    for piece in data:
        assert telnet.filter(piece) == b""
    return telnet.replies()


def window(columns: int, rows: int = 24) -> bytes:
    size = (columns.to_bytes(2) + rows.to_bytes(2)).replace(b"\xff", b"\xff\xff")
    return bytes((IAC, 250, NAWS)) + size + bytes((IAC, 240))


@pytest.mark.parametrize(
    ("heard", "reply"),
    [
        (said(WILL, NAWS), said(DO, NAWS)),
        (said(WILL, BINARY), said(DO, BINARY)),
        (said(DO, BINARY), said(WILL, BINARY)),
        (said(WILL, SGA), said(DO, SGA)),
        (said(DO, SGA), said(WONT, SGA)),
        (said(DO, ECHO), said(WONT, ECHO)),
        (said(WILL, ECHO), said(DONT, ECHO)),
        (said(WILL, TERMINAL_TYPE), said(DONT, TERMINAL_TYPE)),
        (said(WILL, LINEMODE), said(DONT, LINEMODE)),
        (said(DO, 10) + said(DO, 13), said(WONT, 10) + said(WONT, 13)),
        (said(DO, 255), said(WONT, 255)),
        (said(WONT, ECHO) + said(DONT, SGA) + said(DONT, LINEMODE), b""),
        (said(WILL, NAWS) * 2 + said(WONT, NAWS) * 2, said(DO, NAWS) + said(DONT, NAWS)),
    ],
)
def test_what_a_client_asks_for(heard: bytes, reply: bytes) -> None:
    """Four options are agreed to, all others refused, and what is so already gets no answer."""
    telnet = Telnet()
    assert telnet.replies() == b""
    assert (answer(telnet, heard), telnet.replies()) == (reply, b"")


def test_every_timing_mark_is_answered() -> None:
    """RFC 860: a client shows nothing until its mark is answered, so each one is. After an interrupt, which leaves the
    screen in the middle of a line, a new line begins."""
    telnet = Telnet()
    mark, reply = said(DO, TIMING_MARK), said(WILL, TIMING_MARK)
    assert answer(telnet, mark, mark) == reply * 2
    for _ in range(2):
        assert telnet.filter(b"\xff\xf4") == b"\x03"
        assert answer(telnet, mark, mark) == reply + b"\r\n" + reply


def test_what_the_server_asks_for() -> None:
    """It asks for the window's size and for binary, once, and not for what the client has said already. It offers
    nothing: with SGA, clients stop editing lines, and with BINARY they show the Enter without its carriage return."""
    telnet = Telnet()
    telnet.begin()
    telnet.begin()
    assert telnet.replies() == said(DO, NAWS) + said(DO, BINARY)
    assert answer(telnet, said(WILL, NAWS), said(WONT, BINARY), said(WONT, NAWS)) == said(DONT, NAWS)
    telnet = Telnet()
    answer(telnet, said(WILL, NAWS))
    telnet.begin()
    assert telnet.replies() == said(DO, BINARY)


def test_suppress_go_ahead() -> None:
    """Clients that edit lines ask for it when they connect: they are better off without. Who asks again, gets it."""
    telnet = Telnet()
    assert answer(telnet, said(DO, SGA)) == said(WONT, SGA)
    assert (telnet.sends_keys, telnet.line_end()) == (False, b"")
    assert answer(telnet, said(DO, SGA)) == said(WILL, SGA)
    assert (telnet.sends_keys, telnet.line_end()) == (True, b"\r\n")


def test_secrets_are_not_echoed() -> None:
    """While a secret is typed the server says that it echoes, and does not, but for the Enter, which the client does
    not show; nor does it until it has learnt that this is over."""
    telnet = Telnet()
    telnet.conceal(True)
    assert (telnet.replies(), telnet.line_end()) == (b"", b"")  # it does not speak telnet
    telnet.begin()
    telnet.replies()
    telnet.conceal(True)
    telnet.conceal(True)
    assert (telnet.replies(), telnet.line_end()) == (said(WILL, ECHO), b"")
    assert (answer(telnet, said(DO, ECHO)), telnet.line_end()) == (b"", b"\r\n")
    telnet.conceal(False)
    assert (telnet.replies(), telnet.line_end()) == (said(WONT, ECHO), b"\r\n")
    assert (answer(telnet, said(DONT, ECHO)), telnet.line_end()) == (b"", b"")


def test_answers_that_are_late() -> None:
    """Nothing waits for an answer. If it comes when the secret has been typed already, echoing is put right then."""
    telnet = Telnet()
    telnet.begin()
    telnet.replies()
    for secret in (True, False, True, False):
        telnet.conceal(secret)
    assert telnet.replies() == said(WILL, ECHO)
    assert answer(telnet, said(DO, ECHO)) == said(WONT, ECHO)
    telnet.conceal(True)
    assert telnet.replies() == b""
    assert answer(telnet, said(DONT, ECHO)) == said(WILL, ECHO)
    assert answer(telnet, said(DONT, ECHO)) == b""  # refused
    assert telnet.line_end() == b""


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        (window(100), 100),
        (window(255, 255), 255),
        (window(0), 0),
        (window(100) + window(65535), 65535),
        (window(100) + b"\xff\xfa\x1f\0\xff\xf0", 100),
        (window(100) + b"\xff\xfa\x1f\0\x50\0\x18\0\xff\xf0", 100),
        (window(100) + b"\xff\xfa\x18\0\x50\0\x18\xff\xf0", 100),
    ],
)
@pytest.mark.parametrize("size", [1, 100])
def test_window_size(data: bytes, columns: int, size: int) -> None:
    """The width that came last, in which a byte 255 is doubled; what is no size is ignored."""
    telnet = Telnet()
    for at in range(0, len(data), size):
        assert telnet.filter(data[at : at + size]) == b""
    assert telnet.negotiation is not None
    assert telnet.negotiation.columns == columns


@pytest.mark.parametrize("data", [b"a\rb\r\nc\r\0d\n", b"a\rb\nc\r\0d\r", b"a\nb\rc\rd\r\n"])
@pytest.mark.parametrize("size", [1, 100])
def test_enter_in_binary_mode(data: bytes, size: int) -> None:
    """In binary mode a client sends its Enter as CR, LF, CR LF or CR NUL; each ends one line."""
    lines = Lines()
    lines.feed(said(WILL, BINARY))
    for at in range(0, len(data), size):
        lines.feed(data[at : at + size])
    assert [lines.next() for _ in range(5)] == [b"a", b"b", b"c", b"d", None]


@pytest.mark.parametrize("size", [1, 100])
def test_a_line_end_across_a_change(size: int) -> None:
    """A line end whose bytes the change to binary mode, or back, comes between is one line end."""
    data = b"a\r" + said(WILL, BINARY) + b"\nb\r" + said(WONT, BINARY) + b"\nc\r" + said(WILL, BINARY) + b"\0d\n"
    lines = Lines()
    for at in range(0, len(data), size):
        lines.feed(data[at : at + size])
    assert [lines.next() for _ in range(5)] == [b"a", b"b", b"c", b"d", None]


@given(st.lists(st.sampled_from(["on", "off", "want on", "want off"]), max_size=30), st.booleans())
def test_no_loops(events: list[str], allowed: bool) -> None:
    """Whatever comes in whatever order, an answer is never answered: two peers that both do as RFC 1143 says come to
    rest at once, and agree."""
    server, client = Option(WILL, WONT, allowed=allowed), Option(DO, DONT, allowed=True)
    for event in events:
        sent = server.want(event == "want on") if event.startswith("want") else client.want(event == "on")
        to_client = event.startswith("want")
        for _ in range(4):
            if sent is None:
                break
            sent = client.heard(sent == WILL) if to_client else server.heard(sent == DO)
            to_client = not to_client
        assert sent is None
        assert server.state is client.state
        assert server.state in (State.YES, State.NO)


@given(st.lists(st.sampled_from([WILL, WONT, DO, DONT]), max_size=40), st.sampled_from([BINARY, ECHO, SGA, NAWS, 24]))
def test_replies_do_not_outgrow_questions(verbs: list[int], code: int) -> None:
    """No client makes the server send more than one answer for each question."""
    telnet = Telnet()
    telnet.begin()
    telnet.conceal(True)
    telnet.replies()
    for verb in verbs:
        assert len(answer(telnet, said(verb, code))) <= 3
