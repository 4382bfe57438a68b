"""Guests, tokens, passwords, registration codes, and erasing an account."""

import pytest
from sqlalchemy import select

from chatserver.store.db.engine import open_engine, parse_url
from chatserver.store.db.schema import AccountRow, EntryRow
from tests.conftest import Connect, StartServer
from tests.handlers.conftest import House
from tests.process.load import QUICK
from tests.support.client import JsonClient, Message
from tests.support.process import wait_until


def stored_texts(house: House, author: str) -> set[str]:
    """All texts in the database that an account wrote, erased or not."""
    engine = open_engine(parse_url(house.server.database))
    with engine.connect() as db:
        mine = select(AccountRow.id).where(AccountRow.name_key == author.lower()).scalar_subquery()
        found = set(db.scalars(select(EntryRow.text).where(EntryRow.author_id == mine)))
    engine.dispose()
    return found


def test_guests(house: House) -> None:
    """A guest has a number that no guest had before, can only join public rooms, and leaves them on disconnecting."""
    ana = house.person("ana")
    hall, den = ana.room("hall"), ana.room("den", private=True)
    names = []
    for _ in range(2):
        guest = house.stranger()
        names.append(guest.ok("guest")["name"])
        guest.ok("join", room=hall)
        guest.say(hall, f"hello from {names[-1]}")
        assert guest.refused("say", room=f"@{ana.name}", text="psst") == "not-allowed"
        assert ana.refused("say", room=f"@{names[-1]}", text="psst") == "not-allowed"
        assert ana.refused("invite", room=den, name=names[-1]) == "not-allowed"
        assert guest.refused("password", old="", new="s3cret-words") != "ok"
        guest.close()
        assert ana.link.wait_event("left")["name"] == names[-1]
        assert [line["name"] for line in ana.ok("members", room=hall)["members"]] == [ana.name]
    assert all(name[0] == "~" and name[1:].isdecimal() for name in names)
    assert len(set(names)) == 2
    stranger = house.stranger()
    assert stranger.refused("register", name=names[0], password="s3cret-words") == "bad-name"
    assert ana.refused("who", name="~0") == "no-such-user"


def test_no_guests(server: StartServer, connect: Connect) -> None:
    """Guests are refused unless the settings allow them."""
    assert connect(server(config=QUICK), JsonClient).refused("guest") == "not-allowed"


def test_codes(server: StartServer, connect: Connect) -> None:
    """If registering needs a code, a wrong or missing one is refused; logging in needs none."""
    one = server(config=QUICK + '[server]\nregistration = "code"\nregistration_code = "open sesame"\n')
    ana = connect(one, JsonClient)
    fields = {"name": "ana", "password": "s3cret-words"}
    for code in ({}, {"code": ""}, {"code": "open"}, {"code": "open sesame!"}):
        assert ana.refused("register", **fields, **code) == "closed-registration"
    ana.ok("register", **fields, code="open sesame")
    connect(one, JsonClient).login("ana")


def test_tokens(house: House) -> None:
    """A token is valid until it is revoked, which ends the connections that logged in with it, and no others."""
    ana, bob = house.person("ana"), house.person("bob")
    made = {label: ana.ok("token", label=label, password="s3cret-words")["token"] for label in ("ci", "bot")}
    assert ana.refused("token", label="ci", password="s3cret-words") == "bad-command"
    assert ana.refused("token", label="cd", password="wrong-words") == "bad-credentials"
    links = {label: house.stranger() for label in made}
    for label, link in links.items():
        assert link.ok("login", token=made[label])["name"] == ana.name
    wait_until(lambda: all("last_used" in line for line in ana.ok("token", list=True)["tokens"]), what="both are used")
    listed = ana.ok("token", list=True)["tokens"]
    assert [line["label"] for line in listed] == ["ci", "bot"]
    assert not set(made.values()) & {str(value) for line in listed for value in line.values()}
    assert bob.ok("token", list=True)["tokens"] == []
    assert bob.refused("token", revoke="ci") == "bad-command"
    ana.ok("token", revoke="ci")
    assert links["ci"].wait_closing()["reason"] == "token-revoked"
    assert house.stranger().refused("login", token=made["ci"]) == "bad-credentials"
    links["bot"].ok("ping")
    ana.ok("ping")
    house.stranger().ok("login", token=made["bot"])
    ana.ok("token", label="ci", password="s3cret-words")


def test_restricted_tokens(house: House) -> None:
    """A token that reads one room, for some seconds: no other room is there, nothing is changed, and the connection
    ends with the token."""
    ana, bob = house.person("ana"), house.person("bob")
    den, hall = ana.room("den", bob), ana.room("hall", bob)
    fields = {"label": "bot", "password": "s3cret-words", "room": den, "read_only": True, "seconds": 4}
    made = ana.ok("token", **fields)
    bot = house.stranger()
    assert [line["room"] for line in bot.ok("login", token=made["token"])["rooms"]] == [den]
    assert bot.refused("say", room=den, text="hello") == "not-allowed"
    assert bot.refused("history", room=hall) == "no-such-room"
    bob.ok("say", room=hall, text="not for the bot")
    bob.ok("say", room=den, text="for the bot")
    assert bot.wait_event("message")["text"] == "for the bot"
    assert bot.wait_closing()["reason"] == "token-expired"
    assert house.stranger().refused("login", token=made["token"]) == "bad-credentials"
    assert ana.ok("token", list=True)["tokens"] == []


