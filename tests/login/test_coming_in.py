"""A person who comes in step by step: each question, each answer, and the time for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from chatserver.net.connection.connection import Connection
from chatserver.settings.tables import Limits, Passwords, Server, Settings
from chatserver.store.db.transactions import transact
from chatserver.values.stages import Stage
from tests.support.hall import PASSWORD, QUIET, Client, Hall

NAME = "* Type your name to log in, or /help."
REGISTER = "* anna is new here. Register it? (yes/no)"
CHOOSE = "* Choose a password of at least 8 characters:"
AGAIN = "* Type it again:"


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    hall = Hall(tmp_path)
    yield hall
    hall.close()


def told(client: Client, line: str) -> list[str]:
    """The lines that a person sees after typing a line."""
    seen = len(client.lines)
    client.type(line)
    return client.lines[seen:]


def account(hall: Hall, name: str) -> None:
    hall.client().type(f"/register {name} {PASSWORD}", "/quit")


def test_a_new_account(hall: Hall) -> None:
    """The last line always says what is awaited: the name is confirmed, and the password typed twice."""
    anna = hall.client()
    assert anna.lines[-1].endswith(NAME.removeprefix("* "))
    assert told(anna, "anna") == [REGISTER]
    assert told(anna, "yes") == [CHOOSE]
    assert told(anna, PASSWORD) == [AGAIN]
    assert told(anna, PASSWORD)[0].startswith("* Hello anna.")
    assert told(anna, f"my password is {PASSWORD}")[0].startswith("! Nothing was sent")
    assert told(hall.client(), f"/login anna {PASSWORD}")[0].startswith("* Hello anna.")


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("ends", [False, True])
def test_what_is_typed_ahead(hall: Hall, held: bool, ends: bool) -> None:
    """Nothing that comes before the answer is lost, through all questions and while a name or a login is checked; the
    end of the client's side changes nothing."""
    bob, anna = hall.program("bob"), hall.client()
    if held:
        hall.inline.hold()
    anna.type("anna", "y", PASSWORD, PASSWORD, "", "hello", "/ping")
    if ends:
        anna.half_close()
    if held:
        assert bob.said == []
        hall.inline.release()
    hall.passes(0.1)
    assert bob.said == ["hello"]
    assert "* The server is here." in anna.lines


def test_enter_while_a_name_is_checked(hall: Hall) -> None:
    """An empty line counts in its order, whenever it came: it goes back to the name."""
    account(hall, "ana")
    ana = hall.client()
    hall.inline.hold()
    ana.type("ana", "")
    hall.inline.release()
    hall.settle()
    assert ana.lines[-1] == NAME
    ana.type("ana", PASSWORD)
    assert ana.session.stage is Stage.IN


@pytest.mark.parametrize("answer", ["yes", "Y", "YES", " y "])
def test_who_says_yes(hall: Hall, answer: str) -> None:
    """In any case."""
    anna = hall.client().type("anna")
    assert told(anna, answer) == [CHOOSE]


@pytest.mark.parametrize("answer", ["no", "N", "No", ""])
def test_who_says_no(hall: Hall, answer: str) -> None:
    """Back to the name, also for Enter; nothing is registered."""
    anna = hall.client().type("anna")
    assert told(anna, answer) == [NAME]
    assert told(anna, "anna") == [REGISTER]


def test_an_answer_that_is_none(hall: Hall) -> None:
    """Anything else is never quoted, since it may be a password; the question comes again. /help and /quit work."""
    anna = hall.client().type("anna")
    for line in (PASSWORD, "/login anna " + PASSWORD):
        lines = told(anna, line)
        assert (lines[0][:2], lines[-1], PASSWORD in str(lines)) == ("! ", REGISTER, False)
    assert told(anna, "/help")[-1] == REGISTER
    assert told(anna, "/quit") == ["* Goodbye. Press Enter to leave."]


def test_passwords_that_differ_or_are_too_short(hall: Hall) -> None:
    """The server asks for both again; Enter at either goes back to the name."""
    anna = hall.client().type("anna", "yes")
    assert told(anna, "short")[-1] == CHOOSE
    assert told(anna, PASSWORD) == [AGAIN]
    assert told(anna, PASSWORD + "x") == ["! The two passwords differ.", CHOOSE]
    assert told(anna, "") == [NAME]
    anna.type("anna", "yes", PASSWORD)
    assert told(anna, "") == [NAME]
    assert anna.session.view is not None
    assert anna.session.view.chosen == ""
    anna.type("anna", "yes", PASSWORD, PASSWORD)
    assert (anna.session.stage, anna.session.view.chosen) == (Stage.IN, "")


