"""Kept sessions: logging in again with a secret, what such a session may do, and how it ends."""

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import select, update

from chatserver.store.db.engine import open_engine, parse_url
from chatserver.store.db.schema import TokenRow
from chatserver.store.kept_sessions import SPENT_SECONDS, Chain
from tests.handlers.conftest import House
from tests.support.client import JsonClient, Message
from tests.support.process import wait_until

PASSWORD = "s3cret-words"


def keep(house: House, name: str, device: str = "laptop", **fields: object) -> tuple[JsonClient, str]:
    """Somebody logs in on a device whose session is kept. Returns its connection and its secret."""
    link = house.stranger()
    secret = link.ok("login", name=name, password=PASSWORD, keep=device, **fields)["secret"]
    return link, secret


def a_minute_passes(house: House) -> None:
    """Secrets that were replaced are older by that."""
    engine = open_engine(parse_url(house.server.database))
    with engine.begin() as db:
        for id, stored in db.execute(select(TokenRow.id, TokenRow.secret).where(TokenRow.secret.is_not(None))).all():
            chain = msgspec.json.decode(stored or "", type=Chain)
            spent = [replace(one, at=one.at - SPENT_SECONDS - 1) for one in chain.spent]
            aged = msgspec.json.encode(replace(chain, spent=spent)).decode()
            db.execute(update(TokenRow).where(TokenRow.id == id).values(secret=aged))
    engine.dispose()


def devices(link: JsonClient) -> list[Message]:
    return list(link.ok("sessions")["sessions"])


def test_a_device(house: House) -> None:
    """A secret logs in like the password, is another one each time, and is listed under the name of its device."""
    ana, bob = house.person("ana"), house.person("bob")
    link, first = keep(house, ana.name, "Firefox on Linux")
    again = house.stranger()
    answer = again.ok("login", secret=first, name="nobody", password="wrong")
    assert (answer["name"], answer["secret"] == first) == (ana.name, False)
    third = house.stranger()
    third.ok("login", secret=answer["secret"], keep="Chromium")
    (line,) = devices(again)
    assert (line["name"], line["address"], line["current"]) == ("Chromium", "127.0.0.1", True)
    assert line["created"] <= line["last_used"]
    (line,) = devices(ana.link)
    assert line["current"] is False
    assert devices(bob.link) == []
    assert bob.refused("sessions", end=line["id"]) == "bad-command"
    assert not {first, answer["secret"]} & {str(value) for value in line.values()}
    assert ana.ok("token", list=True)["tokens"] == []
    new = house.stranger()
    assert "secret" in new.ok("register", name=house.name("new"), password=PASSWORD, keep="phone")
    assert "secret" not in house.stranger().ok("login", name=ana.name, password=PASSWORD)
    link.ok("ping")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"keep": ""}, "empty"),
        ({"keep": " \u200b "}, "empty"),
        ({"keep": "x" * 65}, "too-long"),
        ({"keep": "a\nb"}, "bad-command"),
        ({"keep": True}, "bad-command"),
        ({"password": "", "keep": "laptop"}, "bad-command"),
        ({"token": "ct_x", "keep": "laptop"}, "bad-command"),
        ({"secret": "cs_x"}, "bad-credentials"),
        ({"secret": "x" * 201}, "too-long"),
        ({"secret": 7}, "bad-command"),
    ],
)
def test_what_cannot_be_kept(house: House, fields: dict[str, object], error: str) -> None:
    """A device has a name, and is kept with the password; anything else is refused, and nothing is kept."""
    ana = house.person("ana")
    assert house.stranger().refused("login", **({"name": ana.name, "password": PASSWORD} | fields)) == error
    assert devices(ana.link) == []


