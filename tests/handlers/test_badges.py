"""Counts of what is unread: a client that keeps them by the rules of docs/protocol.md."""

import re
from random import Random
from time import monotonic
from typing import Any

import pytest

from tests.handlers.conftest import House, Resident
from tests.support.client import TIMEOUT, JsonClient

Fields = dict[str, Any]
ACTS = 200
SLOWLY = [pytest.param(range(first, first + 10), marks=pytest.mark.slow) for first in range(0, 50, 10)]
RUNS = [range(5), *SLOWLY]
WORD = re.compile(r"[\w~-]+")


def names(text: str, name: str) -> bool:
    """Whether a text has this name as a word: see Mentions in docs/protocol.md."""
    words = WORD.findall(text.casefold())
    return name.casefold() in {*words, *(word.strip("_-") for word in words)}


def marks(rooms: dict[str, Fields]) -> dict[str, Fields]:
    return {room: {field: one[field] for field in ("seq", "read")} for room, one in rooms.items()}


class Log:
    """What a client remembers of the entries of a room behind `begin`, and what it is called there."""

    def __init__(self, begin: int, me: str) -> None:
        self.begin = self.position = begin
        self.me = me
        self.answered: dict[int, int | None] = {}  # by message, the one that it answers
        self.mine: set[int] = set()


class Counts:
    """The numbers of an answer, and what is new behind it: messages, and whether each is a mention."""

    def __init__(self, answer: Fields) -> None:
        self.upto, self.read = answer["seq"], answer["read"]
        self.messages, self.mentions, self.first = answer["messages"], answer["mentions"], answer.get("first")
        self.new: dict[int, bool] = {}

    def may_include(self, seq: int) -> bool:
        """Whether the numbers of the answer may have counted this message."""
        return self.first is not None and max(self.first, self.read + 1) <= seq <= self.upto

    def badge(self) -> Fields:
        first = min(self.new, default=None) if self.first is None else self.first
        messages, mentions = self.messages + len(self.new), self.mentions + sum(self.new.values())
        return {"read": self.read, "messages": messages, "mentions": mentions, "first": first}


