"""`server`: what a client has to know, before it logs in, too."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import force_setattr

from chatserver.handlers.server_facts import COOKIE, FEATURES, LENGTHS
from chatserver.settings.tables import NO_LIMITS, Limits, Server, Settings
from chatserver.wire.hygiene.text import room_name, user_name
from tests.login.test_cleartext import AWAY, HERE, at
from tests.support.hall import Hall

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"


def hall(folder: Path, **server: Any) -> Hall:
    quiet: Any = {"handshake_seconds": 0, "typing_seconds": 0, "ping_seconds": 0, "stalled_seconds": 0, **NO_LIMITS}
    return Hall(folder, settings=Settings(server=Server(**server), limits=Limits(**quiet)))


def test_before_and_after_login(tmp_path: Path) -> None:
    """A client is told the same before and after its login, but the message of the day only to those who are let in.
    No database is asked."""
    chat = hall(tmp_path, name="Example", contact="help@example.org", motd="Welcome back.", registration="closed")
    client = chat.client()
    chat.inline.hold()
    before = client.post("server", tag="s").answers[-1]
    chat.inline.release()
    force_setattr(chat.settings.server, "registration", "open")
    after = client.come_in("ana").post("server", tag="s").answers[-1]
    assert before["registration"] == "closed"
    assert before["contact"] == "help@example.org"
    assert after == before | {"registration": "open", "motd": "Welcome back."}


def test_a_changed_setting(tmp_path: Path) -> None:
    """A setting that is changed while the server runs is in the next answer, also to a client that has asked before.
    What a setting keeps secret is not in it."""
    chat = hall(tmp_path, registration="code", registration_code="open-sesame")
    client = chat.client()
    first = client.post("server").answers[-1]
    force_setattr(chat.settings.server, "guests", True)
    force_setattr(chat.settings.server, "name", "Another")
    force_setattr(chat.settings.passwords, "min_length", 12)
    force_setattr(chat.settings.limits, "answer_bytes", 4096)
    second = client.post("server").answers[-1]
    changed = {"guests": True, "name": "Another"}
    limits = first["limits"] | {"password_least": 12, "answer_bytes": 4096}
    assert second == first | changed | {"limits": limits}
    assert "open-sesame" not in str(first)


@pytest.mark.parametrize(
    ("address", "encrypted", "allowed", "required"),
    [(AWAY, False, False, True), (AWAY, True, False, True), (AWAY, False, True, False), (HERE, False, False, False)],
)
def test_tls(tmp_path: Path, address: str, encrypted: bool, allowed: bool, required: bool) -> None:
    """`tls_required` says whether passwords are refused without TLS on a connection like this one, and `tls` whether it
    has TLS: a client that is told so is not refused with `tls-required`."""
    chat = hall(tmp_path, plaintext_login=allowed)
    client = chat.client(address=at(address))
    client.door.connection._encrypted = encrypted or None
    facts = client.post("server").answers[-1]
    assert (facts["tls"], facts["tls_required"]) == (encrypted, required)
    refused = client.post("login", name="nobody", password="s3cret-words").answers[-1]["error"]
    assert (refused == "tls-required") == (required and not encrypted)


def test_limits() -> None:
    """The limits are those that texts are checked against."""
    assert user_name("a" * LENGTHS["name"])
    assert room_name("a" * LENGTHS["room"])
    for check, name in ((user_name, "name"), (room_name, "room")):
        with pytest.raises(Exception, match="BAD_"):
            check("a" * (LENGTHS[name] + 1))


def test_features_are_documented() -> None:
    """Each feature has a row in the documentation, and they are sorted."""
    table = PAGE.read_text(encoding="utf-8").split("| feature | what |\n")[1].split("\n\n")[0]
    assert [row.split("`")[1] for row in table.splitlines()[1:]] == sorted([*FEATURES, COOKIE])
    assert list(FEATURES) == sorted(FEATURES)
