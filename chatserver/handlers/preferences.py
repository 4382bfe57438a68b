"""Preferences: how an account wants things shown, on all its devices."""

from msgspec.structs import replace

from chatserver.handlers.outcome import Ask, Outcome, Preferred
from chatserver.store import Connection, preferences
from chatserver.util import time_zones
from chatserver.values import commands as c
from chatserver.values.answers import Preferences

DEFAULT = "default"
"""In place of a value: as if it had never been set."""


def prefer(db: Connection, ask: Ask, command: c.Prefer) -> Outcome:
    """Sets what is given, and answers with everything that is set then."""
    given = {"timezone": command.timezone, "clock": command.clock, "bell": command.bell}
    chosen = {name: None if value == DEFAULT else value for name, value in given.items() if value is not None}
    if not chosen:
        known = preferences.find(db, [ask.who.id]).get(ask.who.id, Preferences())
        return Outcome(replace(known, now=ask.at))
    zone = chosen.get("timezone")
    if zone is not None:
        chosen["timezone"] = time_zones.find(zone)
    known = preferences.change(db, ask.who.id, chosen)
    return Outcome(replace(known, now=ask.at), effects=[Preferred(ask.who.id, known)])
