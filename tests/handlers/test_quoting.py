"""Quotes on people's screens: what a reply answers is shown to those who may read it, and to nobody else."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from chatserver.delivery.rendering import Batch
from chatserver.store import quotes
from chatserver.values import commands as c
from chatserver.values.events import Entry
from tests.support.hall import PASSWORD, Client, Hall


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    one = Hall(tmp_path)
    yield one
    one.close()


def person(hall: Hall, name: str) -> Client:
    """Somebody at a terminal, logged in."""
    return hall.client().type(f"/register {name} {PASSWORD}")


def replies(client: Client) -> list[str]:
    """The lines about replies that this person has been shown."""
    return [line.partition("ana ")[2] for line in client.lines if "(re #" in line]


def notices(client: Client) -> list[str]:
    """The lines about what *ana* did to messages that this person has been shown."""
    return [
        line.partition("-- ana ")[2] for line in client.lines if "-- ana reacted" in line or "-- ana pinned" in line
    ]


def test_who_sees_a_quote(hall: Hall) -> None:
    """Live, everybody sees what a reply answers if all who are in the room may read that, and nobody otherwise. In the
    history each sees what they may read."""
    ana, bob = hall.program("ana"), person(hall, "bob")
    ana.post("create", room="den", visibility="private")
    ana.post("invite", room="den", name="bob")
    bob.type("/join den")
    ana.say("hello", "den")
    hello = ana.answers[-1]["seq"]
    ana.post("reply", room="den", seq=hello, text="one")
    assert replies(bob) == [f"(re #{hello} ana: hello): one"]
    cai = person(hall, "cai")
    ana.post("invite", room="den", name="cai")
    cai.type("/join den")
    ana.post("reply", room="den", seq=hello, text="two")
    assert replies(bob)[1:] == replies(cai) == [f"(re #{hello}): two"]
    for one in (bob, cai):
        one.type("/history den", "/search #den two", f"/pin den {ana.answers[-1]['seq']}", "/pins den")
    assert replies(bob)[2:] == [f"(re #{hello} ana: hello): {text}" for text in ("one", "two", "two", "two")]
    assert replies(cai)[1:] == [f"(re #{hello}): two"] * 3
    ana.post("erase", room="den", seq=hello)
    before = len(replies(bob))
    bob.type("/history den")
    assert replies(bob)[before:] == [f"(re #{hello} ana): {text}" for text in ("one", "two")]


def test_a_reader_who_is_behind(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads slowly, or comes back, sees quotes as well. For programs nothing is looked up."""
    asked = []
    looked_up = quotes.quoted_for_all

    def counted(db: Any, room_id: int, page: Sequence[Entry]) -> list[Entry] | None:
        asked.append(room_id)
        return looked_up(db, room_id, page)

    monkeypatch.setattr(quotes, "quoted_for_all", counted)
    ana, bob, cai = hall.program("ana"), person(hall, "bob"), hall.program("cai")
    ana.say("hello")
    hello = ana.answers[-1]["seq"]
    for one in (bob, cai):
        one.wire.room = 0
    ana.say("x" * 4000)
    for _ in range(8):
        ana.say("y" * 4000)
    ana.post("reply", room="general", seq=hello, text="yes")
    assert replies(bob) == []
    cai.read()
    assert cai.events[-1]["re"] == hello
    assert asked == []
    bob.read()
    assert replies(bob) == [f"(re #{hello} ana: hello): yes"]
    assert len(asked) == 1
    back = person(hall, "bob2")
    back.type("/quit")
    again = hall.client().type(f"/login bob {PASSWORD}")
    assert replies(again) == [f"(re #{hello} ana: hello): yes"]


