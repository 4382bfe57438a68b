"""Consecutive entries of a room on their way to its subscribers, rendered once for each form."""

from collections.abc import Sequence
from itertools import accumulate, chain

from msgspec import structs

from chatserver.events import Entry, RoomFacts
from chatserver.mentions import Mentions
from chatserver.session import Session
from chatserver.wire.dialect import PLAIN, Form, Rendered

Picked = tuple[Form, frozenset[int], tuple[int, ...]]
"""A form, the numbers of entries that are not shown, and the indexes of those that are marked."""

FEW_ENTRIES = 4
"""So many are rendered sooner than they are put together."""


class Batch:
    """`personal`: the accounts that may be sent other bytes than everybody else: a message id is shown to its sender
    alone, and a direct room has another label for each of its two people.

    Entries are rendered once for each form. A person may be mentioned by some of them, or have some on screen already:
    their bytes are put together from those of two forms, one with all entries marked and one with none. So are those of
    a program that sent some of many entries itself.
    """

    __slots__ = ("_mentions", "_own", "_picked", "_pieces", "_rendered", "entries", "facts", "personal")

    def __init__(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        self.facts = facts
        self.entries = entries
        self._rendered: dict[Form, Rendered] = {}
        self._pieces: dict[Form, list[bytes]] | None = None
        self._picked: dict[Picked, Rendered] | None = None
        self._mentions: Mentions | None = None
        self._own: dict[int, list[int]] | None = None
        if facts.pair is not None:
            self.personal = frozenset([account_id for account_id, _ in facts.pair])
        else:
            self.personal = frozenset([entry.author_id for entry in entries if entry.client_id is not None])

    def rendered_for(self, session: Session) -> Rendered:
        form, view = session.form, session.view
        if session.account_id in self.personal:
            form = structs.replace(form, viewer=session.account_id)
            if len(self.entries) > FEW_ENTRIES and self.facts.pair is None and view is None:
                return self._rendered.get(form) or self._with_own(session.form, form)
        if view is not None:
            hidden = view.hidden(self.facts.id, self.entries)
            mentions = self._mentions
            if mentions is None:
                mentions = self._mentions = Mentions(self.entries)
            marked = mentions.of(session.name)
            if hidden or marked:
                return self._pick(form, hidden, marked)
        return self._rendered.get(form) or self._render(form)

    def _render(self, form: Form) -> Rendered:
        rendered = form.dialect.entries(self.facts, self.entries, form)
        rendered = self._rendered[form] = form.framing.batch(rendered)
        return rendered

    def _with_own(self, common: Form, form: Form) -> Rendered:
        """The bytes for a program that sent some of the entries itself: only these are rendered for it alone."""
        if self._own is None:
            self._own = {}
            for index, entry in enumerate(self.entries):
                self._own.setdefault(entry.author_id, []).append(index)
        pieces = list(self._alone(common))
        for index in self._own[form.viewer]:
            pieces[index] = form.dialect.entries(self.facts, (self.entries[index],), form).data
        rendered = self._rendered[form] = self._joined(form, pieces)
        return rendered

    def _joined(self, form: Form, pieces: list[bytes]) -> Rendered:
        return form.framing.batch(Rendered(b"".join(pieces), tuple(accumulate(map(len, pieces)))))

    def _pick(self, form: Form, hidden: frozenset[int], marked: tuple[int, ...]) -> Rendered:
        """The bytes for a person. They cost one join: no entry is rendered for one person alone."""
        if self._picked is None:
            self._picked = {}
        rendered = self._picked.get((form, hidden, marked))
        if rendered is None:
            pieces = self._chosen(form, hidden, marked)
            rendered = self._picked[form, hidden, marked] = self._joined(form, pieces)
        return rendered

    def _chosen(self, form: Form, hidden: frozenset[int], marked: tuple[int, ...]) -> list[bytes]:
        """Each entry's bytes."""
        if len(hidden) == len(self.entries):  # most often the one that the person has just typed
            return [b""] * len(hidden)
        in_marks = self._alone(structs.replace(form, marked=True)) if marked else []
        if len(marked) == len(self.entries) and not hidden:
            return in_marks
        pieces = list(self._alone(form))
        for index in marked:
            pieces[index] = in_marks[index]
        if not hidden:
            return pieces
        hidden_at = [seq - self.entries[0].seq for seq in hidden]
        for index in hidden_at:
            pieces[index] = b""
        if any(self._is_dated(form, index) for index in hidden_at):
            self._move_dates(form, hidden, marked, pieces)
        return pieces

    def _is_dated(self, form: Form, index: int) -> bool:
        """Whether a date is shown in front of this entry."""
        day_before = form.dialect.day(self.entries[index - 1].at, form.screen) if index else form.day
        return form.dialect.day(self.entries[index].at, form.screen) != day_before

    def _move_dates(self, form: Form, hidden: frozenset[int], marked: tuple[int, ...], pieces: list[bytes]) -> None:
        """A date that a hidden entry would have shown is shown by the next visible one. Happens once a day."""
        day = day_here = form.day
        for index, entry in enumerate(self.entries):
            day_before, day_here = day_here, form.dialect.day(entry.at, form.screen)
            if entry.seq in hidden:
                continue
            if day != day_before:
                alone = structs.replace(form, day=day, marked=index in marked)
                pieces[index] = form.dialect.entries(self.facts, (entry,), alone).data
            day = day_here

    def _alone(self, form: Form) -> list[bytes]:
        """The bytes of each entry in this form, without framing."""
        if self._pieces is None:
            self._pieces = {}
        pieces = self._pieces.get(form)
        if pieces is None:
            unframed = form if form.framing is PLAIN else structs.replace(form, framing=PLAIN)
            lines = self._rendered.get(unframed) or self._render(unframed)
            data, ends = lines.data, lines.ends
            starts = chain((0,), ends[:-1])
            pieces = self._pieces[form] = [data[start:end] for start, end in zip(starts, ends, strict=True)]
        return pieces

    def has_reached(self, session: Session, count: int) -> None:
        """So many of its entries have been sent to a session, or are on their way to it."""
        if count and session.view is not None:
            session.has_shown(self.facts.id, self.entries if count == len(self.entries) else self.entries[:count])
