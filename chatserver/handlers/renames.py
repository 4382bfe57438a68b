"""What an account is called: its name and its display name."""

from chatserver.handlers.outcome import Announcement, Ask, Named, Outcome
from chatserver.handlers.rights import forbid_guest
from chatserver.store import Connection, accounts, renames
from chatserver.store.renames import Quota
from chatserver.values import commands as c
from chatserver.values.answers import Renamed
from chatserver.values.errors import Refused, Why
from chatserver.values.events import BOT
from chatserver.wire.hygiene.lookalikes import check_new

ROOMS_AT_ONCE = 50
"""Maximum number of rooms that get the entry at once, which takes some milliseconds; the others follow."""


def rename(db: Connection, ask: Ask, command: c.Rename) -> Outcome:
    forbid_guest(ask.who)
    if ask.who.kind == BOT:
        raise Refused(Why.BOT_NAMED_BY_OTHERS)
    if command.name is None and command.display is None:
        raise Refused(Why.NAME_OR_DISPLAY)
    account = accounts.get(db, ask.who.id)
    if command.name is not None and account is not None and command.name.lower() != account.name.lower():
        check_new(command.name, ask.reserved)
    quota = Quota(ask.limits.renames_per_day, ask.limits.former_name_days)
    done = renames.rename(db, ask.who.id, command.name, command.display, ask.at, quota)
    if done is None:  # a retry, as a rule: the answer was lost, and so was what follows from it
        name, display, since = renames.called(db, ask.who.id)
        late = [] if since is None else [Named(ask.who.id, ask.who.name, name, display, since)]
        return Outcome(Renamed(name, display), effects=[*late])
    announced = [Announcement(facts, [entry]) for facts, entry in done.announced]
    named = Named(done.now.id, done.former, done.now.name, done.now.display, done.at, announced[ROOMS_AT_ONCE:])
    return Outcome(Renamed(done.now.name, done.now.display), announced=announced[:ROOMS_AT_ONCE], effects=[named])
