"""`chatctl user sessions`: the devices on which somebody stays logged in."""

from datetime import UTC, datetime

from chatserver.store import accounts, kept_sessions
from chatserver.store.db.engine import open_ready, parse_url
from tests.chatctl.conftest import Chatctl

AT = datetime(2026, 3, 2, 10, 2, tzinfo=UTC)


def keep(chatctl: Chatctl, name: str, device: str) -> int:
    engine = open_ready(parse_url(chatctl.database))
    with engine.begin() as db:
        account = accounts.find(db, name)
        assert account is not None
        made = kept_sessions.create(db, account.id, device, "192.0.2.7", AT)
    engine.dispose()
    assert made is not None
    return made[0]


def test_sessions(chatctl: Chatctl) -> None:
    """They are listed, and end one at a time or all at once; a new password ends them, too."""
    chatctl.add("ana")
    assert chatctl.json("user", "sessions", "ana") == []
    one, two, three = (keep(chatctl, "ana", device) for device in ("laptop", "phone\u202e", "page"))
    listed = chatctl.json("user", "sessions", "ana")
    assert (listed[0]["id"], listed[0]["name"], listed[0]["address"]) == (one, "laptop", "192.0.2.7")
    assert set(listed[0]) == {"id", "name", "address", "created", "last_used"}
    text = chatctl("user", "sessions", "ana")
    assert "laptop" in text
    assert "\u202e" not in text
    assert chatctl("user", "sessions", "ana", "--end", str(two)) == f"The session {two} of ana has ended.\n"
    assert "has no session" in chatctl.fails("user", "sessions", "ana", "--end", str(two))
    assert chatctl.json("user", "sessions", "ana", "--all") == {"name": "ana", "ended": [one, three]}
    chatctl.misused("user", "sessions", "ana", "--all", "--end", "1")
    chatctl.fails("user", "sessions", "nobody")
    keep(chatctl, "ana", "tablet")
    chatctl("user", "password", "ana", "--password-stdin", typed="another-s3cret\n")
    assert chatctl.json("user", "sessions", "ana") == []
