"""Reads everything that a login needs about an account: for many accounts at once, in a few statements."""

from collections.abc import Sequence

from msgspec import Struct, structs
from sqlalchemy import Connection

from chatserver.store import accounts, change_rows, ignoring, invitations, people, preferences, tokens
from chatserver.store.visibility import memberships_of
from chatserver.values.answers import Preferences
from chatserver.values.events import AS_SET, AccountLimits, Invited, Membership, Person
from chatserver.values.token_scope import Scope


class LoginFacts(Struct, frozen=True):
    """`apart`: the accounts that this one has blocked, or that have blocked it. `scope`: that of the token that it logs
    in with, if any; if that is one room, there is no other room, and no invitation. `preferences`: None if it has set
    none. `ignored`: the accounts that it ignores."""

    memberships: list[Membership]
    invitations: list[Invited]
    apart: frozenset[int]
    account: change_rows.AccountNow
    limits: AccountLimits = AS_SET
    scope: Scope | None = None
    preferences: Preferences | None = None
    ignored: frozenset[int] = frozenset()


def look_up(db: Connection, arriving: Sequence[tuple[Person, int]], *, about: bool = False) -> list[LoginFacts]:
    """The facts for each person, given with the id of the token that they logged in with, or 0. `about`: see
    `Membership`."""
    known = change_rows.accounts(db, [(person.id, token_id) for person, token_id in arriving])
    named = {
        person.id: structs.replace(person, name=account.name or person.name, display=account.display or "")
        for (person, _), account in zip(arriving, known, strict=True)
    }  # it may have been renamed since it gave its password
    memberships = memberships_of(db, named, about=about)
    both = [(person.id, account) for (person, _), account in zip(arriving, known, strict=True)]
    invited = invitations.pending(db, {id for id, account in both if account.invited})  # most have none
    apart = people.blocks(db, {id for id, account in both if account.apart})
    scopes = tokens.scopes(db, {token_id for _, token_id in arriving if token_id})
    limits = accounts.limits_of(db, {id for id, account in both if account.limited})
    ignored = ignoring.find(db, {id for id, account in both if account.ignores})
    preferred = preferences.find(db, {id for id, account in both if account.prefers})
    facts = [
        LoginFacts(
            memberships[id],
            invited.get(id, []),
            apart.get(id, frozenset()),
            account,
            limits.get(id, AS_SET),
            preferences=preferred.get(id),
            ignored=ignored.get(id, frozenset()),
        )
        for id, account in both
    ]
    if not scopes:  # most come with a password
        return facts
    return [_confined(one, scopes.get(token_id)) for one, (_, token_id) in zip(facts, arriving, strict=True)]


def _confined(facts: LoginFacts, scope: Scope | None) -> LoginFacts:
    if scope is None or not scope.room_id:
        return structs.replace(facts, scope=scope)
    heard = [one for one in facts.memberships if scope.hears(one.facts.id)]
    return structs.replace(facts, scope=scope, memberships=heard, invitations=[])
