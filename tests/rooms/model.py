"""What ought to be so after what people did: rooms in which everybody keeps in mind who is in, and who said what."""

from dataclasses import dataclass, field


@dataclass
class Message:
    author: str
    text: str
    erased: bool = False
    was: set[str] = field(default_factory=set)

    def change(self, text: str) -> set[str]:
        """Gives it another text, or none; all those it had, if they are to be nowhere now."""
        self.was.add(self.text)
        self.text = text
        return set() if text else self.was


@dataclass
class ModelRoom:
    """`floor`: for those inside, the first entry that they may read where the past is closed. `invited`: by whom."""

    private: bool
    seq: int = 0
    roles: dict[str, str] = field(default_factory=dict)
    floor: dict[str, int] = field(default_factory=dict)
    invited: dict[str, str] = field(default_factory=dict)
    banned: set[str] = field(default_factory=set)
    past_open: bool = False
    messages: dict[int, Message] = field(default_factory=dict)

    def knows(self, who: str) -> bool:
        """Whether somebody may know that there is such a room."""
        return who in self.roles or not self.private

    def first(self, who: str) -> int | None:
        """The first entry that somebody may read; None for who may read nothing."""
        if who not in self.roles:
            return None if self.private or who in self.banned else 1
        return self.floor[who] if self.private and not self.past_open else 1

    def goes(self, who: str) -> None:
        """Somebody is out, and the last owner has an heir: the longest-standing moderator, else member."""
        role = self.roles.pop(who)
        self.floor.pop(who)
        if role == "owner" and self.roles and "owner" not in self.roles.values():
            heir = min(self.roles, key=lambda name: (self.roles[name] != "moderator", self.floor[name]))
            self.roles[heir] = "owner"
            self.seq += 1
