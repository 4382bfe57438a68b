"""The asker's own account: its tokens, exporting its data, and erasing it."""

from chatserver import commands as c
from chatserver.answers import Done, Exported, TokenList, TokenMade
from chatserver.errors import ErrorWord, Refused
from chatserver.handlers.outcome import Announcement, Ask, HangUp, Outcome
from chatserver.handlers.rights import forbid_guest
from chatserver.store import Connection, accounts, rooms, tokens
from chatserver.store import export as exporting
from chatserver.store.tokens import new_token, token_hash

ERASED = ("erased", "Your account is erased. Goodbye.")
"""The reason and the text with which the connections of an erased account end."""


def token(db: Connection, ask: Ask, command: c.Token) -> Outcome:
    forbid_guest(ask.who)
    if command.label is not None:
        made = new_token()
        tokens.create(db, ask.who.id, command.label, token_hash(made), ask.at)
        return Outcome(TokenMade(command.label, made))
    if command.revoke is not None:
        token_id = tokens.revoke(db, ask.who.id, command.revoke, ask.at)
        if token_id is None:
            raise Refused(
                ErrorWord.BAD_COMMAND,
                "You have no token with this label: it may be revoked already. List your tokens to see them.",
            )
        gone = HangUp(
            ask.who.id,
            "token-revoked",
            "The token that you logged in with was revoked. Log in with another one.",
            token_id,
        )
        return Outcome(Done("You revoked the token."), effects=[gone])
    return Outcome(TokenList(tokens.listing(db, ask.who.id)))


def export(db: Connection, ask: Ask, command: c.Export) -> Outcome:
    entries, after = exporting.page(db, ask.who, command.after, min(command.limit, c.PAGE_LIMIT))
    return Outcome(Exported(None if command.after else exporting.account(db, ask.who), entries, after))


def forget(db: Connection, ask: Ask, *, messages: bool) -> Outcome:
    """Erases the asker's account: removes it from all rooms and from the database.

    Not a handler by itself: the caller must have checked the password. `messages`: also erase what they said.
    """
    left = rooms.leave_all(db, ask.who, ask.at)
    accounts.erase(db, ask.who, ask.at, messages=messages)
    return Outcome(
        Done("Your account is erased."),
        announced=[Announcement(facts, entries) for facts, entries in left],
        echo="always",
        effects=[HangUp(ask.who.id, *ERASED)],
    )
