"""Consecutive entries of a room on their way to its subscribers, rendered once for each form."""

from collections.abc import Sequence

from msgspec import structs

from chatserver.events import Entry, RoomFacts
from chatserver.mentions import words_said
from chatserver.session import Session
from chatserver.wire.dialect import Form, Rendered


class Batch:
    """`personal`: the accounts that may be sent other bytes than everybody else: a message id is shown to its sender
    alone, and a direct room has another label for each of its two people."""

    __slots__ = ("_rendered", "_said", "entries", "facts", "personal")

    def __init__(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        self.facts = facts
        self.entries = entries
        self._rendered: dict[Form, Rendered] = {}
        self._said: frozenset[str] | None = None
        if facts.pair is not None:
            self.personal = frozenset([account_id for account_id, _ in facts.pair])
        else:
            self.personal = frozenset([entry.author_id for entry in entries if entry.client_id is not None])

    def rendered_for(self, session: Session) -> Rendered:
        form = self._form(session)
        rendered = self._rendered.get(form)
        if rendered is None:
            rendered = form.dialect.entries(self.facts, self.entries, form)
            rendered = self._rendered[form] = form.framing.batch(rendered)
        return rendered

    def _form(self, session: Session) -> Form:
        form, view = session.form, session.view
        viewer = session.account_id if session.account_id in self.personal else 0
        if view is None:
            return structs.replace(form, viewer=viewer) if viewer else form
        hidden = view.hidden(self.facts.id, self.entries)
        name = session.name if self._mentions(session.name) else ""
        if viewer or hidden or name:
            return structs.replace(form, viewer=viewer, hidden=hidden, name=name)
        return form

    def _mentions(self, name: str) -> bool:
        """Whether a name is among the words said, in whatever case."""
        if self._said is None:
            self._said = words_said(self.entries)
        return name.casefold() in self._said

    def has_reached(self, session: Session, count: int) -> None:
        """So many of its entries have been sent to a session, or are on their way to it."""
        if count and session.view is not None:
            session.has_shown(self.facts.id, self.entries if count == len(self.entries) else self.entries[:count])
