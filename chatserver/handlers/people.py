"""Other people: showing them, blocking them, and ignoring them."""

from chatserver.handlers.outcome import Apart, Ask, Ignored, Online, Outcome
from chatserver.presence.roster import Roster
from chatserver.session.session import Session
from chatserver.store import Connection, accounts, ignoring, names, people
from chatserver.store.people import find_person
from chatserver.values import commands as c
from chatserver.values.answer_size import Portion, user_size
from chatserver.values.answers import Done, Ignoring, UserLine, UserList
from chatserver.values.errors import Note, Refused, Sentence, Why, no_such_user

MAX_BLOCKED = 1000
"""Maximum number of accounts that one account may have blocked: its blocks are in memory while it is online."""
MAX_IGNORED = 200
"""Maximum number of accounts that one may ignore: each entry is compared with them."""
MAX_USERS = 1000
"""Maximum number of people online that one is shown."""


def who_is_near(online: Online, session: Session, command: c.Who) -> Outcome:
    """People online who share a room with the asker, by name; of very many, some."""
    near, more = online.roster.some_nearby(session, MAX_USERS, command.prefix)
    now = online.now()
    here = sorted(near.items(), key=lambda person: person[1].lower())
    away = online.roster.away_text_shown
    lines = [UserLine(name, True, now, away(session, id), *_kind_and_display(online.roster, id)) for id, name in here]
    shown = Portion(online.settings.limits.answer_bytes).head(lines, user_size)
    return Outcome(UserList(shown, more or len(shown) < len(here)))


def _kind_and_display(roster: Roster, account_id: int) -> tuple[bool, str]:
    """Whether an account is a bot, and its display name."""
    _, display, bot = roster.called(account_id)
    return bot, display


def who(db: Connection, ask: Ask, command: c.Who) -> Outcome:
    assert command.name is not None  # without a name it is `who_is_near`
    apart = people.blocks(db, [ask.who.id])[ask.who.id]
    line = people.last_seen(db, ask.who, command.name, ask.online, ask.away, apart, only=ask.only)
    if line is None:
        raise no_such_user(command.name) if ask.only else names.unknown(db, command.name, ask.who)
    return Outcome(UserList([line]))


def block(db: Connection, ask: Ask, command: c.Block) -> Outcome:
    target = find_person(db, ask.who, command.name)
    if target.id == ask.who.id:
        raise Refused(Why.BLOCKS_SELF)
    if people.blocked_besides(db, ask.who, target) >= MAX_BLOCKED:
        raise Refused(Why.TOO_MANY_BLOCKED, most=MAX_BLOCKED)
    people.block(db, ask.who, target, ask.at)
    note = Done(Sentence(Note.BLOCKED, name=target.name))
    return Outcome(note, effects=[Apart((ask.who.id, target.id), True)])


def unblock(db: Connection, ask: Ask, command: c.Unblock) -> Outcome:
    target = find_person(db, ask.who, command.name)
    people.unblock(db, ask.who, target)
    apart = people.has_blocked(db, target.id, ask.who.id)
    return Outcome(Done(Sentence(Note.UNBLOCKED, name=target.name)), effects=[Apart((ask.who.id, target.id), apart)])


def ignore(db: Connection, ask: Ask, command: c.Ignore) -> Outcome:
    if command.name is None:
        return Outcome(Ignoring(ignoring.names(db, ask.who)))
    target = find_person(db, ask.who, command.name)
    if target.id == ask.who.id:
        raise Refused(Why.IGNORES_SELF)
    if ignoring.ignored_besides(db, ask.who, target) >= MAX_IGNORED:
        raise Refused(Why.TOO_MANY_IGNORED, most=MAX_IGNORED)
    ignoring.ignore(db, ask.who, target, ask.at)
    note = Sentence(Note.IGNORED, name=target.name)
    return Outcome(Done(note), effects=[Ignored(ask.who.id, target.id, True)])


def unignore(db: Connection, ask: Ask, command: c.Unignore) -> Outcome:
    found = accounts.find(db, command.name)  # also one that is disabled
    if found is None or found.erased:
        raise names.unknown(db, command.name, ask.who)
    target = found.person
    ignoring.unignore(db, ask.who, target)
    note = Sentence(Note.UNIGNORED, name=target.name)
    return Outcome(Done(note), effects=[Ignored(ask.who.id, target.id, False)])