def test_when_a_password_is_awaited(hall: Hall) -> None:
    """The door can tell when to hide what is typed: at each question for a password, and at no other time."""
    anna = hall.client()
    steps = ["anna", "yes", "short", PASSWORD, "another-one", PASSWORD, PASSWORD, "/token mine", "", "/token", "hello"]
    hidden = [anna.type(step).session.awaits_secret for step in steps]
    assert hidden == [False, True, True, True, True, True, False, True, False, False, False]
    again = hall.client().type("anna")
    assert again.session.awaits_secret
    again.type("")
    assert not again.session.awaits_secret
    assert not hall.program("bob").session.awaits_secret


@pytest.mark.parametrize(
    ("line", "meant"),
    [("quit", "quit"), ("EXIT", "quit"), ("bye", "quit"), ("help", "help"), ("?", "help"), ("quit now", "quit"),
     (f"login anna {PASSWORD}", "login"), (f"register anna {PASSWORD}", "register"), ("token ct_x", "token")],
)  # fmt: skip
def test_a_command_without_its_slash(hall: Hall, line: str, meant: str) -> None:
    """It is not looked up as a name, and what is behind it is not quoted."""
    anna = hall.client()
    assert told(anna, line) == [f"! Did you mean /{meant}? Nothing was done.", NAME]


def test_whom_to_ask(tmp_path: Path) -> None:
    """If the settings name a contact, a person with a wrong password sees it, and a program does not."""
    limits = Limits(**{**vars_of(QUIET), "failed_logins": 3, "guess_seconds": 0})
    hall = Hall(tmp_path, settings=Settings(server=Server(contact="admin@example.org"), limits=limits))
    account(hall, "ana")
    ana, program = hall.client(), hall.client()
    ana.type("ana")
    assert told(ana, "another-one") == [
        "! Wrong name or password. Try again. Forgotten? Ask admin@example.org.",
        "* Type the password of ana, or press Enter to pick another name.",
    ]
    assert "admin" not in program.post("login", name="ana", password="another-one").lines[-1]
    ana.type("another-one")
    assert told(ana, "another-one")[-1] == (
        "* Too many failed logins. Forgotten? Ask admin@example.org. "
        "Press Enter, then connect again when you have the password."
    )
    inside = hall.client().type(f"/login ana {PASSWORD}")
    assert told(inside, "/password another-one longer-words")[-1].endswith("Forgotten? Ask admin@example.org.")
    hall.close()


def test_the_database_is_away_on_the_way(hall: Hall) -> None:
    """Where one was is kept, and the question comes again: a password that was chosen is typed once more only."""
    anna = hall.client().type("anna", "yes", PASSWORD)
    hall.inline.lost_answers = 1
    assert told(anna, PASSWORD)[-1] == AGAIN
    assert told(anna, PASSWORD)[0].startswith("* Hello anna.")
    assert len([line for line in hall.client().type(f"/login anna {PASSWORD}").lines if "anna joined" in line]) == 1


def test_the_name_of_a_bot(hall: Hall) -> None:
    """A bot has no password and is not asked for one: its owner sees how it logs in."""
    hall.client().type(f"/register deploy {PASSWORD}", "/quit")
    transact(hall.engine, lambda db: db.execute(text("UPDATE account SET kind = 'bot' WHERE name = 'deploy'")))
    owner = hall.client()
    assert told(owner, "deploy") == ["! deploy is a bot, which has no password: use /token TOKEN.", NAME]


def test_a_token_in_place_of_a_password(hall: Hall) -> None:
    """A token can be used at the prompt for the password, too. Everything else there that begins like a command is a
    password."""
    ana = hall.program("ana")
    token = ana.post("token", label="laptop", password=PASSWORD).answers[-1]["token"]
    other = hall.client().type("ana")
    assert told(other, "/token laptop")[0] == "! Wrong name or password. Try again."
    assert told(other, f"/token {token}") == ["* Hello ana."]
    assert other.session.quiet
    last = hall.client().type("ana")
    assert told(last, f"/token {token[:-1]}x")[-1] == NAME


