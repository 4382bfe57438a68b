"""The last line that somebody at `nc` sees: whatever ends a connection, it says what to do next."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatserver.net.connection.connections import REWOUND
from chatserver.net.counts import ENDINGS
from chatserver.net.limits.admission import CROWDED
from chatserver.service import RESTARTING
from chatserver.settings.tables import Limits, Server, Settings
from chatserver.values.errors import FAULTY, FENCED, Refused, Rejected, Sentence, Why
from chatserver.values.stages import Stage
from chatserver.wire.sentences import THEN, english, for_people, for_programs
from tests.support.hall import PASSWORD, QUIET, Client, Hall
from tests.support.sentences import written

UNDECODABLE = Refused(Why.UNDECODABLE, text="This makes no sense.")
BACK, LEAVE = "Press Enter, then connect again", "Press Enter to leave."


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    few = {"strikes": 3, "failed_logins": 1, "guess_seconds": 0, "handshake_bytes": 200, "typing_seconds": 5}
    limits = Limits(**{**{name: getattr(QUIET, name) for name in QUIET.__struct_fields__}, **few})
    hall = Hall(tmp_path, settings=Settings(server=Server(contact="the operators"), limits=limits))
    yield hall
    hall.close()


def typing(*lines: str) -> Callable[[Client], object]:
    return lambda client: client.type(*lines)


def ended_for(reason: str, sentence: Sentence) -> Callable[[Client], object]:
    return lambda client: client.session.link.hang_up(reason, sentence)


@pytest.mark.parametrize(
    ("inside", "do", "last"),
    [
        (True, typing("/quit"), f"Goodbye. {LEAVE}"),
        (False, typing("/quit"), f"Goodbye. {LEAVE}"),
        (True, typing("/logout"), f"You are logged out. Goodbye. {LEAVE}"),
        (True, typing(f"/forget {PASSWORD}"), f"Your account is erased. Goodbye. {LEAVE}"),
        (False, typing("/login ana wrong-words"),
         f"Too many failed logins. Forgotten? Ask the operators. {BACK} when you have the password."),
        (False, typing("x" * 300), f"You sent too much before logging in. {BACK} and log in right away."),
        (False, lambda client: client.hall.passes(5.1), f"You did not log in in time. {BACK} and log in right away."),
        (True, lambda client: client.connection.refuse(Rejected(UNDECODABLE, fatal=True)), f"{BACK}."),
        (True, ended_for(*FENCED), f"The server was interrupted and starts anew. {BACK}."),
        (True, ended_for(*REWOUND), f"The database was restored to an earlier state. {BACK} to see it."),
        (False, ended_for(*CROWDED), f"{english(CROWDED[1])} {BACK}."),
        (True, ended_for(*FAULTY), f"Something went wrong in the server; its log has the details. {BACK}."),
        (True, ended_for("shutdown", RESTARTING), f"The server is restarting; nothing is lost. {BACK}."),
        (True, ended_for("banned", written("You are banned from this server.")),
         f"You are banned from this server. Ask the operators about it. {LEAVE}"),
        (True, ended_for("disabled", written("The operators of this server disabled your account.")),
         f"The operators of this server disabled your account. Ask the operators about it. {LEAVE}"),
        (True, ended_for("password", written("Your password was changed.")),
         f"Your password was changed. {BACK} with the new one."),
    ],
)  # fmt: skip
def test_the_last_line(hall: Hall, inside: bool, do: Callable[[Client], object], last: str) -> None:
    """It says what happened, and what to type."""
    client = hall.client()
    if inside:
        client.type(f"/register ana {PASSWORD}")
    do(client)
    hall.settle()
    words = " ".join(client.seen.decode().replace("\r\n   |", "").split())
    assert client.session.stage is Stage.ENDING
    assert words.endswith(f"* {last}")


def test_a_client_that_has_sent_nothing(hall: Hall) -> None:
    """It may be a program: if it is to come back, it is told so in JSON, too, before the line for people."""
    nobody, person, for_good = hall.client(), hall.client(), hall.client()
    person.type("ana")
    for client in (nobody, person):
        client.session.link.hang_up("shutdown", RESTARTING, retry=7)
    for_good.session.link.hang_up("kicked", written("Go away."))
    program, line = nobody.lines[-2:]
    assert program == (
        '{"event":"closing","reason":"shutdown","text":"The server is restarting; nothing is lost. Connect again.",'
        '"retry":7}'
    )
    assert line == f"* The server is restarting; nothing is lost. {BACK}."
    assert not any("{" in line for client in (person, for_good) for line in client.lines)


@pytest.mark.parametrize("reason", sorted(ENDINGS))
def test_every_reason(reason: str) -> None:
    """A person is told to press Enter, and a program is not."""
    text = "It is over."
    assert for_people(reason, text).startswith(f"{text} Press Enter")
    assert for_programs(reason, written(text)).startswith(text)
    assert "Enter" not in for_programs(reason, written(text))
    assert set(THEN) <= set(ENDINGS)


def test_what_is_lost_with_the_connection(hall: Hall) -> None:
    """The end of a connection discards lines kept for /retry, and says so."""
    ana = hall.client().type(f"/register ana {PASSWORD}")
    hall.inline.refusals = 2
    ana.type("one", "two")
    ana.session.link.hang_up("shutdown", RESTARTING)
    hall.settle()
    assert ana.lines[-1] == f"* {english(RESTARTING)} 2 lines that you said could not be sent. {BACK}."


@pytest.mark.parametrize(
    ("seconds", "key", "ends"), [(0.3, b"\n", True), (0.3, b"\r\n", True), (0, b"\n", False), (0.3, b"x\n", False)]
)
def test_enter_after_the_end(hall: Hall, seconds: float, key: bytes, ends: bool) -> None:
    """A person who has read the last words and presses Enter ends the connection with that; no other client is
    reset."""
    client = hall.client().type("/quit")
    hall.passes(seconds)
    client.send(key)
    assert client.wire.aborted is ends
