"""Rights to act in a room, in one table. Visibility is up to `store.visibility`."""

from typing import Final, Literal

from chatserver.store.visibility import RoomAccess
from chatserver.values.errors import Note, Refused, Why
from chatserver.values.events import BOT, GUEST, MEMBER, MODERATOR, OPERATOR, OWNER, Person, Role

Act = Literal[
    "say", "read", "prefer", "edit", "erase", "erase of others", "topic", "invite", "uninvite", "uninvite of others",
    "kick", "ban", "unban", "bans", "mute", "unmute", "set pace", "role", "set", "delete", "reply", "react", "pin",
    "unpin",
]  # fmt: skip

RANKS: Final[dict[Role | Literal["operator"] | None, int]] = {None: 0, MEMBER: 1, MODERATOR: 2, OWNER: 3, OPERATOR: 4}

RIGHTS: Final[dict[Act, Role]] = {
    "say": MEMBER,
    "reply": MEMBER,
    "react": MEMBER,
    "pin": MEMBER,
    "unpin": MEMBER,
    "read": MEMBER,
    "prefer": MEMBER,
    "edit": MEMBER,  # of the asker's own message
    "erase": MEMBER,  # of the asker's own message
    "erase of others": MODERATOR,
    "topic": MEMBER,
    "invite": MEMBER,  # or moderators, if the owner has set that
    "uninvite": MEMBER,  # of people the asker has invited
    "uninvite of others": MODERATOR,
    "kick": MODERATOR,
    "ban": MODERATOR,
    "unban": MODERATOR,
    "bans": MODERATOR,
    "mute": MODERATOR,
    "unmute": MODERATOR,
    "set pace": MODERATOR,
    "role": OWNER,
    "set": OWNER,
    "delete": OWNER,
}
"""The lowest role for each act. An operator of the server ranks above owners in every room."""

MEMBERS_ONLY: Final[frozenset[Act]] = frozenset({
    "say", "reply", "react", "pin", "unpin", "read", "prefer", "edit", "erase", "topic", "invite", "uninvite"
})  # fmt: skip
"""Acts for which even operators must be members."""


def rank(who: Person, access: RoomAccess) -> int:
    return RANKS[OPERATOR] if who.kind == OPERATOR else RANKS[access.role]


def may(who: Person, access: RoomAccess, act: Act) -> bool:
    """Whether the person's rank in the room is high enough."""
    return rank(who, access) >= RANKS[_needed(access, act)]


def _needed(access: RoomAccess, act: Act) -> Role:
    return MODERATOR if act == "invite" and access.invites == "moderators" else RIGHTS[act]


def require(who: Person, access: RoomAccess, act: Act) -> None:
    """Raises Refused: not-a-member, or not-allowed."""
    if access.role is None and (act in MEMBERS_ONLY or who.kind != OPERATOR):
        access.require_member(who)
    if not may(who, access, act):
        whose = {MODERATOR: Note.MODERATORS, OWNER: Note.OWNERS, MEMBER: Note.MEMBERS}[_needed(access, act)]
        raise Refused(Why.ONLY_THEY_MAY, whose=whose, room=access.facts.name)


def require_above(who: Person, access: RoomAccess, target: Person, role: Role | None) -> None:
    """Raises Refused(not-allowed) unless the asker ranks above the target, whose role in the room is `role`."""
    theirs = RANKS[OPERATOR] if target.kind == OPERATOR else RANKS[role]
    if who.id != target.id and theirs >= rank(who, access):
        raise Refused(Why.NOT_ABOVE, name=target.name, room=access.facts.name)


def require_operator(who: Person) -> None:
    """Raises Refused(not-allowed)."""
    if who.kind != OPERATOR:
        raise Refused(Why.ONLY_OPERATORS)


def forbid_bot(who: Person) -> None:
    """Raises Refused(not-allowed). For commands that take a password: bots have none."""
    if who.kind == BOT:
        raise Refused(Why.BOT_HAS_NO_PASSWORD)


def forbid_guest(who: Person) -> None:
    """Raises Refused(not-allowed)."""
    if who.kind == GUEST:
        raise Refused(Why.NOT_FOR_GUESTS)
