"""Client certificates as a login, without TLS: the fingerprint of each client is what the test says."""

from pathlib import Path
from typing import Any

import pytest

from chatserver.settings.tables import NO_LIMITS, Limits
from chatserver.store import accounts, certificates, moderation
from chatserver.store.db.transactions import transact
from tests.support.hall import PASSWORD, START, Client, Hall

LAPTOP, STRANGE = "0f" * 32, "a1" * 32


class Club(Hall):
    """A server where ana has a certificate. `shown`: the fingerprint that the next client shows."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **limits: Any) -> None:
        quiet: Any = {"handshake_seconds": 0, "typing_seconds": 0, "ping_seconds": 0, "stalled_seconds": 0, **NO_LIMITS}
        super().__init__(folder, Limits(**(quiet | limits)))
        self.shown: dict[object, str] = {}
        monkeypatch.setattr(
            "chatserver.net.connection.connection.fingerprint", lambda transport: self.shown.get(transport, "")
        )
        self.ana = self.client().come_in("ana")
        self.do(certificates.create, self.ana.session.who.account_id, "laptop", LAPTOP, START)

    def do(self, work: Any, *args: Any) -> Any:
        return transact(self.engine, lambda db: work(db, *args))

    def showing(self, fingerprint: str) -> Client:
        client = self.client()
        self.shown[client.wire] = fingerprint
        return client


@pytest.fixture
def club(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Club:
    return Club(tmp_path, monkeypatch)


def test_a_person(club: Club) -> None:
    """Typing the name of the certificate's account logs a person in, with a notice. Other names get the question for a
    password as usual, and so does this one without a certificate or with an unknown one."""
    ana = club.showing(LAPTOP).type("ANA")
    assert ana.lines[1:3] == [
        "* You need no password: your certificate laptop logs you in.",
        "* Hello ana. You are in general. Type to talk; /help for the rest.",
    ]
    club.client().come_in("bob")
    asked = "* Hello {}. Type your password, or press Enter to pick another name."
    for fingerprint, name in ((LAPTOP, "bob"), ("", "ana"), (STRANGE, "ana")):
        person = club.showing(fingerprint).type(name)
        assert person.lines[1:] == [asked.format(name)]
        assert person.type(PASSWORD).lines[2].startswith(f"* Hello {name}.")
    assert "is new here" in club.showing(LAPTOP).type("cai").lines[-1]


def test_a_program(club: Club) -> None:
    """A program gives the name alone. A password, or a token, counts where it is given."""
    club.client().come_in("bob")
    answer = club.showing(LAPTOP).post("login", name="ana", resume={"general": 0}, tag=1).answers
    assert (answer[0]["ok"], answer[0]["name"]) == (True, "ana")
    for fingerprint, fields, error in (
        (LAPTOP, {"name": "bob"}, "bad-credentials"),
        (STRANGE, {"name": "ana"}, "bad-credentials"),
        ("", {"name": "ana"}, "bad-command"),
        (LAPTOP, {"name": "ana", "password": "wrong-words"}, "bad-credentials"),
        (LAPTOP, {"token": "ct_mbJ0UX4oRQm1mGd3x8cCkWk7VYFc"}, "bad-credentials"),
        (LAPTOP, {}, "bad-command"),
    ):
        assert club.showing(fingerprint).post("login", **fields).answers[0]["error"] == error, fields
    assert club.showing(LAPTOP).post("login", name="bob", password=PASSWORD).answers[0]["ok"]


def test_guesses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates that do not belong to the name are failed logins: the third one ends the connection, and many cause
    delays. A right one never waits."""
    club = Club(tmp_path, monkeypatch, failed_logins=3, guess_seconds=1)
    stranger = club.showing(STRANGE)
    for _ in range(2):
        stranger.post("login", name="ana")
        club.passes(3)
    assert stranger.closing == []
    stranger.post("login", name="ana")
    club.passes(5)
    assert stranger.closing == ["failed-logins"]
    many = [club.showing(STRANGE).post("login", name="ana") for _ in range(6)]
    assert many[-1].answers[0]["error"] == "slow-down"
    assert club.showing(LAPTOP).post("login", name="ana").answers[0]["ok"]


def test_who_may_not_log_in(club: Club) -> None:
    """Banned and disabled accounts are refused; the answer to a disabled one does not mention the certificate."""
    who = club.ana.session.who.person
    club.do(lambda db: accounts.set_disabled(db, who.id, START, disabled=True))
    assert club.showing(LAPTOP).type("ana").lines[-1].startswith("* Hello ana. Type your password")
    assert club.showing(LAPTOP).post("login", name="ana").answers[0]["error"] == "bad-credentials"
    club.do(lambda db: accounts.set_disabled(db, who.id, START, disabled=False))
    club.do(moderation.ban_from_server, None, who, None, None, "spam", START)
    assert club.showing(LAPTOP).type("ana").lines[-2] == "! You are banned from this server: spam."
    assert club.showing(LAPTOP).post("login", name="ana").answers[0]["error"] == "banned"


def test_one_that_is_removed_during_the_login(club: Club) -> None:
    """A certificate that is removed during the login lets nobody in."""
    reads = iter((None, lambda: club.do(certificates.remove, club.ana.session.who.account_id, "laptop", START)))
    looked = club.inline.read

    async def read(work: Any, *args: Any, **kwargs: Any) -> Any:
        found = await looked(work, *args, **kwargs)
        removal = next(reads, None)
        if removal is not None:
            removal()
        return found

    club.inline.read = read  # type: ignore[method-assign]
    late = club.showing(LAPTOP).post("login", name="ana")
    assert [answer.get("error") for answer in late.answers] == ["bad-credentials"]


def test_what_it_may_do(club: Club) -> None:
    """It is as good as the password, but for what asks for the password itself; a changed password can end it."""
    ana, desk = club.showing(LAPTOP).post("login", name="ana"), club.showing(LAPTOP).post("login", name="ana")
    assert ana.post("token", label="ci", password="").answers[-1]["error"] == "bad-command"
    assert ana.post("token", label="ci", password=PASSWORD).answers[-1]["ok"]
    ana.post("password", old=PASSWORD, new="other-words", others=True)
    assert (ana.answers[-1]["ok"], ana.closing, desk.closing) == (True, [], ["password"])
    assert club.showing(LAPTOP).post("login", name="ana").answers[0]["error"] == "bad-credentials"