def test_readers_who_are_behind_in_a_private_room(hall: Hall) -> None:
    """Those who read the same page of a private room together see the quotes of what each may read."""
    ana, bob, cai = hall.program("ana"), person(hall, "bob"), person(hall, "cai")
    ana.post("create", room="den", visibility="private")
    for one, name in ((bob, "bob"), (cai, "cai")):
        ana.post("invite", room="den", name=name)
        if one is cai:
            ana.say("hello", "den")
        one.type("/join den")
        one.wire.room = 0
    for _ in range(9):
        ana.say("x" * 4000, "den")
    ana.post("reply", room="den", seq=ana.answers[-10]["seq"], text="yes")
    hall.inline.hold()
    bob.read()
    cai.read()
    hall.inline.release()
    hall.settle()
    assert replies(bob)[0].endswith("ana: hello): yes")
    assert replies(cai)[0].endswith("): yes")
    assert "hello" not in "".join(cai.lines)


def test_a_quote_of_somebody_who_is_ignored(hall: Hall) -> None:
    """Who ignores somebody is not shown what they said by others who answer it, neither live nor in the history."""
    ana, bob, cai = hall.program("ana"), person(hall, "bob"), person(hall, "cai")
    hall.program("dan").say("hello")
    hello = ana.events[-1]["seq"]
    bob.type("/ignore dan")
    for text in ("one", "two"):
        ana.post("reply", room="general", seq=hello, text=text)
    assert replies(cai) == [f"(re #{hello} dan: hello): {text}" for text in ("one", "two")]
    bob.type("/history", "/search two")
    assert replies(bob) == [f"(re #{hello}): {text}" for text in ("one", "two", "one", "two", "two")]


def test_notices_quote_what_they_are_about(hall: Hall) -> None:
    """Whoever sees that somebody reacted to a message, or pinned it, sees its beginning, live and in the history, if
    they may read it, and do not ignore its author. A notice is no answer: nobody is marked or rung by it."""
    ana, bob, cai = hall.program("ana"), person(hall, "bob"), person(hall, "cai")
    cai.type("/ignore bob")
    bob.type("/set bell mentions", "hello from me")
    hello = ana.events[-1]["seq"]
    ana.post("react", room="general", seq=hello, reaction="+1")
    ana.post("pin", room="general", seq=hello)
    for one in (bob, cai):
        one.type("/history")
    assert (
        notices(bob) == [f"reacted to #{hello} (bob: hello from me): +1", f"pinned #{hello} (bob: hello from me)"] * 2
    )
    assert notices(cai) == [f"reacted to #{hello}: +1", f"pinned #{hello}"] * 2
    assert "»" not in bob.seen.decode()
    assert b"\a" not in bob.seen
    ana.post("create", room="den", visibility="private")
    ana.say("secret", "den")
    secret = ana.answers[-1]["seq"]
    ana.post("invite", room="den", name="bob")
    bob.type("/join den")
    ana.post("react", room="den", seq=secret, reaction="+1")
    assert notices(bob)[4:] == [f"reacted to #{secret}: +1"]
    assert "secret" not in bob.seen.decode()


def test_what_came_of_replies(hall: Hall) -> None:
    """Replies share a take with other messages, and are counted as commands of their own."""
    ana = hall.program("ana")
    ana.say("hello")
    hello, before = ana.answers[-1]["seq"], hall.inline.appends
    said = [("say", {"text": "a"}), ("reply", {"seq": hello, "text": "b"}), ("reply", {"seq": 999, "text": "c"})]
    lines = [json.dumps({"cmd": cmd, "room": "general"} | fields) for cmd, fields in said]
    ana.type(*lines)
    assert [answer.get("error", "ok") for answer in ana.answers[-3:]] == ["ok", "ok", "bad-command"]
    assert hall.inline.appends == before + 1
    counts = hall.processors.counts.all()
    assert (counts[c.Say, "ok"], counts[c.Reply, "ok"], counts[c.Reply, "bad-command"]) == (2, 1, 1)


