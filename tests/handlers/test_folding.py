"""What is folded into a message, and what is still to come: a client that follows the rules of docs/protocol.md."""

from random import Random
from typing import Any

import pytest

from tests.handlers.conftest import House
from tests.support.client import JsonClient

Fields = dict[str, Any]
CHANGES = {"edited", "erased", "reacted", "unreacted"}
REACTIONS = ("+1", "🎉", "no")
SLOWLY = [pytest.param(range(first, first + 25), marks=pytest.mark.slow) for first in range(0, 500, 25)]
RUNS = [range(20), *SLOWLY]
"""A thousand in all, on one node and on two."""


class Known:
    """A message as a client knows it; everything up to entry `upto` is in it."""

    def __init__(self, message: Fields, upto: int) -> None:
        self.upto = upto
        self.erased = message.get("erased", False)
        self.edited = message.get("edited", False)
        self.text = message.get("text")
        self.reactions: dict[str, int] = dict(message.get("reactions", {}))
        self.mine = set(message.get("mine", ()))
        self.is_stale = False  # its words are to be read again

    def apply(self, change: Fields, me: str) -> None:
        if change["seq"] <= self.upto:
            return
        self.upto = change["seq"]
        match change["event"]:
            case "erased":
                self.erased, self.edited, self.text, self.reactions, self.mine = True, False, None, {}, set()
            case "edited" if not self.erased:
                self.text, self.edited, self.is_stale = change.get("text"), True, "text" not in change
            case "reacted" | "unreacted" if not self.erased:
                reaction = change["reaction"]
                self.reactions[reaction] = change["count"]
                if not change["count"]:
                    del self.reactions[reaction]
                if change["by"] == me:
                    (self.mine.add if change["event"] == "reacted" else self.mine.discard)(reaction)

    def shown(self) -> Fields:
        given = sorted(self.reactions.items())
        return {
            "text": self.text, "edited": self.edited, "erased": self.erased, "given": given, "mine": sorted(self.mine)
        }  # fmt: skip


class Model:
    """A client of one room. It is cut off, resumes, and reads pages while entries come."""

    def __init__(self, house: House, name: str, room: str, position: int) -> None:
        self.house, self.name, self.room, self.position = house, name, room, position
        self.messages: dict[int, Known] = {}
        self.changes: dict[int, list[Fields]] = {}
        self.connect()

    def connect(self) -> None:
        self.link = self.house.stranger()
        self.taken = 0
        self.asked: list[int] = []
        self.link.login(self.name, resume={self.room: self.position})

    def cut(self) -> None:
        """Answers that have not come are lost, and what came was perhaps not looked at."""
        self.link.close()
        self.connect()

    def take(self) -> None:
        """Looks at the events that have come."""
        for event in self.link.events[self.taken :]:
            if event.get("room") == self.room and "at" in event:
                self.position = event["seq"]
                if event["event"] == "message":
                    self.messages.setdefault(event["seq"], Known(event, event["seq"]))
                elif event["event"] in CHANGES:
                    self.changes.setdefault(event["of"], []).append(event)
                    if event["of"] in self.messages:
                        self.messages[event["of"]].apply(event, self.name)
        self.taken = len(self.link.events)

    def ask(self, random: Random) -> None:
        near = random.randrange(1, self.position + 3)
        requests: list[tuple[str, Fields]] = [
            ("history", {"room": self.room}),
            ("history", {"room": self.room, "before": near, "limit": random.randrange(1, 9)}),
            ("history", {"room": self.room, "after": near, "limit": random.randrange(1, 9)}),
            ("search", {"room": self.room, "text": "words"}),
            ("search", {"text": "words"}),
            ("pins", {"room": self.room}),
            ("mentions", {}),
        ]
        word, fields = random.choice(requests)
        self.asked.append(self.link.post(word, **fields))

    def answers(self) -> None:
        for tag in self.asked:
            self.learn(self.link.answer(tag))
        self.asked.clear()

    def learn(self, answer: Fields) -> None:
        assert answer["ok"], answer
        for entry in answer["entries"]:
            if entry["event"] != "message" or entry["room"] != self.room:
                continue
            as_of = answer["as_of"] if isinstance(answer["as_of"], int) else answer["as_of"][self.room]
            known = self.messages.get(entry["seq"])
            if known is None or known.upto <= as_of:
                known = self.messages[entry["seq"]] = Known(entry, as_of)
            for change in self.changes.get(entry["seq"], ()):
                known.apply(change, self.name)

    def settle(self, last: int) -> None:
        """Reads everything that is still to come, and words that could not be sent to all."""
        self.answers()
        if self.position < last:
            self.link.wait_seq(self.room, last)
        self.take()
        for seq in [seq for seq, known in self.messages.items() if known.is_stale]:
            self.learn(self.link.ok("history", room=self.room, before=seq + 1, limit=1))