def test_a_script_is_asked_nothing(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line of a script whose login fails says why: no question follows, which nobody could answer."""
    monkeypatch.setattr(Connection, "has_sent_all", lambda self: True)
    script = hall.client().type("/login nobody another-one", "/say general done")
    assert script.lines[1:] == [
        "! Wrong name or password. Try again.",
        "! Log in first: type your name, or /login NAME PASSWORD. Nothing was sent.",
    ]


# Time


def patient(tmp_path: Path, **limits: Any) -> Hall:
    return Hall(tmp_path, Limits(**{**vars_of(QUIET), "typing_seconds": 120, "handshake_seconds": 30, **limits}))


def vars_of(limits: Limits) -> dict[str, Any]:
    return {name: getattr(limits, name) for name in limits.__struct_fields__}


def test_a_person_has_time_for_each_line(tmp_path: Path) -> None:
    """Two minutes, counted anew with each line, and with each question that took the server long; then the text says
    that it was too long, and what to do."""
    hall = patient(tmp_path)
    anna = hall.client()
    for line in ("anna", "yes", PASSWORD, "another-one"):
        hall.passes(119)
        anna.type(line)
    hall.passes(119.8)
    assert anna.session.stage is Stage.NEW_PASSWORD
    hall.passes(0.3)
    end = "* You typed nothing for too long. Press Enter, then connect again and log in right away."
    assert (anna.lines[-1], anna.session.stage) == (end, Stage.ENDING)
    hall.close()


def test_a_question_that_took_long(tmp_path: Path) -> None:
    """Waiting for the server costs no time: all of it is left at the next question."""
    hall = patient(tmp_path)
    anna = hall.client()
    hall.inline.hold()
    anna.type("anna")
    hall.passes(130)
    hall.inline.release()
    stages = []
    for seconds in (119, 1.1):
        hall.passes(seconds)
        stages.append(anna.session.stage)
    assert stages == [Stage.CONFIRM, Stage.ENDING]
    hall.close()


def test_a_program_has_less_time(tmp_path: Path) -> None:
    """Half a minute in all from the moment when a program is recognized, at a WebSocket door from the beginning. A
    silent client may be a person."""
    hall = patient(tmp_path)
    silent, program, browser = hall.client(), hall.client(), hall.browser().upgrade()
    hall.passes(20)
    program.post("ping")
    hall.passes(9.9)
    assert browser.session.stage is not Stage.ENDING
    hall.passes(0.2)
    assert browser.closing == ["handshake"]
    program.post("ping")
    hall.passes(19.7)
    assert program.session.stage is Stage.GREETING
    hall.passes(0.3)
    assert program.closing == ["handshake"]
    hall.passes(69.8)
    assert silent.session.stage is Stage.NEW
    hall.passes(0.3)
    assert silent.lines[-1] == ("* You did not log in in time. Press Enter, then connect again and log in right away.")
    hall.close()


def test_no_limit_of_time(tmp_path: Path) -> None:
    """0 means no limit, for people and programs separately; after the login there is none anyway."""
    hall = patient(tmp_path, typing_seconds=0)
    anna, program, inside = hall.client().type("anna"), hall.client(), hall.client()
    inside.type("bob", "y", PASSWORD, PASSWORD)
    program.post("ping")
    hall.passes(200)
    assert (anna.session.stage, program.closing, inside.session.stage) == (Stage.CONFIRM, ["handshake"], Stage.IN)
    hall.close()


@pytest.mark.parametrize("registration", ["closed", "code"])
def test_where_not_everybody_may_register(tmp_path: Path, registration: Any) -> None:
    """A new name is refused at once, without a question that leads nowhere; the one-line command with a code works."""
    server = Server(registration=registration, registration_code="sesame")
    hall = Hall(tmp_path, settings=Settings(server=server, limits=QUIET, passwords=Passwords(min_length=4)))
    anna = hall.client()
    lines = told(anna, "anna")
    assert (lines[0][:2], lines[-1], anna.session.stage) == ("! ", NAME, Stage.GREETING)
    anna.type("/register anna four code=sesame")
    assert (anna.session.stage is Stage.IN) == (registration == "code")
    hall.close()
