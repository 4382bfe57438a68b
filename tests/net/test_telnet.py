"""People at the doors: telnet's negotiations, and the keys that a terminal does not edit with."""

import pytest
from msgspec import structs

from chatserver.net.doors import table
from chatserver.net.doors.line import TelnetDoor
from chatserver.session.link import FULL_BYTES
from chatserver.values.stages import Stage
from chatserver.wire.screen import MOST_COLUMNS, SCREEN
from tests.net.conftest import OpenHall
from tests.support.hall import PASSWORD, QUIET, Client, Hall

BEGIN = b"\xff\xfd\x1f\xff\xfd\x00"  # DO NAWS, DO BINARY
HIDE, SHOW = b"\xff\xfb\x01", b"\xff\xfc\x01"  # WILL ECHO, WONT ECHO
HIDDEN, SHOWN = b"\xff\xfd\x01", b"\xff\xfe\x01"
MARK, MARKED = b"\xff\xfd\x06", b"\xff\xfb\x06"


def at_the_telnet_door(hall: Hall, room: int | None = None) -> Client:
    return hall.client(TelnetDoor, room)


def window(columns: int) -> bytes:
    return b"\xff\xfa\x1f" + columns.to_bytes(2).replace(b"\xff", b"\xff\xff") + b"\0\x18\xff\xf0"


def heard(client: Client, data: bytes) -> bytes:
    """The bytes that answer what a client has sent."""
    before = len(client.wire.taken)
    client.send(data)
    return client.wire.taken[before:]


def test_the_table_of_doors() -> None:
    """`--listen telnet:…` names the door at which the server speaks telnet first."""
    assert table.split("telnet:ssl:4023:privateKey=key.pem") == (TelnetDoor, "ssl:4023:privateKey=key.pem")


def test_speaking_telnet_first(hall: Hall) -> None:
    """At its own door telnet comes before the greeting; at the plain one, once the client has sent a command of it.
    `nc` is served at both."""
    telnet, plain = at_the_telnet_door(hall), hall.client()
    assert telnet.wire.taken.startswith(BEGIN + b"* Welcome")
    assert plain.wire.taken.startswith(b"* Welcome")
    assert heard(plain, b"\xff\xf1") == BEGIN
    assert heard(plain, b"\xff\xf1") == b""
    telnet.type(f"/register ana {PASSWORD}")
    assert telnet.session.stage is Stage.IN


def test_the_width_of_the_window(hall: Hall) -> None:
    """Lines are laid out for the window that telnet tells of, within limits, before and after login and when it
    changes. Windows of nearly the same width are shown the same, so that few renderings do for everybody. Programs have
    none."""
    ana = at_the_telnet_door(hall)
    for columns, shown in [(100, 100), (7, 20), (65535, MOST_COLUMNS), (0, SCREEN.columns), (132, 130)]:
        ana.send(window(columns))
        assert ana.session.screen.columns == shown
    ana.type(f"/register ana {PASSWORD}")
    assert ana.session.screen.columns == 130
    ana.send(window(60))
    assert ana.session.screen.columns == 60
    program = hall.program("bob").send(window(60))
    assert program.session.screen == SCREEN


def test_secrets_are_not_shown(hall: Hall) -> None:
    """While a password is awaited the client is told not to show it, and shown the end of the line; not for names, nor
    for what is said."""
    ana = at_the_telnet_door(hall)
    assert HIDE not in heard(ana, b"ana\r\n")
    assert heard(ana, b"yes\r\n").startswith(HIDE)
    ana.send(HIDDEN)
    answer = heard(ana, PASSWORD.encode() + b"\r\n")
    assert answer.startswith(b"\r\n* ")
    assert SHOW not in answer
    answer = heard(ana, PASSWORD.encode() + b"\r\n")
    assert answer.startswith(b"\r\n" + SHOW + b"* ")
    assert ana.session.stage is Stage.IN
    ana.send(SHOWN)
    assert not heard(ana, b"hello\r\n").startswith(b"\r\n")


