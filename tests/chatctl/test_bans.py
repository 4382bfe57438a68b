"""`chatctl ban` and `chatctl token`."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from chatserver.store import accounts, tokens
from chatserver.store.db.engine import open_ready, parse_url
from chatserver.store.db.schema import SessionRow
from tests.chatctl.conftest import Chatctl

AT = datetime(2026, 3, 2, 10, 2, tzinfo=UTC)


def test_people(chatctl: Chatctl) -> None:
    """People are banned from the server for a time or forever; a second ban replaces the first."""
    chatctl.add("Ana")
    assert chatctl.json("ban", "list") == []
    banned = chatctl.json("ban", "add", "ana", "--for", "2h", "--reason", "too loud")
    until = datetime.fromisoformat(banned["until"])
    assert abs(until - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)
    assert chatctl.json("ban", "list") == [
        {"name": "Ana", "until": banned["until"], "by": "", "reason": "too loud"},
    ]
    assert chatctl("ban", "add", "ANA") == "Ana is banned from the server.\n"
    assert chatctl.json("ban", "list") == [{"name": "Ana", "by": "", "reason": ""}]
    assert chatctl("ban", "list").split() == ["Ana", "forever", "chatctl"]
    assert chatctl.json("ban", "remove", "ana") == {"name": "ana", "lifted": True}
    assert chatctl.fails("ban", "remove", "ana") == "ana is not banned from the server. See: chatctl ban list"
    assert "There is no user" in chatctl.fails("ban", "add", "bob")
    assert "There is no user" in chatctl.fails("ban", "remove", "bob")


def test_rooms(chatctl: Chatctl) -> None:
    """A ban from a room is an entry in its log, by the server itself, and ends the membership."""
    chatctl.add("ana", "bob")
    chatctl("ban", "add", "bob", "--room", "General", "--for", "1d", "--reason", "why")
    [banned] = chatctl.json("ban", "list", "--room", "general")
    assert (banned["name"], banned["reason"]) == ("bob", "why")
    assert chatctl.json("ban", "list") == []
    assert chatctl.json("user", "show", "bob")["rooms"] == []
    assert chatctl("ban", "remove", "bob", "--room", "general") == "The ban of bob is lifted.\n"
    assert "is not banned from general. See: chatctl ban list --room general" in chatctl.fails(
        "ban", "remove", "bob", "--room", "general"
    )
    log = chatctl.lines("room", "export", "general")
    assert [(line["event"], line["name"], line.get("by")) for line in log[3:]] == [
        ("banned", "bob", None),
        ("unbanned", "bob", None),
    ]
    for words in (["add", "bob"], ["remove", "bob"], ["list"]):
        assert "no room chess" in chatctl.fails("ban", *words, "--room", "chess")
    assert "direct" in chatctl.fails("ban", "add", "bob", "--room", "@ana")


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("2001:db8::7", "2001:db8::/64"),
        ("2001:DB8:0::/48", "2001:db8::/48"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
    ],
)
def test_addresses(chatctl: Chatctl, typed: str, stored: str) -> None:
    """Addresses are stored in the form that they are looked up by, however they are typed."""
    assert chatctl.json("ban", "add", typed) == {"address": stored, "hit": []}
    assert [one["address"] for one in chatctl.json("ban", "list")] == [stored]
    assert chatctl.json("ban", "remove", typed) == {"address": stored, "lifted": True}


@pytest.mark.parametrize(
    ("network", "covered"),
    [
        ("0.0.0.0/0", "the operator olga, your own address 203.0.113.9, this host itself, more addresses than any"),
        ("::/0", "this host itself, "),
        ("127.0.0.1", "this host itself."),
        ("192.0.2.0/24", "the operator olga; connected from there now: olga, ana."),
        ("198.51.100.0/24", "the operator olga."),
        ("203.0.113.0/24", "your own address 203.0.113.9."),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)], indirect=True)
def test_too_much(chatctl: Chatctl, monkeypatch: pytest.MonkeyPatch, network: str, covered: str) -> None:
    """A ban that covers an operator, the administrator, this host or far too much names whom it hits, and asks for
    --yes."""
    monkeypatch.setenv("SSH_CONNECTION", "203.0.113.9 50022 203.0.113.1 22")
    chatctl.add("ana", "olga", "bob")
    chatctl("user", "operator", "olga")
    here = [
        ("ana", "192.0.2.1", None),
        ("olga", "192.0.2.2", None),
        ("olga", "198.51.100.1", AT),
        ("bob", "10.0.0.1", AT),
    ]
    engine = open_ready(parse_url(chatctl.database))
    with engine.begin() as db:
        for number, (name, address, ended) in enumerate(here):
            account = accounts.find(db, name)
            assert account is not None
            db.execute(
                insert(SessionRow).values(
                    id=str(number), account_id=account.id, node="main", address=address, connected_at=AT,
                    disconnected_at=ended,
                )
            )  # fmt: skip
    engine.dispose()
    refusal = chatctl.fails("ban", "add", network)
    assert refusal.startswith(f"{network} covers {covered}")
    assert refusal.endswith(" Add --yes to ban it all the same.")
    assert chatctl.json("ban", "list") == []
    chatctl("ban", "add", network, "--yes")
    assert len(chatctl.json("ban", "list")) == 1


def test_who_is_hit(chatctl: Chatctl) -> None:
    """An operator's account is banned only with --yes."""
    chatctl.add("olga")
    chatctl("user", "operator", "olga")
    assert "Add --yes" in chatctl.fails("ban", "add", "olga")
    assert chatctl("ban", "add", "olga", "--yes") == "olga is banned from the server.\n"


def test_what_is_no_ban(chatctl: Chatctl) -> None:
    chatctl.add("ana")
    assert "not a length of time" in chatctl.misused("ban", "add", "ana", "--for", "2y")
    assert "Leave out --room" in chatctl.misused("ban", "add", "192.0.2.7", "--room", "general")
    assert "Leave out --room" in chatctl.misused("ban", "remove", "192.0.2.7", "--room", "general")
    assert "neither an IPv4 or IPv6 address" in chatctl.fails("ban", "add", "192.0.2.777")
    assert "control character" in chatctl.fails("ban", "add", "ana", "--reason", "a\nb")
    assert chatctl.json("ban", "list") == []


def is_valid(chatctl: Chatctl, token: str) -> bool:
    engine = open_ready(parse_url(chatctl.database))
    with engine.begin() as db:
        (found,) = tokens.find(db, [tokens.token_hash(token)])
    engine.dispose()
    return found is not None


def test_tokens(chatctl: Chatctl) -> None:
    """A token is printed once, alone on its line, and is valid until it is revoked."""
    chatctl.add("ana")
    token = chatctl("token", "add", "ana", "ci").rstrip("\n")
    assert is_valid(chatctl, token)
    assert "already" in chatctl.fails("token", "add", "ana", "ci")
    other = chatctl.json("token", "add", "ANA", "build 2")
    assert (other["name"], other["label"]) == ("ana", "build 2")
    assert token not in chatctl("user", "show", "ana")
    assert chatctl.json("token", "revoke", "ana", "ci") == {"name": "ana", "label": "ci", "revoked": True}
    assert (is_valid(chatctl, token), is_valid(chatctl, other["token"])) == (False, True)
    assert chatctl.fails("token", "revoke", "ana", "ci") == "ana has no token ci. See: chatctl token list ana"
    assert "There is no user" in chatctl.fails("token", "add", "bob", "ci")
