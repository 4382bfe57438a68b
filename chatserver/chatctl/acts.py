"""What `chatctl` changes in the database is told to the running server, for its audit log."""

from typing import Final

from chatserver.chatctl.access import Access, Problem
from chatserver.chatctl.control import QUICK_SECONDS, ask
from chatserver.operation.control.requests import Audit

FIELDS: Final = {
    "name": "target",
    "whom": "target",
    "room": "room",
    "label": "label",
    "id": "id",
    "off": "off",
    "messages": "messages",
    "span": "seconds",
    "expires": "seconds",
    "which": "label",
}
"""By parameter of a command, its field in the audit log. Others are not logged: no texts, and nothing secret."""


def report(reach: Access, *, failed: bool) -> None:
    """Tells the running server, if there is one on this host, what this command has changed. A command that has failed
    may have changed something before. Whether the server hears it changes nothing for the command."""
    acts, reach.acts = reach.acts, {}
    for path, parameters in acts.items():
        what = {field: _word(parameters[name]) for name, field in FIELDS.items() if parameters.get(name)}
        act = Audit(act="-".join(path.split()[1:]), what=what | ({"outcome": "failed"} if failed else {}))
        try:
            ask(reach, act, QUICK_SECONDS)
        except Problem:
            return


def _word(value: object) -> str:
    return "yes" if value is True else str(value)
