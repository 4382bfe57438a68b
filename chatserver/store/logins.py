"""What the server needs to know of accounts that log in: of many at once, in a few statements."""

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import Connection

from chatserver.events import Invited, Membership, Person
from chatserver.store import changes, invitations, people
from chatserver.store.visibility import memberships_of


class LoginFacts(Struct, frozen=True):
    """`apart`: the accounts that this one has blocked, or that have blocked it."""

    memberships: list[Membership]
    invitations: list[Invited]
    apart: frozenset[int]
    account: changes.AccountNow


def look_up(db: Connection, arriving: Sequence[tuple[Person, int]]) -> list[LoginFacts]:
    """The facts for each person, given with the id of the token that they logged in with, or 0."""
    accounts = changes.accounts(db, [(person.id, token_id) for person, token_id in arriving])
    memberships = memberships_of(db, {person.id: person for person, _ in arriving})
    both = [(person.id, account) for (person, _), account in zip(arriving, accounts, strict=True)]
    invited = invitations.pending(db, {id for id, account in both if account.invited})  # most have none
    apart = people.blocks(db, {id for id, account in both if account.apart})
    return [
        LoginFacts(memberships[id], invited.get(id, []), apart.get(id, frozenset()), account) for id, account in both
    ]
