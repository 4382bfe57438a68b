"""A model of rooms: their members, roles, bans and messages, as they should be after each command."""

from dataclasses import dataclass, field


@dataclass
class Message:
    """`of`: the message that it answers. `given`: by reaction, who gives it."""

    author: str
    text: str
    erased: bool = False
    was: set[str] = field(default_factory=set)
    of: int = 0
    given: dict[str, set[str]] = field(default_factory=dict)
    pinned: bool = False

    def change(self, text: str) -> set[str]:
        """Replaces the text. If it is empty, returns all texts that the message had: none of them may be stored now."""
        self.was.add(self.text)
        self.text = text
        if not text:
            self.given, self.pinned = {}, False
        return set() if text else self.was

    def react(self, who: str, reaction: str, *, remove: bool) -> bool:
        """Whether that changed anything."""
        given = self.given.get(reaction, set())
        if (who in given) is not remove:
            return False
        left = given - {who} if remove else given | {who}
        self.given[reaction] = left
        if not left:
            del self.given[reaction]
        return True


@dataclass
class ModelRoom:
    """`floor`: for each member, the first entry that they may read while the past is closed. `invited`: by whom."""

    private: bool
    seq: int = 0
    roles: dict[str, str] = field(default_factory=dict)
    floor: dict[str, int] = field(default_factory=dict)
    invited: dict[str, str] = field(default_factory=dict)
    banned: set[str] = field(default_factory=set)
    past_open: bool = False
    messages: dict[int, Message] = field(default_factory=dict)

    def knows(self, who: str) -> bool:
        """Whether a person may know that the room exists."""
        return who in self.roles or not self.private

    def first(self, who: str) -> int | None:
        """The first entry that a person may read; None if they may read nothing."""
        if who not in self.roles:
            return None if self.private or who in self.banned else 1
        return self.floor[who] if self.private and not self.past_open else 1

    def goes(self, who: str) -> None:
        """Ends a membership. After the last owner the longest-standing moderator, or else member, becomes the owner."""
        role = self.roles.pop(who)
        self.floor.pop(who)
        if role == "owner" and self.roles and "owner" not in self.roles.values():
            heir = min(self.roles, key=lambda name: (self.roles[name] != "moderator", self.floor[name]))
            self.roles[heir] = "owner"
            self.seq += 1
