"""What follows from a command besides what stands in a room's log, at the node where it was given."""

from collections.abc import Callable

from chatserver.delivery.registry import Registry
from chatserver.handlers.outcome import Apart, BansChanged, Effect, End, HangUp, Ignored, Named, Preferred, Tell
from chatserver.presence.roster import Roster
from chatserver.session.session import Session


class Effects:
    """`bans_changed` is called if addresses were banned or unbanned."""

    def __init__(self, registry: Registry, roster: Roster, bans_changed: Callable[[], None]) -> None:
        self._registry = registry
        self._roster = roster
        self._bans_changed = bans_changed

    def apply(self, effect: Effect, asker: Session) -> None:
        """`asker`: the session whose command it follows from. Other nodes have it from `handlers.shared`."""
        match effect:
            case Tell(account_id, news):
                self._roster.tell([one for one in self._roster.sessions(account_id) if one is not asker], news)
                self._registry.elsewhere.tell(account_id, news)
            case HangUp(account_id, reason, text, token_id, spare):
                if spare:
                    self._registry.doubt_logins(account_id)  # which have perhaps given the former password
                for other in self._roster.sessions(account_id):
                    if (not token_id or other.who.token_id == token_id) and not (spare and other is asker):
                        other.link.hang_up(reason, text)
            case Apart((one, other_id), apart):
                self._roster.set_apart(one, other_id, apart=apart)
                self._registry.doubt_logins(one, other_id)
            case Named(account_id, former, name, display, at):
                self._registry.renamed(account_id, former, name, display, at)
            case Ignored(account_id, other_id, ignored):
                self._registry.doubt_logins(account_id)
                for other in self._roster.sessions(account_id):
                    if other.view is not None:
                        known = other.view.ignored
                        other.view.ignored = known | {other_id} if ignored else known - {other_id}
            case Preferred(account_id, preferences):
                self._registry.doubt_logins(account_id)
                for other in self._roster.sessions(account_id):
                    other.prefer(preferences)
            case BansChanged():
                self._bans_changed()
            case End(reason, text):
                asker.link.hang_up(reason, text)
