"""Preferences: how an account wants things shown, on each of its devices."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chatserver.util import time_zones
from chatserver.values.errors import Refused
from chatserver.wire.screen import SCREEN
from tests.support.hall import Client, Hall

PASSWORD = "s3cret-words"


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    one = Hall(tmp_path)
    yield one
    one.close()


def person(hall: Hall, name: str) -> Client:
    return hall.client().type(f"/register {name} {PASSWORD}")


def asked(client: Client, **fields: Any) -> dict[str, Any]:
    client.type(json.dumps({"cmd": "prefer", **fields}))
    answer: dict[str, Any] = json.loads(client.lines[-1])
    return answer


def test_every_device_follows(hall: Hall) -> None:
    """What one device sets counts at once for the others of the account, for programs not at all, and for whoever logs
    in later."""
    ana, bob = person(hall, "ana"), person(hall, "bob")
    phone = hall.client().type(f"/login ana {PASSWORD}")
    program = hall.client().type(json.dumps({"cmd": "login", "name": "ana", "password": PASSWORD}))
    assert asked(program, timezone="asia/TOKYO", clock="12", bell="on", tag=1) == {
        "ok": True, "tag": 1, "cmd": "prefer", "timezone": "Asia/Tokyo", "clock": "12", "bell": "on",
    }  # fmt: skip
    bob.type("hello")
    later = hall.client().type(f"/login ana {PASSWORD}")
    for device in (ana, phone):
        assert b"[general] 7:02 pm bob: hello\a\r\n" in device.seen
    assert "* Times are in Asia/Tokyo." in later.lines
    assert later.lines[-1] == "[general] 7:02 pm bob: hello"
    assert b"\a" not in later.seen
    assert program.session.screen is SCREEN
    assert json.loads(program.lines[-1])["at"] == "2026-03-02T10:02:00.123Z"
    assert bob.session.screen == SCREEN


def test_defaults_come_back(hall: Hall) -> None:
    """`default` removes what was set; what is not named stays; asking changes nothing."""
    program = hall.program("ana")
    assert asked(program, timezone="Europe/Berlin", clock="12")["clock"] == "12"
    assert asked(program, clock="default") == {"ok": True, "cmd": "prefer", "timezone": "Europe/Berlin"}
    assert asked(program) == {"ok": True, "cmd": "prefer", "timezone": "Europe/Berlin"}
    assert asked(program, timezone="default", bell="mentions") == {"ok": True, "cmd": "prefer", "bell": "mentions"}


def test_at_the_terminal(hall: Hall) -> None:
    """A person is shown what counts now, and the time where they are."""
    ana = person(hall, "ana")
    before = len(ana.lines)
    ana.type("/set clock 12", "/set timezone Pacific/Auckland", "/set")
    assert ana.lines[before:][-6:] == [
        "* Setting   Value",
        "* timezone  Pacific/Auckland",
        "* clock     12",
        "* bell      off (default)",
        "* numbers   off (default)",
        "* It is 11:02 pm on Monday 2 March 2026. /help set explains these.",
    ]
    assert ana.session.form.day == ana.session.dialect.day(datetime.now(UTC), ana.session.screen)


def test_how_wide_a_terminal_is(hall: Hall) -> None:
    """Whoever says so gets lines for that width on this connection, of all kinds; `default` undoes it."""
    ana, bob = person(hall, "ana"), person(hall, "bob")
    other = hall.client().type(f"/login ana {PASSWORD}")
    for typed, most in (("40", 40), ("1", 20), ("99999", 200), ("default", 80)):
        ana.type(f"/set columns {typed}")
        before = len(ana.rows), len(other.rows)
        bob.type(f"{'word ' * 60}.")
        ana.type("/history since=soon")
        widest = max(map(len, ana.rows[before[0] :]))
        assert most - 12 < widest <= most, typed
        assert 68 < max(map(len, other.rows[before[1] :])) <= 80
    for wrong in ("/set columns", "/set columns wide", "/set columns 40 50"):
        ana.type(wrong)
        assert ana.lines[-1].startswith("! Usage: /set "), wrong
    assert other.session.screen == SCREEN


def test_a_day_that_begins_elsewhere(hall: Hall) -> None:
    """After a change of the zone, a date stands above the next entry if its day is another one there."""
    ana, bob = person(hall, "ana"), person(hall, "bob")
    bob.type("first")
    hall.passes(3600 * 3)
    before = len(ana.lines)
    ana.type("/set timezone Pacific/Auckland")
    bob.type("second")
    assert ana.lines[-1] == "[general] 02:02 bob: second"
    assert [line for line in ana.lines[before:] if line.startswith("* Tuesday")] == ["* Tuesday 3 March 2026"]


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        ("berlin", "Europe/Berlin"),
        ("Europe/Berln", "Europe/Berlin"),
        ("new york", "America/New_York"),
        ("Tokio", "Asia/Tokyo"),
        ("nowhere at all", ""),
        ("../../etc/passwd", ""),
        ("localtime", ""),
        ("", ""),
        ("x" * 64, ""),
    ],
)
def test_zones_that_are_none(hall: Hall, typed: str, suggested: str) -> None:
    """A zone that is none is refused, with the one that was meant where that is to be guessed."""
    answer = asked(hall.program("ana"), timezone=typed)
    assert answer["error"] == "bad-command"
    assert answer["text"].startswith("There is no such time zone.")
    assert answer["text"].endswith(f"Did you mean {suggested}?" if suggested else "America/New_York.")


def test_the_servers_own_zone() -> None:
    """Where nothing is set, the server's zone is named by what is usual there and by its difference from UTC."""
    at = datetime(2026, 3, 2, tzinfo=UTC)
    assert time_zones.described("", time_zones.zone("Europe/Berlin"), at) == "CET (UTC+01:00)"
    assert time_zones.described("", time_zones.zone("America/St_Johns"), at) == "NST (UTC-03:30)"
    assert time_zones.described("", time_zones.zone("America/Sao_Paulo"), at) == "UTC-03:00"
    assert time_zones.described("", UTC, at) == "UTC"
    assert time_zones.described("Europe/Berlin", None, at) == "Europe/Berlin"
    with pytest.raises(Refused):
        time_zones.find("Factory")
