"""The asker's own account: its tokens, its names and preferences, exporting its data, and erasing it."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from chatserver.handlers.messages import what_was_removed
from chatserver.handlers.outcome import Announcement, Ask, Effect, End, HangUp, Named, NotifySet, Outcome, Preferred
from chatserver.handlers.rights import forbid_guest, require
from chatserver.store import (
    Connection,
    accounts,
    certificates,
    erasure,
    kept_sessions,
    members,
    preferences,
    renames,
    rooms,
    tokens,
)
from chatserver.store import export as exporting
from chatserver.store.entries import removed_before_own
from chatserver.store.renames import Quota
from chatserver.store.tokens import Grant, new_token, token_hash
from chatserver.store.visibility import find_room
from chatserver.util import time_zones
from chatserver.values import commands as c
from chatserver.values.answers import Done, Exported, Preferences, Renamed, SessionList, TokenList, TokenMade
from chatserver.values.errors import Note, Refused, Sentence, Why, not_a_member
from chatserver.values.events import BOT, Notify
from chatserver.wire.hygiene.display_names import check_words
from chatserver.wire.hygiene.lookalikes import check_new

ERASED = ("erased", Sentence(Note.ERASED_GOODBYE))
"""The reason and the text with which the connections of an erased account end."""

ENDED = ("session-ended", Sentence(Note.SESSION_WAS_ENDED))
"""The reason and the text with which the connections of a kept session end."""

ROOMS_AT_ONCE = 50
"""Maximum number of rooms at once: their locks are held until the account is erased, for some hundredths of a
second."""


def token(db: Connection, ask: Ask, command: c.Token) -> Outcome:
    """Creates, revokes or lists tokens.

    Not a handler by itself: to create one, the caller must have checked the password.
    """
    forbid_guest(ask.who)
    if command.label is not None:
        return _make_token(db, ask, command, command.label)
    if command.revoke is not None:
        token_id = tokens.revoke(db, ask.who.id, command.revoke, ask.at)
        if token_id is None:
            raise Refused(Why.NO_SUCH_TOKEN)
        gone = HangUp(
            ask.who.id,
            "token-revoked",
            Sentence(Note.TOKEN_WAS_REVOKED),
            token_id,
        )
        return Outcome(Done(Sentence(Note.TOKEN_REVOKED)), effects=[gone])
    return Outcome(TokenList(tokens.listing(db, ask.who.id)))


def _make_token(db: Connection, ask: Ask, command: c.Token, label: str) -> Outcome:
    room_id = 0
    if command.room is not None:
        access = find_room(db, ask.who, command.room)
        access.require_member(ask.who)
        room_id = access.facts.id
        if not room_id:
            raise not_a_member(command.room)
    made, grant = new_token(), Grant(command.seconds, command.read_only, room_id)
    expires = tokens.create(db, ask.who.id, label, token_hash(made), ask.at, grant, ask.limits.tokens_per_account)
    return Outcome(TokenMade(label, made, expires))


def sessions(db: Connection, ask: Ask, command: c.Sessions, current: int) -> Outcome:
    """Lists the kept sessions of the asker's account, or ends some. `current`: the id of the asker's own, or 0."""
    forbid_guest(ask.who)
    if command.end is None:
        return Outcome(SessionList(kept_sessions.listing(db, ask.who.id, current)))
    if command.end == "others":
        ended = kept_sessions.end_all(db, ask.who.id, ask.at, but=current)
        return Outcome(Done(Sentence(Note.SESSIONS_ENDED, ended=len(ended))), effects=_gone(ask, ended))
    if not kept_sessions.end(db, ask.who.id, ask.at, command.end):
        raise Refused(Why.NO_SUCH_SESSION)
    return Outcome(Done(Sentence(Note.SESSION_ENDED)), effects=_gone(ask, [command.end]))


def log_out(db: Connection, ask: Ask, current: int) -> Outcome:
    """Ends the kept session of the asker, and with it all its connections; they asked for that."""
    kept_sessions.end(db, ask.who.id, ask.at, current)
    own = End("logout", Sentence(Note.LOGGED_OUT))
    return Outcome(Done(), effects=[own, *_gone(ask, [current])])


def _gone(ask: Ask, ids: Sequence[int]) -> list[Effect]:
    """The connections of kept sessions end. Other nodes learn of it from the store."""
    return [HangUp(ask.who.id, *ENDED, id) for id in ids]


def change_password(db: Connection, ask: Ask, hash: str | None, *, others: bool, current: int = 0) -> Outcome:
    """Stores the hash of the new password (None: it is stored already), and ends all kept sessions but `current`.
    `others`: also ends all other connections of the account, revokes its tokens, and removes its certificates.

    Not a handler by itself: the caller must have checked the old password.
    """
    if hash is not None:
        accounts.set_password(db, ask.who.id, hash)
    ended = kept_sessions.end_all(db, ask.who.id, ask.at, but=current)
    if not others:
        valid = tokens.count(db, ask.who.id)
        note = Sentence(Note.PASSWORD_CHANGED)
        if ended:
            note = note.then(Sentence(Note.KEPT_SESSIONS_ENDED, ended=len(ended)))
        if valid:
            note = note.then(Sentence(Note.TOKENS_STILL_WORK, valid=valid))
        return Outcome(Done(note), effects=_gone(ask, ended))
    revoked = tokens.revoke_all(db, ask.who.id, ask.at)
    removed = certificates.remove_all(db, ask.who.id)
    gone = HangUp(ask.who.id, "password", Sentence(Note.PASSWORD_WAS_CHANGED), spare=True)  # kept sessions, too
    note = Sentence(Note.PASSWORD_CHANGED_ALL, revoked=revoked)
    if ended:
        note = note.then(Sentence(Note.KEPT_SESSIONS_ENDED, ended=len(ended)))
    if removed:
        note = note.then(Sentence(Note.CERTIFICATES_REMOVED, removed=removed))
    return Outcome(Done(note), effects=[gone])


def export(db: Connection, ask: Ask, command: c.Export) -> Outcome:
    portion = ask.portion
    account = None if command.after else exporting.account(db, ask.who, portion)
    entries, after = exporting.page(db, ask.who, command.after, min(command.limit, c.PAGE_LIMIT), portion)
    gone = {} if after is not None else what_was_removed(portion, removed_before_own(db, ask.who))
    return Outcome(Exported(account, entries, after, gone))


def forget(db: Connection, ask: Ask, *, messages: bool) -> Outcome:
    """Erases the asker's account: removes it from all rooms and from the database. Rooms beyond ROOMS_AT_ONCE are left
    in steps, like the rest of an erasure.

    Not a handler by itself: the caller must have checked the password. `messages`: also erases its messages.
    """
    left = rooms.leave_all(db, ask.who, ask.at, ROOMS_AT_ONCE)
    erasure.erase(db, ask.who, ask.at, messages=messages)
    return Outcome(
        Done(Sentence(Note.ERASED)),
        announced=[Announcement(facts, entries) for facts, entries in left],
        echo="always",
        effects=[HangUp(ask.who.id, *ERASED)],
    )


ROOMS_RENAMED_AT_ONCE = 50
"""Maximum number of rooms that get the entry at once, which takes some milliseconds; the others follow."""


def rename(db: Connection, ask: Ask, command: c.Rename) -> Outcome:
    """Not a handler by itself: in a kept session, the caller must have checked the password."""
    forbid_guest(ask.who)
    if ask.who.kind == BOT:
        raise Refused(Why.BOT_NAMED_BY_OTHERS)
    if command.name is None and command.display is None:
        raise Refused(Why.NAME_OR_DISPLAY)
    account = accounts.get(db, ask.who.id)
    if command.name is not None and account is not None and command.name.lower() != account.name.lower():
        check_new(command.name, ask.reserved)
    if command.display and account is not None and command.display != account.person.display:
        check_words(command.display, ask.reserved)
    quota = Quota(ask.limits.renames_per_day, ask.limits.former_name_days)
    done = renames.rename(db, ask.who.id, command.name, command.display, ask.at, quota)
    if done is None:  # usually a retry: the answer was lost, and so were its consequences
        name, display, since = renames.called(db, ask.who.id)
        late = [] if since is None else [Named(ask.who.id, ask.who.name, name, display, since)]
        return Outcome(Renamed(name, display), effects=[*late])
    announced = [Announcement(facts, [entry]) for facts, entry in done.announced]
    named = Named(done.now.id, done.former, done.now.name, done.now.display, done.at, announced[ROOMS_RENAMED_AT_ONCE:])
    return Outcome(
        Renamed(done.now.name, done.now.display), announced=announced[:ROOMS_RENAMED_AT_ONCE], effects=[named]
    )


DEFAULT = "default"
"""Value that resets a preference to its default."""


def prefer(db: Connection, ask: Ask, command: c.Prefer) -> Outcome:
    """Sets the given preferences, and answers with all of them; of those for single rooms, with that for `room`."""
    about, effects = _notify(db, ask, command)
    given = {name: getattr(command, name) for name in preferences.NAMES}
    chosen = {name: None if value == DEFAULT else value for name, value in given.items() if value is not None}
    if not chosen:
        known = preferences.find(db, [ask.who.id]).get(ask.who.id, Preferences())
        return Outcome(replace(known, now=ask.at, **about), effects=effects)
    zone = chosen.get("timezone")
    if zone is not None:
        chosen["timezone"] = time_zones.find(zone)
    known = preferences.change(db, ask.who.id, chosen)
    answer = replace(known, now=ask.at, **about)
    return Outcome(answer, effects=[Preferred(ask.who.id, known), *effects])


def _notify(db: Connection, ask: Ask, command: c.Prefer) -> tuple[dict[str, Any], list[Effect]]:
    """The fields of the answer about the command's room: its label, its id, what the asker wants to be notified of
    there. And what follows if they have set it."""
    if command.room is None:
        return {}, []
    access = find_room(db, ask.who, command.room)
    require(ask.who, access, "prefer")
    if not access.facts.id:  # a direct room before its first message
        raise not_a_member(command.room)
    about: dict[str, Any] = {"room": access.facts.label(ask.who.id), "room_id": access.facts.id}
    if command.notify is None:
        return {**about, "notify": members.notify(db, ask.who.id, access.facts.id)}, []
    wanted: Notify | None = None if command.notify == "default" else command.notify
    members.set_notify(db, ask.who.id, access.facts.id, wanted)
    return {**about, "notify": wanted}, [NotifySet(ask.who.id, access.facts.id, wanted)]
