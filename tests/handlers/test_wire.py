"""The part of `test_matrix` that matters most, on the wire: private rooms from outside."""

from typing import Any

import msgspec

from chatserver.values import commands as c
from tests.handlers.acts import acts
from tests.handlers.conftest import House
from tests.support.client import JsonClient, Message


def told(client: JsonClient, command: c.Command) -> Message:
    """The answer to a command, without its tag."""
    fields: dict[str, Any] = msgspec.to_builtins(command)
    word = fields.pop("cmd")
    answer = client.cmd(word, **{name: value for name, value in fields.items() if value is not None})
    del answer["tag"]
    return answer


def test_from_outside(house: House) -> None:
    """From outside, a private room looks word for word like none. A client that is not logged in learns of no room."""
    ana, bob, guest = house.person("ana"), house.person("bob"), house.stranger()
    guest.ok("guest")
    den = ana.room("den", private=True)
    there, nowhere = acts(den), acts("nowhere")
    for act, command in there.items():
        if type(command) not in c.COMMANDS or getattr(command, "seq", 1) is None:  # for people only
            continue
        for client in (bob.link, guest):
            answers = [told(client, one) for one in (command, nowhere[act])]
            assert not answers[0]["ok"]
            for answer in answers:
                answer["text"] = answer["text"].replace(f"room {den}.", "room nowhere.")
            assert answers[0] == answers[1], act
        stranger = house.stranger()
        assert told(stranger, command)["error"] == "login-required"
        stranger.close()
    assert den not in str([*bob.link.events, *guest.events])
