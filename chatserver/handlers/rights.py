"""Who may do what in a room: one table."""

from chatserver.errors import ErrorWord, Refused
from chatserver.events import Person
from chatserver.store.places import MEMBER, MODERATOR, OPERATOR, OWNER, Place

RANKS = {None: 0, MEMBER: 1, MODERATOR: 2, OWNER: 3, OPERATOR: 4}

RIGHTS = {
    "say": MEMBER,
    "read": MEMBER,
    "edit": MEMBER,  # of one's own
    "erase": MEMBER,  # of one's own
    "erase of others": MODERATOR,
    "topic": MEMBER,
    "invite": MEMBER,  # or moderators, as the owner has set
    "uninvite": MEMBER,  # of whom one has invited
    "uninvite of others": MODERATOR,
    "kick": MODERATOR,
    "ban": MODERATOR,
    "unban": MODERATOR,
    "bans": MODERATOR,
    "mute": MODERATOR,
    "unmute": MODERATOR,
    "role": OWNER,
    "set": OWNER,
    "delete": OWNER,
}
"""What it takes, at the least. An operator of the server may all that a moderator or owner may, in every room."""

OF_MEMBERS = frozenset({"say", "read", "edit", "erase", "topic", "invite", "uninvite"})
"""For these one is to be in the room, operator or not."""


def rank(who: Person, place: Place) -> int:
    return RANKS[OPERATOR] if who.kind == OPERATOR else RANKS[place.role]


def require(who: Person, place: Place, act: str) -> None:
    """Raises Refused for what is not theirs to do: not-a-member, not-allowed, direct-room."""
    if place.role is None and (act in OF_MEMBERS or who.kind != OPERATOR):
        place.require_member(who)
    needed = RIGHTS[act]
    if act == "invite" and place.invites == "moderators":
        needed = MODERATOR
    if rank(who, place) < RANKS[needed]:
        whose = {MODERATOR: "moderators and owners", OWNER: "owners"}.get(needed, "members")
        raise Refused(ErrorWord.NOT_ALLOWED, f"Only {whose} of {place.facts.name} may do that. Ask one of them.")


def require_above(who: Person, place: Place, target: Person, role: str | None) -> None:
    """Raises Refused where the target's rank in the room is the asker's, or above it."""
    theirs = RANKS[OPERATOR] if target.kind == OPERATOR else RANKS[role]
    if who.id != target.id and theirs >= rank(who, place):
        raise Refused(ErrorWord.NOT_ALLOWED, f"{target.name} ranks as high as you do in {place.facts.name}, or higher.")


def require_operator(who: Person) -> None:
    if who.kind != OPERATOR:
        raise Refused(ErrorWord.NOT_ALLOWED, "Only operators of the server may do that. Ask one of them.")


def forbid_guest(who: Person) -> None:
    if who.kind == "guest":
        raise Refused(ErrorWord.NOT_ALLOWED, "Guests take part in public rooms only. Register to do that.")
