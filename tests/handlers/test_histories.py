"""Random sequences of commands, after which everybody must see what the model says."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine

from chatserver.store.accounts import RETRY_WINDOW
from chatserver.values import commands as c
from tests.handlers.looking import Looking
from tests.handlers.model import Message, ModelRoom
from tests.handlers.world import World, undone

PEOPLE = ("ana", "bob", "cai", "dan")
ROOMS = {"hall": False, "den": True, "vault": True}

people = st.sampled_from(("ana", *PEOPLE))
rooms = st.sampled_from(("den", "den", "den", "hall", "vault"))


class Histories(Looking, RuleBasedStateMachine):
    """A state machine of commands. The model tells the result of each, and what everybody may see after it."""

    engine: Engine

    def __init__(self) -> None:
        super().__init__()
        self._undo = undone(self.engine)
        self.world = World(self._undo.__enter__())
        self.steps = 0
        self.blocks: set[tuple[str, str]] = set()
        self.said = 0
        self.created: dict[str, tuple[str, datetime]] = {}
        for name in PEOPLE:
            self.world.person(name)

    def teardown(self) -> None:
        try:
            for viewer in PEOPLE:
                self.check(viewer)
        finally:
            self._undo.__exit__(None, None, None)

    def act(self, who: str, command: Any, room: ModelRoom | None, wanted: str) -> bool:
        """Runs a command, which must have this result, or no-such-room if the person may not know of the room."""
        if room is None or not room.knows(who):
            wanted = "no-such-room"
        elif who not in room.roles and who in room.banned:
            wanted = "banned"
        elif who not in room.roles:
            wanted = "not-a-member"
        assert self.world.word(who, command) == wanted
        return wanted == "ok"

    @initialize(guests=st.sets(people), asked=st.sets(people), banned=st.sampled_from(("cai", "dan")))
    def begin(self, guests: set[str], asked: set[str], banned: str) -> None:
        """A private and a public room, with messages from before and after the others joined."""
        for name in ("den", "hall"):
            self.create("ana", name)
            self.say("ana", name)
            for guest in sorted(guests):
                self.invite("ana", name, guest)
                self.join(guest, name)
                self.say(guest, name)
            self.put_out("ana", name, banned, True)
            for guest in sorted(asked):
                self.invite("ana", name, guest)

    # Rooms

    @rule(who=people, name=rooms)
    def create(self, who: str, name: str) -> None:
        room, (creator, at) = self.rooms.get(name), self.created.get(name, ("", self.world.at))
        lately = creator == who and self.world.at + timedelta(seconds=1) - at < RETRY_WINDOW
        retry = lately and self.owns(who, room)
        command = c.Create(room=name, visibility="private" if ROOMS[name] else "public")
        assert self.world.word(who, command) == ("ok" if room is None or retry else "room-taken")
        if room is None:
            self.rooms[name] = ModelRoom(ROOMS[name], 1, {who: "owner"}, {who: 1})
            self.created[name] = who, self.world.at

    @rule(who=people, name=rooms)
    def join(self, who: str, name: str) -> None:
        room = self.rooms.get(name)
        if room is None or (room.private and who not in room.roles and who not in room.invited):
            wanted = "no-such-room"
        else:
            wanted = "ok" if who in room.roles or who not in room.banned else "banned"
        assert self.world.word(who, c.Join(room=name)) == wanted
        if wanted == "ok" and room is not None and who not in room.roles:
            room.seq += 1
            room.roles[who] = "member" if room.roles else "owner"
            room.floor[who] = room.seq
            room.invited.pop(who, None)

    @rule(who=people, name=rooms)
    def leave(self, who: str, name: str) -> None:
        room = self.rooms.get(name)
        if self.act(who, c.Leave(room=name), room, "ok") and room:
            room.seq += 1
            room.goes(who)

    @rule(who=people, name=rooms)
    def delete(self, who: str, name: str) -> None:
        room = self.rooms.get(name)
        if self.act(who, c.Delete(room=name), room, "ok" if self.owns(who, room) else "not-allowed"):
            del self.rooms[name]
            self.marks = {(one, label): mark for (one, label), mark in self.marks.items() if label != name}

    @rule(who=people, name=rooms, past=st.sampled_from(("open", "closed")))
    def open_past(self, who: str, name: str, past: Any) -> None:
        room = self.rooms.get(name)
        if self.act(who, c.Set(room=name, past=past), room, "ok" if self.owns(who, room) else "not-allowed") and room:
            room.seq += room.past_open != (past == "open")
            room.past_open = past == "open"

    def owns(self, who: str, room: ModelRoom | None) -> bool:
        return room is not None and room.roles.get(who) == "owner"

    # Moderation

    @rule(who=people, name=rooms, whom=people)
    def invite(self, who: str, name: str, whom: str) -> None:
        room = self.rooms.get(name)
        if (whom, who) in self.blocks:
            wanted = "blocked"
        else:
            wanted = "banned" if room and whom in room.banned and whom not in room.roles else "ok"
        if self.act(who, c.Invite(room=name, name=whom), room, wanted) and room and whom not in room.roles:
            room.invited.setdefault(whom, who)

    @rule(who=people, name=rooms, whom=people, role=st.sampled_from(("owner", "moderator", "member")))
    def role(self, who: str, name: str, whom: str, role: Any) -> None:
        room = self.rooms.get(name)
        owners = [one for one, held in room.roles.items() if held == "owner"] if room else []
        if who not in owners:
            wanted = "not-allowed"
        elif room and whom not in room.roles:
            wanted = "no-such-user"
        elif whom in owners and (whom != who or (role != "owner" and len(owners) == 1)):
            wanted = "not-allowed"
        else:
            wanted = "ok"
        if self.act(who, c.Role(room=name, name=whom, role=role), room, wanted) and room and room.roles[whom] != role:
            room.roles[whom] = role
            room.seq += 1

    @rule(who=people, name=rooms, whom=people, ban=st.booleans())
    def put_out(self, who: str, name: str, whom: str, ban: bool) -> None:
        room = self.rooms.get(name)
        ranks = {None: 0, "member": 1, "moderator": 2, "owner": 3}
        mine, theirs = ((ranks[room.roles.get(one)] if room else 0) for one in (who, whom))
        if mine < 2:
            wanted = "not-allowed"
        elif not theirs and not ban:
            wanted = "no-such-user"
        else:
            wanted = "ok" if (mine > theirs if ban else mine > theirs or who == whom) else "not-allowed"
        command = c.Ban(room=name, name=whom) if ban else c.Kick(room=name, name=whom)
        if self.act(who, command, room, wanted) and room:
            room.seq += not ban or whom not in room.banned or whom in room.roles
            if ban:
                room.banned.add(whom)
                room.invited.pop(whom, None)
            if whom in room.roles:
                room.goes(whom)

    @rule(who=people, name=rooms, whom=people)
    def unban(self, who: str, name: str, whom: str) -> None:
        room = self.rooms.get(name)
        if room is None or room.roles.get(who) not in ("owner", "moderator"):
            wanted = "not-allowed"
        else:
            wanted = "ok" if whom in room.banned else "no-such-user"
        if self.act(who, c.Unban(room=name, name=whom), room, wanted) and room:
            room.seq += 1
            room.banned.discard(whom)

    # Messages

    def words(self) -> str:
        """A new text, with a word that all of them contain."""
        self.said += 1
        return f"secret w{self.said}"

    @rule(who=people, name=rooms)
    def say(self, who: str, name: str) -> None:
        room, said = self.rooms.get(name), self.words()
        if self.act(who, c.Say(room=name, text=said), room, "ok") and room:
            room.seq += 1
            room.messages[room.seq] = Message(who, said)

    @precondition(lambda self: any(room.messages for room in self.rooms.values()))
    @rule(who=people, data=st.data(), erase=st.booleans())
    def change(self, who: str, data: st.DataObject, erase: bool) -> None:
        name = data.draw(st.sampled_from(sorted(name for name, room in self.rooms.items() if room.messages)))
        room = self.rooms[name]
        seq = data.draw(st.sampled_from(sorted(room.messages)))
        message, said, first = room.messages[seq], self.words(), room.first(who)
        keeps = erase and room.roles.get(who) in ("owner", "moderator")
        if first is None or seq < first or (message.erased and not erase):
            wanted = "bad-command"
        else:
            wanted = "ok" if message.author == who or keeps else "not-allowed"
        if erase and wanted == "bad-command" and room.knows(who) and (who in room.roles or who not in room.banned):
            assert self.world.word(who, c.Erase(room=name, seq=seq)) == wanted
            return
        command = c.Erase(room=name, seq=seq) if erase else c.Edit(room=name, seq=seq, text=said)
        if self.act(who, command, room, wanted) and not message.erased:
            room.seq += 1
            message.erased = erase
            self.erased |= message.change("" if erase else said)

    @precondition(lambda self: any(room.messages for room in self.rooms.values()))
    @rule(who=people, data=st.data(), act=st.sampled_from(("reply", "react", "take back", "pin", "unpin")))
    def respond(self, who: str, data: st.DataObject, act: str) -> None:
        name = data.draw(st.sampled_from(sorted(name for name, room in self.rooms.items() if room.messages)))
        room = self.rooms[name]
        seq = data.draw(st.sampled_from(sorted(room.messages)))
        message, said, first = room.messages[seq], self.words(), room.first(who)
        there = first is not None and seq >= first and not (message.erased and act != "unpin")
        word = data.draw(st.sampled_from(("+1", "-1")))
        command = {
            "reply": c.Reply(room=name, seq=seq, text=said),
            "react": c.React(room=name, seq=seq, reaction=word),
            "take back": c.React(room=name, seq=seq, reaction=word, remove=True),
            "pin": c.Pin(room=name, seq=seq),
            "unpin": c.Unpin(room=name, seq=seq),
        }[act]
        if not self.act(who, command, room, "ok" if there else "bad-command"):
            return
        if act == "reply":
            room.seq += 1
            room.messages[room.seq] = Message(who, said, of=seq)
        elif "pin" in act:
            room.seq += message.pinned != (act == "pin")
            message.pinned = act == "pin"
        else:
            room.seq += message.react(who, word, remove=act == "take back")

    @rule(who=people, name=rooms, seq=st.integers(0, 40))
    def read(self, who: str, name: str, seq: int) -> None:
        self.act(who, c.Read(room=name, seq=seq), self.rooms.get(name), "ok")

    # Direct messages

    @rule(pair=st.permutations(PEOPLE))
    def tell(self, pair: list[str]) -> None:
        who, whom, *_ = pair
        wanted, said = "blocked" if (whom, who) in self.blocks else "ok", self.words()
        assert self.world.word(who, c.Say(room=f"@{whom}", text=said)) == wanted
        if wanted == "ok":
            self.direct.setdefault(frozenset((who, whom)), []).append(Message(who, said))

    @rule(pair=st.permutations(PEOPLE), on=st.booleans())
    def block(self, pair: list[str], on: bool) -> None:
        who, whom, *_ = pair
        assert self.world.word(who, c.Block(name=whom) if on else c.Unblock(name=whom)) == "ok"
        (self.blocks.add if on else self.blocks.discard)((who, whom))
        if on:
            for room in self.rooms.values():
                if room.invited.get(who) == whom:
                    del room.invited[who]

    # Checks

    @invariant()
    def seen(self) -> None:
        """After each step one of the four people looks at everything; at the end all do."""
        self.steps += 1
        self.check(PEOPLE[self.steps % len(PEOPLE)])
        self.whole()


@pytest.mark.slow
def test_whatever_people_do(engine: Engine) -> None:
    """Everybody sees what the model says. Nobody outside a private room sees anything of it; logs have no gaps, rooms
    with members have an owner, read marks never move back, direct rooms keep two people."""
    examples = 15 if engine.dialect.name == "sqlite" else 4
    Machine = type("Machine", (Histories,), {"engine": engine})
    run_state_machine_as_test(Machine, settings=settings(max_examples=examples, stateful_step_count=20))