def test_an_answer_is_a_mention(hall: Hall) -> None:
    """A reply is marked for the person whom it answers, live, in the history and in a room where some may not read what
    it answers; and rings the bell of those who want to hear of mentions. Nobody else is concerned, nor who answers
    themselves."""
    ana, bob, cai = hall.program("ana"), person(hall, "bob"), person(hall, "cai")
    for one in (bob, cai):
        one.type("/set bell mentions", "hello from me")
    [hello] = [event["seq"] for event in ana.events if event.get("text") == "hello from me" and event["from"] == "bob"]
    before = len(bob.seen), len(cai.seen)
    ana.post("reply", room="general", seq=hello, text="yes")
    bob.type(f"/reply {hello} indeed", "/history")
    shown = f"ana (re #{hello} bob: hello from me): yes"
    answered, other = bob.seen[before[0] :].decode(), cai.seen[before[1] :].decode()
    assert (answered.count(f"» {shown}\a\r\n"), answered.count(f"» {shown}\r\n")) == (1, 1)
    assert answered.count("»") == 2
    assert f" {shown}\r\n" in other
    assert "»" not in other
    assert "\a" not in other
    ana.post("create", room="den", visibility="private")
    ana.post("invite", room="den", name="bob")
    bob.type("/join den", "first", "/mentions")
    first = ana.events[-1]["seq"]
    ana.post("invite", room="den", name="cai")
    cai.type("/join den")
    ana.post("reply", room="den", seq=first, text="secretly")
    assert bob.lines[-1].endswith(f"» ana (re #{first}): secretly\a")
    assert cai.lines[-1].endswith(f" ana (re #{first}): secretly")


def test_an_answer_beside_a_quote_that_is_ignored(hall: Hall) -> None:
    """Who ignores somebody is still told that another message of the same batch answers them."""
    ana, bob = hall.program("ana"), person(hall, "bob")
    bob.type("mine")
    hall.program("dan").say("hello")
    mine, hello = (event["seq"] for event in ana.events if event["event"] == "message")
    bob.type("/ignore dan")
    lines = [{"cmd": "reply", "room": "general", "seq": seq, "text": text} for seq, text in ((hello, "a"), (mine, "b"))]
    ana.type(*map(json.dumps, lines))
    assert replies(bob) == [f"(re #{hello}): a", f"(re #{mine}): b"]
    assert [line.partition("ana")[0] for line in bob.lines[-2:]] == ["[general] 10:02 ", "[general] 10:02 » "]


def quoting(hall: Hall, name: str) -> Client:
    """A program that is logged in, and is sent quotes."""
    return hall.client().post("register", name=name, password=PASSWORD, quotes=True)


def quotes_in(client: Client) -> list[Any]:
    """What the replies quote that this program has been sent as events; None for those without a quote."""
    return [event.get("quote") for event in client.events if "re" in event]


def asked(client: Client, cmd: str, **fields: Any) -> list[Any]:
    """The quotes of replies in the answer to a command."""
    client.post(cmd, **fields)
    return [entry.get("quote") for entry in client.answers[-1]["entries"] if "re" in entry]


def test_a_program_that_is_sent_quotes(hall: Hall) -> None:
    """A program that asks for quotes in its login is sent the author and the beginning of what a reply answers, live
    and when it resumes, as it is by then. Others are sent the bytes that they were always sent. In answers they come if
    the command asks for them."""
    ana, bob, cai = hall.program("ana"), quoting(hall, "bob"), hall.program("cai")
    ana.post("rename", display="José")
    ana.say("one\ntwo " + "x" * 189 + "e\u0301👩‍👩‍👧")
    hello = ana.answers[-1]["seq"]
    ana.post("reply", room="general", seq=hello, text="yes")
    quote = {"seq": hello, "from": "ana", "display": "José", "text": "one\ntwo " + "x" * 189 + "é"}
    assert quotes_in(bob) == [quote]
    assert quotes_in(ana) == quotes_in(cai) == [None]
    yes = ana.answers[-1]["seq"]
    cai.post("pin", room="general", seq=yes)
    for one in (bob, cai):
        for cmd, fields in (("history", {}), ("search", {"text": "yes"}), ("pins", {})):
            asked_for = {"room": "general", **fields}
            assert asked(one, cmd, **asked_for, quotes=True) == [quote], cmd
            assert asked(one, cmd, **asked_for) == [None], cmd
    ana.post("edit", room="general", seq=hello, text="better")
    again = hall.client().post("login", name="bob", password=PASSWORD, resume={"general": hello - 1}, quotes=True)
    assert quotes_in(again) == [quote | {"text": "better"}]
    ana.post("erase", room="general", seq=hello)
    erased = {"seq": hello, "from": "ana", "display": "José", "erased": True}
    assert asked(cai, "history", room="general", quotes=True) == [erased]
    again = hall.client().post("login", name="cai", password=PASSWORD, resume={"general": 0})
    assert quotes_in(again) == [None]


