"""A town in which every kind of person stands in every kind of room, made by their own commands."""

from datetime import datetime

from sqlalchemy import Connection

from chatserver import commands as c
from tests.rooms.world import START, World

ROOMS = {"hall": "public", "den": "private"}
CROWD = ("member", "muted", "blocked", "moderator", "prey", "deputy")
"""Those in both rooms, beside the owner. `prey` and `deputy` are what others are tried on."""

PASSERS_BY = ("outsider", "invited", "banned", "operator", "bait")
"""They were in both rooms once, and said something there."""

OTHERS = ("pal", "asked", "stray", "rival")


class Town(World):
    """`pal` has blocked `blocked`, and so has `rival`, who has a direct room with everybody but the guest.

    The guest is in the hall, and cannot be in the den. `bait` is banned from both, `asked` is invited into both.
    """

    def __init__(self, db: Connection, at: datetime = START) -> None:
        super().__init__(db, at)
        self.said: dict[tuple[str, str], int] = {}
        """The seq of what somebody said in a room."""
        for name in ("owner", *CROWD, *PASSERS_BY, *OTHERS):
            self.person(name, "operator" if name == "operator" else "person")
        self.person("guest", "guest")
        for room, visibility in ROOMS.items():
            self._settle(room, visibility)
        for name in ("owner", *CROWD[:-2], *PASSERS_BY[:-1]):
            self._say("@rival", name)
            self._say(f"@{name}", "rival")
        self.do("pal", c.Block(name="blocked"))
        self.do("rival", c.Block(name="blocked"))

    def _settle(self, room: str, visibility: str) -> None:
        self.do("owner", c.Create(room=room, visibility=visibility))  # type: ignore[arg-type]
        self._say(room, "owner")
        for name in (*CROWD, *PASSERS_BY, *(["guest"] if visibility == "public" else [])):
            if visibility == "private":
                self.do("owner", c.Invite(room=room, name=name))
            self.do(name, c.Join(room=room))
            self._say(room, name)
            if name in PASSERS_BY:
                self.do(name, c.Leave(room=room))
        for name in ("moderator", "deputy"):
            self.do("owner", c.Role(room=room, name=name, role="moderator"))
        for name in ("banned", "bait"):
            self.do("owner", c.Ban(room=room, name=name))
        for name in ("invited", "asked"):
            self.do("owner", c.Invite(room=room, name=name))
        self.do("owner", c.Mute(room=room, name="muted"))

    def _say(self, room: str, who: str) -> None:
        self.said[room, who] = self.do(who, c.Say(room=room, text=f"words of {who}")).seq

    def seqs(self, room: str, who: str) -> tuple[int, int]:
        """What somebody said in a room, or else what the owner did, and what another one said there."""
        if room.startswith("@"):
            own = self.said.get((room, who), 1)
            return own, own + 1
        return self.said.get((room, who), 1), self.said.get((room, "prey"), 1)
