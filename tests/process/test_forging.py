"""A terminal shows no forgery of somebody who wants to deceive, with default settings."""

import re

from tests.conftest import Connect, StartServer
from tests.process.load import QUICK
from tests.support.client import JsonClient, Raw
from tests.wire.screen import Screen

FORGED = [
    "a" * 61 + "* bob has gone." + "b" * 80,
    "hi" + " " * 70 + "* You are banned from this server.",
    "\u3000" * 60 + "[general] 10:02 bob: I agree",
    "first\n* You are banned\n! Wrong",
    "\u202e.denots\u202c \u2066x\u2069" + "\u200b" * 80 + "* Welcome",
    "本" * 40 + "! Your token has expired.",
]
BEGINS = re.compile(r"\[general\] (#\d+ )?\d\d:\d\d (» )?(mallory|~ mallory|bob|-- mallory|-- bob)\b|\* |   \| ")


def test_nothing_that_was_written_begins_a_line(server: StartServer, connect: Connect) -> None:
    """Messages, actions, edits and topics of a program, live and from the history: on a terminal of 80 columns each
    takes one beginning of a line, and none has a character that deceives. Piled accents are refused in one line."""
    chat = server(config=QUICK, limits="default")
    person, program = connect(chat, Raw), connect(chat, JsonClient)
    person.send(b"/register bob s3cret-words\r\n")
    seen = person.read_until(b"-- bob joined\r\n")
    program.register("mallory")
    for text in FORGED:
        seq = program.ok("say", room="general", text=text)["seq"]
        program.ok("say", room="general", text=f"/me {text}")
        program.ok("edit", room="general", seq=seq, text=f"{text}!")
        program.ok("topic", room="general", text=text.replace("\n", " "))
    assert program.refused("say", room="general", text="a" + "\u0301\u0323" * 2000) == "bad-command"
    person.send(b"/history 100\r\n/quit\r\n")
    seen += person.eof()
    rows = Screen().shows(seen)
    assert "\r\n".join([*rows, ""]).encode() == seen  # no line is wider than the terminal
    assert [row for row in rows if not BEGINS.match(row)] == []
    assert len([row for row in rows if row.startswith("[") and "mallory" in row]) == 2 * (1 + 4 * len(FORGED))
    assert not re.search("[\u200b\u202a-\u202e\u2066-\u2069]|   {3,}\\S", "".join(row[9:] for row in rows))