def test_what_a_program_may_not_read_is_not_quoted(hall: Hall) -> None:
    """Programs are sent quotes by the rules that hold for people: live if all in the room may read what is quoted, when
    they resume and in answers if they may read it themselves."""
    ana, bob = quoting(hall, "ana"), hall.program("bob")
    quoted = hall.client().post("login", name="bob", password=PASSWORD, quotes=True)
    ana.post("create", room="den", visibility="private")
    ana.say("hello", "den")
    hello = ana.answers[-1]["seq"]
    ana.post("reply", room="den", seq=hello, text="one")
    ana.post("invite", room="den", name="bob")
    bob.post("join", room="den")
    ana.post("reply", room="den", seq=hello, text="two")
    quote = {"seq": hello, "from": "ana", "text": "hello"}
    assert quotes_in(ana) == [quote, None]
    assert quotes_in(quoted) == [None]
    assert asked(ana, "history", room="den", quotes=True) == [quote, quote]
    assert asked(bob, "history", room="den", quotes=True) == [None]
    for name, found in (("ana", [quote, quote]), ("bob", [None])):
        again = hall.client().post("login", name=name, password=PASSWORD, resume={"den": 0}, quotes=True)
        assert quotes_in(again) == found


def test_a_program_is_sent_no_quotes_of_whom_its_account_ignores(hall: Hall) -> None:
    """A program is sent no quote of an account that its own ignores, and again once it does not any more; others in the
    room are. Everything else it is sent: programs hide that themselves."""
    ana, bob, cai, dan = hall.program("ana"), quoting(hall, "bob"), quoting(hall, "cai"), hall.program("dan")
    dan.say("hello")
    hello = dan.answers[-1]["seq"]
    quote = {"seq": hello, "from": "dan", "text": "hello"}
    ana.post("reply", room="general", seq=hello, text="one")
    bob.post("ignore", name="dan")
    ana.post("reply", room="general", seq=hello, text="two")
    assert asked(bob, "history", room="general", quotes=True) == [None, None]
    assert asked(cai, "history", room="general", quotes=True) == [quote, quote]
    again = hall.client().post("login", name="bob", password=PASSWORD, resume={"general": 0}, quotes=True)
    bob.post("unignore", name="dan")
    ana.post("reply", room="general", seq=hello, text="three")
    assert quotes_in(bob) == [quote, None, quote]
    assert quotes_in(cai) == [quote, quote, quote]
    assert quotes_in(again) == [None, None, quote]
    assert "hello" in bob.said


def test_a_form_with_quotes_is_rendered_once(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply is rendered once for all programs without quotes, and once for all with."""
    rendered = []
    render = Batch._render

    def counted(batch: Batch, form: Any) -> Any:
        rendered.append(form.quotes)
        return render(batch, form)

    ana = hall.program("ana")
    readers = [quoting(hall, f"q{n}") for n in range(4)] + [hall.program(f"p{n}") for n in range(4)]
    ana.say("hello")
    monkeypatch.setattr(Batch, "_render", counted)
    ana.post("reply", room="general", seq=ana.answers[-1]["seq"], text="yes")
    assert sorted(rendered) == [False, True]
    assert [len(quotes_in(one)) for one in readers] == [1] * 8
