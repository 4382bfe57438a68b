"""People, and one's own account."""

import hashlib
import secrets

from chatserver import commands as c
from chatserver.errors import ErrorWord, Refused, no_such_user
from chatserver.events import Done, Exported, TokenList, TokenMade, UserList
from chatserver.handlers.outcome import Apart, Ask, HangUp, Outcome
from chatserver.handlers.rights import forbid_guest
from chatserver.store import Connection, accounts, export, moderation, rooms
from chatserver.store.places import find_person, has_blocked

MOST_ENTRIES = 500
ERASED = ("erased", "Your account is erased. Goodbye.")
"""Reason and words for who is no more."""
TOKEN_BYTES = 32


def who(db: Connection, ask: Ask, command: c.Who) -> Outcome:
    assert command.name is not None  # without one it is answered by the registry
    apart = moderation.blocks(db, [ask.who.id])[ask.who.id]
    line = accounts.last_seen(db, command.name, ask.online, ask.away, apart)
    if line is None:
        raise no_such_user(command.name)
    return Outcome(UserList([line]))


def block(db: Connection, ask: Ask, command: c.Block) -> Outcome:
    target = find_person(db, command.name)
    if target.id == ask.who.id:
        raise Refused(ErrorWord.NOT_ALLOWED, "You cannot block yourself.")
    moderation.block(db, ask.who, target, ask.at)
    note = Done(f"You hear nothing from {target.name} in private any more. /unblock {target.name} undoes it.")
    return Outcome(note, effects=[Apart((ask.who.id, target.id), True)])


def unblock(db: Connection, ask: Ask, command: c.Unblock) -> Outcome:
    target = find_person(db, command.name)
    moderation.unblock(db, ask.who, target)
    apart = has_blocked(db, target.id, ask.who.id)
    return Outcome(Done(f"{target.name} may write to you."), effects=[Apart((ask.who.id, target.id), apart)])


def token(db: Connection, ask: Ask, command: c.Token) -> Outcome:
    forbid_guest(ask.who)
    if command.label is not None:
        made = new_token()
        accounts.create_token(db, ask.who.id, command.label, token_hash(made), ask.at)
        return Outcome(TokenMade(command.label, made))
    if command.revoke is not None:
        token_id = accounts.revoke_token(db, ask.who.id, command.revoke, ask.at)
        if token_id is None:
            raise Refused(ErrorWord.BAD_COMMAND, "The field revoke names no token of yours. List them first.")
        gone = HangUp(ask.who.id, "token-revoked", "The token you came with is revoked.", token_id)
        return Outcome(Done("The token is revoked."), effects=[gone])
    return Outcome(TokenList(accounts.tokens(db, ask.who.id)))


def new_token() -> str:
    """Known as a token by how it begins, to people and to what looks for secrets in the wrong places."""
    return f"ct_{secrets.token_urlsafe(TOKEN_BYTES)}"


def token_hash(token: str) -> str:
    """What is kept of a token: 256 random bits need no slow hash, and no salt."""
    return hashlib.sha256(token.encode()).hexdigest()


def data(db: Connection, ask: Ask, command: c.Export) -> Outcome:
    entries, after = export.page(db, ask.who, command.after, min(command.limit, MOST_ENTRIES))
    return Outcome(Exported(None if command.after else export.account(db, ask.who), entries, after))


def forget(db: Connection, ask: Ask, *, messages: bool) -> Outcome:
    """Erases the asker's account: out of all rooms, out of the database. The password is checked before."""
    left = rooms.leave_all(db, ask.who, ask.at)
    accounts.erase(db, ask.who, ask.at, messages=messages)
    gone = HangUp(ask.who.id, *ERASED)
    return Outcome(Done("Your account is erased."), more=left, effects=[gone])