def act(random: Random, link: JsonClient, room: str, last: int, me: str) -> int:
    """Sends a command without waiting; most are accepted."""
    seq = random.randrange(1, last + 2)
    text = f"words {random.randrange(99)}" + random.choice(["", f" for {me}"])
    reaction = random.choice(REACTIONS)
    choices: list[tuple[str, Fields]] = [
        ("say", {"text": text}),
        ("say", {"text": text}),
        ("reply", {"seq": seq, "text": text}),
        ("edit", {"seq": seq, "text": text}),
        ("edit", {"seq": seq, "text": text}),
        ("erase", {"seq": seq}),
        *[("react", {"seq": seq, "reaction": reaction, "remove": random.random() < 0.4}) for _ in range(5)],
        ("pin", {"seq": seq}),
    ]
    word, fields = random.choice(choices)
    return link.post(word, room=room, **fields)


@pytest.mark.parametrize("runs", RUNS, ids=lambda runs: f"runs {runs[0]} to {runs[-1]}")
def test_a_client_that_applies_what_is_later(house: House, runs: range) -> None:
    """A client that was cut off at any points, and read pages while entries came, knows each message as one that reads
    everything afresh."""
    ana, bob, me = house.person("ana"), house.person("bob"), house.person("cai")
    other = house.stranger()
    other.login(me.name)
    for run in runs:
        random = Random(f"{run} folded")
        room = ana.room("books", bob, private=random.random() < 0.3)
        for _ in range(3):
            ana.link.say(room, "words before")
        ana.ok("invite", room=room, name=me.name)
        joined = other.ok("join", room=room)["seq"]
        model = Model(house, me.name, room, joined)
        last = joined
        for _ in range(random.randrange(2, 7)):
            posted = []
            for _ in range(random.randrange(8)):
                link = random.choice([ana.link, bob.link, other])
                posted.append((link, act(random, link, room, last, me.name)))
                if random.random() < 0.2:
                    model.ask(random)
            if random.random() < 0.5:
                model.take()
            if random.random() < 0.3:
                model.answers()
            if random.random() < 0.3:
                model.cut()
            for link, tag in posted:
                last = max(last, link.answer(tag).get("seq") or 0)
        fresh = house.stranger()
        fresh.login(me.name, quiet=True)
        found = fresh.ok("history", room=room, limit=500)
        model.settle(found["as_of"])
        messages = {entry["seq"]: entry for entry in found["entries"] if entry["event"] == "message"}
        wanted = {seq: Known(entry, 0).shown() for seq, entry in messages.items() if seq in model.messages}
        assert {seq: known.shown() for seq, known in model.messages.items()} == wanted, f"run {run}"
        assert {seq for seq in messages if seq > joined} <= set(model.messages), f"run {run}"
        for one in (fresh, model.link):
            one.close()
        for link in (ana.link, bob.link, other):
            link.ok("leave", room=room)


def test_own_reactions_of_what_was_missed(house: House) -> None:
    """What `resume` and `since` bring names the reactions that are one's own, to each reader theirs; what is new does
    not, for it is the same for all."""
    ana, bob = house.person("ana"), house.person("bob")
    room = ana.room("books", bob)
    seq = ana.link.say(room, "news")["seq"]
    for who, reaction in ((ana, "+1"), (bob, "+1"), (bob, "🎉")):
        who.ok("react", room=room, seq=seq, reaction=reaction)
    for who, mine in ((ana, ["+1"]), (bob, ["+1", "🎉"])):
        link = house.stranger()
        link.login(who.name, resume={room: seq - 1})
        message, first, *_ = link.wait_seq(room, seq + 3)
        assert (message["reactions"], message["mine"]) == ({"+1": 2, "🎉": 1}, mine)
        assert (first["reaction"], first["count"]) == ("+1", 2)
    message, *others = ana.link.wait_seq(room, seq + 3)[-4:]
    assert "mine" not in message
    assert [entry["count"] for entry in others] == [1, 2, 1]
