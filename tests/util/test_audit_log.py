"""The audit log: its lines are an interface, which no client can forge."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from chatserver.util import audit_log

FILTER = Path(__file__).parents[2] / "deploy/fail2ban/filter.d/chatserver.conf"
ADDRESS = "198.51.100.7"

logged: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def log() -> Iterator[None]:
    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        logged.append(f"2026-03-02T10:02:00+0000 [{event['log_namespace']}#info] {formatEvent(event)}")

    globalLogPublisher.addObserver(observe)
    yield
    globalLogPublisher.removeObserver(observe)


def failed_address(line: str) -> str | None:
    """The address that fail2ban would count this line against."""
    [[first, second]] = re.findall(r"(?m)^failregex = (.*)\n {12}(.*)$", FILTER.read_text())
    for regex in (first, second):
        found = re.search(regex.replace("<ADDR>", "(?P<address>[0-9A-Fa-f:.]+)"), line)
        if found:
            return found["address"]
    return None


def written() -> str:
    [line] = logged
    logged.clear()
    return line.removeprefix("2026-03-02T10:02:00+0000 ")


def test_lines() -> None:
    """Each event is one line with the address first; a field without a value is left out."""
    audit_log.logged_in(ADDRESS, "ana", "password")
    assert written() == "[chatserver.audit#info] audit: login address=198.51.100.7 name=ana how=password"
    audit_log.login_failed(ADDRESS, "ana", "password")
    assert written() == "[chatserver.audit#info] audit: failed-login address=198.51.100.7 name=ana why=password"
    audit_log.ended("2001:db8::1", "", "strikes")
    assert written() == "[chatserver.audit#info] audit: ended address=2001:db8::1 reason=strikes"


def test_what_fail2ban_counts() -> None:
    """fail2ban counts failed logins and offences against their address, and nothing else."""
    audit_log.login_failed("2001:db8::1", "ana", "token")
    audit_log.offence(ADDRESS, "http")
    assert [failed_address(line) for line in logged] == ["2001:db8::1", ADDRESS]
    logged.clear()
    audit_log.logged_in(ADDRESS, "ana", "password")
    audit_log.ended(ADDRESS, "ana", "quit")
    audit_log.registered(ADDRESS, "ana")
    assert [failed_address(line) for line in logged] == [None] * 3
    logged.clear()


@given(name=st.text(), why=st.text())
def test_hostile_values(name: str, why: str) -> None:
    """Whatever a value contains, the line stays one line with fields that blanks separate."""
    audit_log.login_failed(ADDRESS, name, why)
    line = written()
    assert line.isascii()
    assert line.isprintable()
    assert len(line.split(" ")) == 4 + bool(name) + bool(why)
    assert failed_address(line) == ADDRESS