def test_a_password_typed_while_another_is_checked(hall: Hall) -> None:
    """Input stays hidden until the server knows that it asks for no other password."""
    hall.client().type(f"/register ana {PASSWORD}", "/quit")
    ana = at_the_telnet_door(hall)
    assert heard(ana, b"ana\r\n").startswith(HIDE)
    ana.send(HIDDEN)
    hall.inline.hold()
    ana.send(b"not-the-one\r\n")
    hall.inline.release()
    hall.settle()
    assert SHOW not in ana.wire.taken
    answer = heard(ana, PASSWORD.encode() + b"\r\n")
    assert answer.startswith(b"\r\n" + SHOW)
    assert ana.session.stage is Stage.IN


def test_a_password_that_a_command_asks_for(hall: Hall) -> None:
    """The question of `/token` hides its answer too; a command that asks nothing hides nothing."""
    ana = at_the_telnet_door(hall)
    ana.type(f"/register ana {PASSWORD}")
    assert heard(ana, b"/token laptop\r\n").startswith(HIDE)
    ana.send(HIDDEN)
    assert heard(ana, PASSWORD.encode() + b"\r\n").startswith(b"\r\n" + SHOW)
    ana.send(SHOWN)
    assert HIDE not in heard(ana, b"/token list\r\n")


def test_a_client_without_telnet_is_not_bothered(hall: Hall) -> None:
    """A client that has not spoken telnet at the plain door gets no byte of it, not even around passwords."""
    ana = hall.client().type("ana", "yes", PASSWORD, PASSWORD, "/token laptop", PASSWORD)
    assert ana.session.stage is Stage.IN
    assert b"\xff" not in ana.wire.taken


def test_are_you_there(hall: Hall) -> None:
    """Telnet's question is answered with one line, however often it is asked at once. Programs get no text."""
    ana, bob = at_the_telnet_door(hall), hall.program("bob")
    assert heard(ana, b"\xff\xf6" * 100) == b"* The server is here.\r\n"
    assert heard(ana, b"\xff\xf6") == b"* The server is here.\r\n"
    assert heard(ana, b"\xff\xf1") == b""
    assert b"is here" not in heard(bob, b"\xff\xf6")


@pytest.mark.parametrize("end", [b"\x04", b"\xff\xec", b"half a line\x03\x04", b"half a line\xff\xec"])
def test_leaving_with_control_d(end: bytes, hall: Hall) -> None:
    """Ctrl-D ends the input as `nc -N` does: complete lines before it are done, an unfinished line is not."""
    ana, bob = hall.client().type(f"/register ana {PASSWORD}"), hall.program("bob")
    hall.inline.hold()
    ana.send(b"the last words\r\n" + end + b"behind the end\r\n")
    assert not ana.wire.lost
    hall.inline.release()
    hall.settle()
    assert bob.said == ["the last words"]
    assert hall.left == [("ana", "eof")]
    assert ana.wire.lost


def test_two_interrupts(hall: Hall) -> None:
    """Ctrl-C in telnet clears the line, and each mark behind it is answered: the screen goes on."""
    ana, bob = at_the_telnet_door(hall).type(f"/register ana {PASSWORD}"), hall.program("bob")
    for _ in range(2):
        assert heard(ana, b"not this\xff\xf4" + MARK) == MARKED + b"\r\n"
    ana.send(b"but this\r\n")
    assert bob.said == ["but this"]


def test_marks_of_a_client_that_reads_nothing(hall: Hall) -> None:
    """Answers to telnet commands do not pile up: where a client takes none, the server reads no more questions."""
    ana = at_the_telnet_door(hall, room=200)
    for _ in range(20):
        ana.wire.come(MARK * 1000)
        hall.settle()
    assert not ana.wire.reading
    assert len(ana.wire.queue) < FULL_BYTES + 3000
    ana.read()
    assert ana.wire.taken.count(MARKED) == 20_000


