"""What is to be known of those who log in: of many at once, in a few statements."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection

from chatserver.events import Invited, Person, Standing
from chatserver.store import changes, moderation
from chatserver.store.places import standings_of


class Known(Struct, frozen=True):
    """`apart`: whom they have blocked, or are blocked by."""

    standings: list[Standing]
    invitations: list[Invited]
    apart: frozenset[int]
    account: changes.AccountNow


def look_up(db: Connection, arriving: Sequence[tuple[Person, int]], at: datetime) -> list[Known]:
    """For each person, with the id of the token that they came with or 0."""
    people = {person.id: person for person, _ in arriving}
    accounts = changes.accounts(db, [(person.id, token_id) for person, token_id in arriving], at)
    places = standings_of(db, people)
    both = [(person.id, account) for (person, _), account in zip(arriving, accounts, strict=True)]
    invited = moderation.invitations(db, {id for id, account in both if account.invited})  # most have none
    apart = moderation.blocks(db, {id for id, account in both if account.apart})
    return [Known(places[id], invited.get(id, []), apart.get(id, frozenset()), account) for id, account in both]