def test_passwords(house: House) -> None:
    """A new password replaces the old one. The account's other connections end if the command says so."""
    ana = house.person("ana")
    first, last = ana.link, ana.again()
    assert last.refused("password", old="wrong-words", new="other-words") == "bad-credentials"
    assert last.refused("password", old="s3cret-words", new="short") == "bad-password"
    last.ok("password", old="s3cret-words", new="other-words")
    first.ok("ping")
    last.ok("password", old="other-words", new="third-words", others=True)
    assert first.wait_closing()["reason"] == "password"
    last.ok("ping")
    stranger = house.stranger()
    assert stranger.refused("login", name=ana.name, password="other-words") == "bad-credentials"
    stranger.login(ana.name, "third-words")


def test_talking_with_who_is_erased(house: House) -> None:
    """Direct messages with an erased person can still be read under the name that is shown, but not answered."""
    ana, bob = house.person("ana"), house.person("bob")
    bob.ok("say", room=f"@{ana.name}", text="my words")
    bob.ok("forget", password="s3cret-words")
    bob.link.wait_closing()
    ana.again()
    [line] = ana.ok("unread")["rooms"]
    assert [entry["text"] for entry in ana.ok("history", room=line["room"])["entries"]] == ["my words"]
    assert ana.refused("say", room=line["room"], text="are you there?") in ("blocked", "no-such-user")


@pytest.mark.parametrize("messages", ["keep", "erase"])
def test_forgetting(house: House, messages: str) -> None:
    """Erasing an account ends all its connections and memberships. Its name is never reused. Its messages stay without
    the name, or are deleted from the database."""
    ana, bob = house.person("ana"), house.person("bob")
    hall = ana.room("hall", bob)
    seq = bob.ok("say", room=hall, text="my words")["seq"]
    bob.ok("edit", room=hall, seq=seq, text="my better words")
    bob.ok("say", room=f"@{ana.name}", text="my secret")
    token = bob.ok("token", label="ci", password="s3cret-words")["token"]
    other = house.stranger()
    other.ok("login", token=token)
    assert bob.refused("forget", password="wrong-words") == "bad-credentials"
    bob.ok("forget", password="s3cret-words", messages=messages)
    for link in (bob.link, other):
        assert link.wait_closing()["reason"] == "erased"
    ana.link.wait_event("left")
    assert [line["name"] for line in ana.ok("members", room=hall)["members"]] == [ana.name]
    entries: list[Message] = ana.ok("history", room=hall)["entries"]
    [said] = [entry for entry in entries if entry["seq"] == seq]
    assert said["from"] not in (bob.name, ana.name)
    assert said.get("text") == ("my better words" if messages == "keep" else None)
    assert bob.name not in str(entries)
    kept = {"my better words", "my secret"} if messages == "keep" else set()
    assert {text for text in stored_texts(house, bob.name) if text.startswith("my ")} == kept
    assert len(ana.ok("search", text="secret")["entries"]) == (1 if messages == "keep" else 0)
    stranger = house.stranger()
    assert stranger.refused("login", token=token) == "bad-credentials"
    assert stranger.refused("login", name=bob.name, password="s3cret-words") == "bad-credentials"
    assert stranger.refused("register", name=bob.name.upper(), password="s3cret-words") == "name-taken"
    assert ana.refused("who", name=bob.name) == "no-such-user"


def test_exporting(house: House) -> None:
    """An export has, in pages, the account and every entry that it wrote, in all rooms, and nothing else."""
    ana, bob = house.person("ana"), house.person("bob")
    den, hall = ana.room("den", bob, private=True), bob.room("hall", ana)
    for n in range(7):
        ana.ok("say", room=den, text=f"den {n}")
        bob.ok("say", room=den, text=f"not mine {n}")
    ana.ok("say", room=f"@{bob.name}", text="direct")
    ana.ok("leave", room=den)
    ana.ok("say", room=hall, text="the end")
    bob.ok("delete", room=hall)
    pages, after = [], ""
    while True:
        page = ana.ok("export", after=after, limit=4)
        pages.append(page)
        if "next" not in page:
            break
        after = page["next"]
        assert len(page["entries"]) == 4
    assert pages[0]["account"]["name"] == ana.name
    assert all("account" not in page for page in pages[1:])
    entries = [entry for page in pages for entry in page["entries"]]
    assert [entry["text"] for entry in entries if entry["event"] == "message"] == [
        *(f"den {n}" for n in range(7)), "the end", "direct"
    ]  # fmt: skip
    assert {entry.get("from", entry.get("by", entry.get("name"))) for entry in entries} == {ana.name}
    events = [(entry["room"], entry["event"]) for entry in entries if entry["event"] != "message"]
    assert events == [(den, "created"), (den, "left"), (hall, "joined")]
    assert ana.refused("export", after="x") == "bad-command"
