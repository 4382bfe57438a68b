"""A town with every kind of person in every kind of room, built with their own commands."""

from datetime import datetime

from sqlalchemy import Connection

from chatserver.values import commands as c
from tests.handlers.world import START, World

ROOMS = {"hall": "public", "den": "private"}
CROWD = ("member", "muted", "blocked", "moderator", "prey", "deputy")
"""Members of both rooms besides the owner. Commands are tried on `prey` and `deputy`."""

PASSERS_BY = ("outsider", "invited", "banned", "operator", "bait")
"""Former members of both rooms, who wrote messages there."""

OTHERS = ("pal", "asked", "stray", "rival")


class Town(World):
    """`pal` and `rival` have blocked `blocked`. `rival` has a direct room with everybody except the guest.

    The guest is in the hall, and cannot be in the den. `bait` is banned from both, `asked` is invited into both.
    """

    def __init__(self, db: Connection, at: datetime = START) -> None:
        super().__init__(db, at)
        self.said: dict[tuple[str, str], int] = {}
        """By room and person, the seq of their message."""
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
        """The seqs of a person's message in a room, or else of its first entry, and of somebody else's message."""
        if room.startswith("@"):
            own = self.said.get((room, who), 1)
            return own, own + 1
        return self.said.get((room, who), 1), self.said.get((room, "prey"), 1)