def test_what_takes_the_password(house: House) -> None:
    """A kept session may do everything; but changing the password or the name, making a token and erasing the account
    take the password again."""
    ana = house.person("ana")
    link, secret = keep(house, ana.name)
    link = house.stranger()
    link.ok("login", secret=secret)
    link.ok("say", room=ana.room("hall"), text="hello")
    assert link.refused("rename", display="Ana") == "bad-command"
    wrong = "wrong-words"
    assert link.refused("rename", display="Ana", password=wrong) == "bad-credentials"
    assert link.refused("token", label="ci") == "bad-command"
    assert link.refused("token", label="ci", password=wrong) == "bad-credentials"
    assert link.refused("password", old=wrong, new="another-one") == "bad-credentials"
    assert link.refused("forget", password=wrong) == "bad-credentials"
    link.ok("rename", display="Ana", password=PASSWORD)
    token = link.ok("token", label="ci", password=PASSWORD)["token"]
    ana.ok("rename", display="")
    bot = house.stranger()
    bot.ok("login", token=token)
    for fields in ({}, {"end": "others"}, {"end": devices(link)[0]["id"]}):
        assert bot.refused("sessions", **fields) == "not-allowed"
    link.ok("forget", password=PASSWORD)
    link.wait_closing()
    assert house.stranger().refused("login", secret=secret) == "bad-credentials"


def test_ends(house: House) -> None:
    """A session ends by its number, with all others, or by logging out on its device: its connections end, and its
    secret is of no use."""
    ana = house.person("ana")
    one, first = keep(house, ana.name, "one")
    two, second = keep(house, ana.name, "two")
    three, _ = keep(house, ana.name, "three")
    ids = {line["name"]: line["id"] for line in devices(ana.link)}
    two.ok("sessions", end=ids["one"])
    assert one.wait_closing()["reason"] == "session-ended"
    assert house.stranger().refused("login", secret=first) == "bad-credentials"
    for wrong in (0, -1, 1.5, "other", True, [ids["two"]]):
        assert two.refused("sessions", end=wrong) == "bad-command"
    two.ok("sessions", end="others")
    assert three.wait_closing()["reason"] == "session-ended"
    assert [line["name"] for line in devices(two)] == ["two"]
    other = house.stranger()
    second = other.ok("login", secret=second)["secret"]
    two.ok("logout")
    assert two.wait_closing()["reason"] == "logout"
    assert other.wait_closing()["reason"] == "session-ended"
    assert house.stranger().refused("login", secret=second) == "bad-credentials"
    assert devices(ana.link) == []
    _, last = keep(house, ana.name)
    quitting = house.stranger()
    last = quitting.ok("login", secret=last)["secret"]
    quitting.ok("quit")
    house.stranger().ok("login", secret=last)


def test_a_new_password(house: House) -> None:
    """It ends all kept sessions but the one in which it is given, and says how many; with others that alone stays."""
    ana = house.person("ana")
    here, secret = keep(house, ana.name, "here")
    there, gone = keep(house, ana.name, "there")
    here.ok("password", old=PASSWORD, new="another-one")
    assert there.wait_closing()["reason"] == "session-ended"
    ana.ok("ping")
    assert [line["name"] for line in devices(here)] == ["here"]
    assert house.stranger().refused("login", secret=gone) == "bad-credentials"
    here.ok("password", old="another-one", new=PASSWORD, others=True)
    assert ana.link.wait_closing()["reason"] == "password"
    here.ok("ping")
    house.stranger().ok("login", secret=secret)


def test_an_old_secret(house: House) -> None:
    """A secret that somebody uses a minute after it was replaced ends the session, says so, and counts as a failure."""
    ana = house.person("ana")
    _, first = keep(house, ana.name)
    link = house.stranger()
    second = link.ok("login", secret=first)["secret"]
    a_minute_passes(house)
    assert house.stranger().refused("login", secret=first) == "bad-credentials"
    closing = link.wait_closing()
    assert (closing["reason"], "copied" in closing["text"]) == ("session-ended", True)
    assert house.stranger().refused("login", secret=second) == "bad-credentials"
    wait_until(
        lambda: "audit: copied-secret address=127.0.0.1 name=" in "".join(server.log for server in house.servers),
        what="it is logged",
    )