class Model:
    """A client that shows badges. It looks at events when it wants to, is cut off, and resumes."""

    def __init__(self, house: House, name: str) -> None:
        self.house, self.name = house, name
        self.logs: dict[str, Log] = {}
        self.ignored: set[str] = set()
        self.asked = 0
        self.connect()

    def connect(self) -> None:
        self.link = self.house.stranger()
        self.taken = 0
        self.waiting: int | None = None
        self.since: list[Fields] = []
        self.is_stale = False
        resume = {room: log.position for room, log in self.logs.items()}
        greeting = self.link.login(self.name, state=True, resume=resume)
        self.ignored |= set(self.link.ok("ignore")["names"])
        self.rooms = {one["room"]: Counts(one) for one in greeting["rooms"]}
        self.logs = {room: self.logs.get(room) or Log(one.upto, self.name) for room, one in self.rooms.items()}

    def cut(self, name: str) -> None:
        self.link.close()
        self.name = name
        self.connect()

    def take(self) -> None:
        """Looks at the events that have come, and asks where they do not suffice."""
        for event in self.link.events[self.taken :]:
            self.apply(event)
        self.taken = len(self.link.events)
        if self.is_stale and self.waiting is None:
            self.asked += 1
            self.is_stale, self.since = False, []
            self.waiting = self.link.post("unread")

    def apply(self, event: Fields) -> None:
        if "room" in event:
            self.since.append(event)
            if "at" in event:
                self.learn(event)
            self.count(event)

    def answer(self) -> None:
        """An answer replaces all numbers; what came since it was asked for, and is later, is counted again."""
        if self.waiting is not None:
            answer = self.link.answer(self.waiting)
            self.waiting = None
            self.rooms = {one["room"]: Counts(one) for one in answer["rooms"]}
            for event in self.since:
                self.count(event)

    def learn(self, event: Fields) -> None:
        """Remembers an entry: positions, authors and names."""
        room, seq = event["room"], event["seq"]
        log = self.logs.setdefault(room, Log(seq - 1, self.name))
        log.position = max(seq, log.position)
        if seq <= log.begin:
            return
        match event["event"]:
            case "message":
                log.answered[seq] = event.get("re")
                if event["from"] == log.me:
                    log.mine.add(seq)
            case "renamed" if event["name"] == log.me:
                log.me = self.name = event["to"]
            case "renamed":
                if event["name"] in self.ignored:
                    self.ignored.add(event["to"])
                if room == "@" + event["name"]:
                    self.logs["@" + event["to"]] = self.logs.pop(room)
            case "left" | "kicked" if event["name"] == log.me:
                del self.logs[room]

    def mentions(self, room: str, seq: int, text: str) -> bool:
        log = self.logs[room]
        answered = log.answered.get(seq)
        if answered is not None and answered not in log.answered:
            self.is_stale = True
        return names(text, log.me) or answered in log.mine

    def count(self, event: Fields) -> None:
        label, seq = event["room"], event.get("seq", 0)
        room = self.rooms.get(label)
        if event["event"] == "read":
            if room is not None:
                self.mark(room, seq)
        elif "at" not in event:
            pass
        elif label not in self.logs:  # left, or called otherwise from here on
            self.rooms.pop(label, None)
            if event["event"] == "renamed" and room is not None and label == "@" + event["name"]:
                self.rooms["@" + event["to"]] = room
        elif room is None:
            self.is_stale = True
        elif seq > room.upto:
            self.entry(room, event)

    def mark(self, room: Counts, seq: int) -> None:
        if seq >= room.upto:
            room.messages, room.mentions, room.first = 0, 0, None
        elif room.first is not None and room.first <= seq:
            self.is_stale = True
        room.read = max(room.read, seq)
        room.new = {one: mention for one, mention in room.new.items() if one > room.read}

    def entry(self, room: Counts, event: Fields) -> None:
        label, seq, of = event["room"], event["seq"], event.get("of", 0)
        match event["event"]:
            case "message" if seq > room.read and not event.get("erased"):
                if event["from"] not in {self.logs[label].me, *self.ignored}:
                    room.new[seq] = self.mentions(label, seq, event["text"])
            case "edited" if of in room.new and "text" in event:
                room.new[of] = self.mentions(label, of, event["text"])
            case "erased" if of in room.new:
                del room.new[of]
            case "edited" | "erased" if of in room.new or room.may_include(of):
                self.is_stale = True

    # What its user does

    def read(self, room: str, seq: int) -> None:
        answer = self.link.cmd("read", room=room, seq=seq)
        if answer["ok"]:
            self.apply({"event": "read", "room": room, "seq": answer["seq"]})

    def read_all(self) -> None:
        self.link.ok("read-all")
        self.is_stale = True

    def ignore(self, word: str, name: str) -> None:
        self.take()
        self.link.cmd(word, name=name)
        self.ignored = set(self.link.ok("ignore")["names"])
        self.is_stale = True

    def badges(self, found: dict[str, Fields]) -> dict[str, Fields]:
        """Its badges, once it has seen what these answers have."""
        deadline = monotonic() + TIMEOUT
        while monotonic() < deadline:
            self.link.ok("ping")
            self.take()
            self.answer()
            self.take()
            known = {room: one.badge() | {"seq": self.logs[room].position} for room, one in self.rooms.items()}
            if self.waiting is None and marks(known) == marks(found):
                break
        return known


