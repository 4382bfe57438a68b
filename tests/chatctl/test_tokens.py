"""`chatctl token`: what new tokens are good for."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import update

from chatserver.store import rooms, tokens
from chatserver.store.db.engine import open_ready, parse_url
from chatserver.store.db.schema import TokenRow
from chatserver.values.token_scope import Scope
from tests.chatctl.conftest import Chatctl


def scope(chatctl: Chatctl, token: str) -> Scope | None:
    """The scope of a token; None if it is not valid."""
    engine = open_ready(parse_url(chatctl.database))
    with engine.begin() as db:
        (found,) = tokens.find(db, [tokens.token_hash(token)])
        scopes = tokens.scopes(db, [found[0]]) if found else {}
    engine.dispose()
    return next(iter(scopes.values()), None)


def made(chatctl: Chatctl, *options: str) -> dict[str, Any]:
    value: dict[str, Any] = chatctl.json("token", "add", "ana", *options)
    return value


def test_restricted_tokens(chatctl: Chatctl) -> None:
    """A token lasts, and is good, for everything unless an option says otherwise."""
    chatctl.add("ana")
    assert scope(chatctl, made(chatctl, "ci")["token"]) == Scope()
    short = made(chatctl, "short", "--expires", "2h", "--read-only")
    left = datetime.fromisoformat(short["expires"]) - datetime.now(UTC)
    assert timedelta(minutes=119) < left <= timedelta(minutes=120)
    found = scope(chatctl, short["token"])
    assert found is not None
    assert (found.read_only, found.room_id, 7000 < (found.seconds or 0) <= 7200) == (True, 0, True)
    one = scope(chatctl, made(chatctl, "one", "--room", "General")["token"])
    assert one is not None
    assert one.room_id > 0
    shown = {token["label"]: token for token in chatctl.json("user", "show", "ana")["tokens"]}
    assert (shown["one"]["room"], shown["short"]["read_only"], "expires" in shown["ci"]) == ("general", True, False)


def test_an_expired_token(chatctl: Chatctl) -> None:
    """An expired token is not valid, is not shown, and does not keep its label."""
    chatctl.add("ana")
    token = made(chatctl, "ci", "--expires", "1h")["token"]
    engine = open_ready(parse_url(chatctl.database))
    with engine.begin() as db:
        db.execute(update(TokenRow).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    engine.dispose()
    assert scope(chatctl, token) is None
    assert chatctl.json("user", "show", "ana")["tokens"] == []
    assert chatctl.fails("token", "revoke", "ana", "ci") == "ana has no token ci. See: chatctl token list ana"
    assert scope(chatctl, made(chatctl, "ci")["token"]) == Scope()


def test_list(chatctl: Chatctl) -> None:
    """The list has the valid tokens of all accounts, or of one, with what each is good for, and never a secret."""
    chatctl.add("ana", "bob")
    secrets = [made(chatctl, "ci", "--expires", "1h"), made(chatctl, "old"), made(chatctl, "one", "--room", "general")]
    chatctl("token", "add", "bob", "reader", "--read-only")
    chatctl("token", "revoke", "ana", "old")
    listed = chatctl.json("token", "list")
    assert [(line["name"], line["label"], line["read_only"], line.get("room")) for line in listed] == [
        ("ana", "ci", False, None),
        ("ana", "one", False, "general"),
        ("bob", "reader", True, None),
    ]
    assert (listed[0]["expires"], "last_used" in listed[0]) == (secrets[0]["expires"], False)
    assert chatctl.json("token", "list", "BOB") == listed[2:]
    text = chatctl("token", "list")
    assert [line.split()[:2] for line in text.splitlines()] == [["ana", "ci"], ["ana", "one"], ["bob", "reader"]]
    assert [line.split()[-1] for line in text.splitlines()] == ["all", "general", "read-only"]
    assert text.splitlines()[1].split()[3:5] == ["never", "never"]
    for secret in secrets:
        everything = text + str(listed)
        assert secret["token"] not in everything
        assert tokens.token_hash(secret["token"]) not in everything
    assert "There is no user" in chatctl.fails("token", "list", "cai")


def test_what_is_no_token(chatctl: Chatctl) -> None:
    """A wrong option creates nothing, and the message says what is wrong."""
    chatctl.add("ana")
    assert "not a length of time" in chatctl.misused("token", "add", "ana", "ci", "--expires", "soon")
    assert (
        chatctl.fails("token", "add", "ana", "ci", "--room", "attic")
        == "There is no room attic. See: chatctl room list"
    )
    engine = open_ready(parse_url(chatctl.database))
    with engine.begin() as db:
        rooms.ensure(db, ["den"], datetime.now(UTC))
    engine.dispose()
    assert chatctl.fails("token", "add", "ana", "ci", "--room", "den") == (
        "ana is not in den. A token is for a room that its user is in."
    )
    assert chatctl.json("user", "show", "ana")["tokens"] == []