def test_editing_without_a_terminal(hall: Hall) -> None:
    """Backspace and arrow keys edit what `nc` sends, names and passwords too, and rlwrap is recommended once."""
    ana, bob = hall.client(), hall.program("bob")
    ana.send(f"am\x7fna\nyes\n{PASSWORD}x\x7f\n\x1b[D{PASSWORD}\n".encode())
    assert ana.session.who.name == "ana"
    ana.send("hellp\x7fo\x1b[A\n\x15\nnot this\x15\n/quot\x7f\x7fx\x15ça\n".encode())
    assert bob.said == ["hello", "ça"]
    assert [line for line in ana.lines if "rlwrap" in line] == [
        "* To edit what you type, connect with: rlwrap -H /dev/null nc HOST PORT"
    ]
    cai = at_the_telnet_door(hall).send(b"\xff\xf1cai\x1b[D\r\n")
    assert b"connect with: rlwrap telnet HOST PORT\r\n" in cai.wire.taken
    assert ana.session.strikes == []


def test_no_advice_for_those_it_does_not_help(hall: Hall) -> None:
    """A client that sends every key as it is, and one that only pressed Ctrl-C, do not get the hint about rlwrap."""
    ana = at_the_telnet_door(hall)
    ana.send(b"\xff\xfd\x03\xff\xfd\x03").send(b"am\x7fna\r\0")
    assert ana.session.typed_name == "ana"
    bob = at_the_telnet_door(hall).send(b"no\xff\xf4bob\r\n")
    assert bob.session.typed_name == "bob"
    assert b"rlwrap" not in ana.wire.taken + bob.wire.taken


def test_torn_characters(open_hall: OpenHall) -> None:
    """A letter that a terminal's backspace has torn refuses the line. At a question for a secret the question
    stands."""
    hall = open_hall()
    ana, bob = hall.client().type(f"/register ana {PASSWORD}"), hall.program("bob")
    ana.type("/token laptop").send(b"pass\xc3word\n").type("")
    ana.send(b"caf\xc3\n")
    assert sum(line.startswith("! Nothing was sent: a letter") for line in ana.lines) == 2
    ana.type("café")
    assert bob.said == ["café"]


def test_torn_characters_before_login(open_hall: OpenHall) -> None:
    """Lines that are refused for a torn letter count towards the bytes that may be sent before logging in."""
    hall = open_hall(limits=structs.replace(QUIET, handshake_bytes=1000))
    ana = hall.client()
    for _ in range(11):
        ana.send(b"x" * 98 + b"\xc3\n")
    assert ana.session.stage is Stage.ENDING
    assert "You sent too much before logging in." in ana.lines[-1]


@pytest.mark.parametrize("data", [b"a\0b\n", b"\xff\xff\n", b"a\x80\x15\n", b"\xc2\x9b31m\n", b"a\rb\n"])
def test_what_no_key_sends(data: bytes, hall: Hall) -> None:
    """Bytes that make no sense end the connection, with a text that names them."""
    ana = hall.client().type(f"/register ana {PASSWORD}").send(data)
    assert hall.left == [("ana", "undecodable")]
    assert any(line.startswith(("! The line contains", "! This is not UTF-8: byte")) for line in ana.lines)


@pytest.mark.parametrize("key", [b"\x7f", b"\x1b[A", b"\x04", b"\x15", b"\xff\xf4", b"\xff\xec", b"\xc3"])
def test_programs_do_not_type(key: bytes, hall: Hall) -> None:
    """In JSON Lines nothing is edited: a key is a byte that makes no sense."""
    bob = hall.program("bob").send(key + b'{"cmd":"ping","tag":1}\n')
    assert bob.answers[-1]["error"] == "undecodable"
    assert hall.left == [("bob", "undecodable")]


def test_echoes_of_clients_that_show_no_line_end(hall: Hall) -> None:
    """A client that sends every key shows no line end of its own, and one in binary mode no carriage return."""
    ana, bob = at_the_telnet_door(hall), at_the_telnet_door(hall)
    ana.send(b"\xff\xfd\x03\xff\xfd\x03")
    bob.send(b"\xff\xfd\x00")
    assert heard(ana, b"ana\r\0").startswith(b"\r\n* ")
    assert heard(bob, b"bob\n").startswith(b"\r* ")