class Town:
    """Four people, one of whom has the model and another connection, in three rooms."""

    def __init__(self, house: House, random: Random) -> None:
        self.house, self.random = house, random
        self.twins: dict[Resident, JsonClient] = {}  # on another node, if there is one
        for word in ("ana", "bob", "cai", "mia"):
            one = house.person(word)
            self.twins[one] = house.stranger()
            self.twins[one].login(one.name)
        self.people = list(self.twins)
        ana, self.me = self.people[0], self.people[-1]
        self.rooms = [ana.room("books", *self.people[1:]), ana.room("films", self.people[1])]
        self.rooms.append(ana.room("cellar", *self.people[1:], private=True))
        self.former = [self.me.name]
        self.last: dict[str, int] = {}

    def text(self) -> str:
        name = self.random.choice([self.me.name, self.me.name, self.former[0], "nobody", "all"])
        return self.random.choice(["words", f"words for {name}", f"({name.upper()}), yes", f"{name}x", f"_{name}-"])

    def act(self) -> tuple[JsonClient, int, str]:
        """Sends one command of anybody, without waiting."""
        random = self.random
        one = random.choice([*self.people, self.people[0]])
        other = random.choice([each for each in self.people if each is not one]).name
        room = random.choice([*self.rooms, *self.rooms, "@" + other])
        last = self.last.get(room, 3)
        seq = random.randrange(max(1, last - 12), last + 2)
        text = self.text()
        choices: list[tuple[int, str, Fields]] = [
            (400, "say", {"room": room, "text": text}), (200, "reply", {"room": room, "seq": seq, "text": text}),
            (300, "edit", {"room": room, "seq": seq, "text": text}), (150, "erase", {"room": room, "seq": seq}),
            (40, "react", {"room": room, "seq": seq, "reaction": "+1"}), (20, "pin", {"room": room, "seq": seq}),
            (80, "join", {"room": room}), (12, "leave", {"room": room}), (10, "block", {"name": other}),
            (30, "unblock", {"name": other}), (40, "invite", {"room": room, "name": other}),
            (6, "kick", {"room": room, "name": other}), (20, "topic", {"room": room, "text": text}),
            (20, "read", {"room": room, "seq": seq}), (3, "read-all", {}),
        ]  # fmt: skip
        _, word, fields = random.choices(choices, [weight for weight, *_ in choices])[0]
        return one.link, one.link.post(word, **fields), fields.get("room", "")

    def rename(self) -> None:
        """Ends once each node knows of it: a message that names somebody is judged by what its node knows."""
        one = self.random.choice([self.me, *self.people])
        twin = self.twins[one]
        if twin.ok("unread")["rooms"]:
            name = self.house.name(one.name.rstrip("0123456789"))
            if one.link.cmd("rename", name=name)["ok"]:
                one.name = name
                twin.wait_event(lambda event: event["event"] == "renamed" and event["to"] == name)


def fresh_badges(house: House, name: str) -> dict[str, Fields]:
    """What a fresh connection is told, by room."""
    with house.stranger() as fresh:
        fresh.login(name, quiet=True)
        fields = ("seq", "read", "messages", "mentions", "first")
        return {one["room"]: {field: one.get(field) for field in fields} for one in fresh.ok("unread")["rooms"]}


@pytest.mark.parametrize("runs", RUNS, ids=lambda runs: f"runs {runs[0]} to {runs[-1]}")
def test_badges(house: House, runs: range) -> None:
    """A client that keeps its counts from events has, after anything that people do, those of a fresh connection."""
    for run in runs:
        random = Random(f"{run} badges")
        town = Town(house, random)
        model = Model(house, town.me.name)
        done = 0
        while done < ACTS:
            posted = [town.act() for _ in range(random.randrange(1, 8))]
            done += len(posted)
            if random.random() < 0.5:
                model.take()
            for link, tag, room in posted:
                town.last[room] = max(town.last.get(room, 0), link.answer(tag).get("seq") or 0)
            chance = random.random()
            room = random.choice(list(model.rooms) or town.rooms)
            if chance < 0.05:
                model.read(room, town.last.get(room, 1) - random.randrange(12))
            elif chance < 0.06:
                model.read_all()
            elif chance < 0.12:
                model.ignore(random.choice(["ignore", "unignore"]), random.choice(town.people[:3]).name)
            elif chance < 0.18:
                model.cut(town.me.name)
            elif chance < 0.23:
                town.rename()
            elif chance < 0.3:
                model.link.cmd("say", room=room, text="mine")
            elif chance < 0.6:
                model.take()
                model.answer()
            if chance > 0.9 or done >= ACTS:
                assert model.badges(wanted := fresh_badges(house, town.me.name)) == wanted, f"run {run}, act {done}"
        for link in (model.link, *town.twins.values(), *(one.link for one in town.people)):
            link.close()
