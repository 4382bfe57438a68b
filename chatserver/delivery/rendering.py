"""Consecutive entries of a room on their way to its subscribers, rendered once for each form."""

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Final, Literal

from msgspec import structs

from chatserver.session.session import Session
from chatserver.values.events import OWN_ID, Entry, Notify, RoomFacts
from chatserver.values.ignoring import concealed, quotes
from chatserver.values.mentions import Mentions
from chatserver.wire.dialect import EMPTY, NONE, PLAIN, Form, Rendered

Picked = tuple[Form, frozenset[int], tuple[int, ...], tuple[int, ...]]
"""A form, the numbers of entries that are not shown, the indexes of marked ones, and the indexes of those without a
bell."""

FEW_ENTRIES = 4
"""Maximum number of entries that are rendered again rather than joined, which takes longer."""


class Batch:
    """`personal`: accounts that may be sent other bytes than everybody else: a message id is shown to its sender alone,
    and a direct room has a label for each of its two people.

    Entries are rendered once for each form. For a person who is mentioned by some entries, or has some on screen
    already, the bytes are joined from two forms, one with all entries marked and one with none; likewise for a program
    that sent some of the entries itself.
    """

    __slots__ = ("_aside", "_asides", "_common", "_common_form", "_mentions", "_own", "_picked", "_pieces", "_rendered",
                 "_straight", "_unquoted", "entries", "facts", "personal")  # fmt: skip

    def __init__(self, facts: RoomFacts, entries: Sequence[Entry]) -> None:
        self.facts = facts
        self.entries = entries
        self._rendered: dict[Form, Rendered] = {}
        self._pieces: dict[Form, list[bytes]] | None = None
        self._picked: dict[Picked, Rendered] | None = None
        self._mentions: Mentions | None = None
        self._own: dict[int, list[int]] | None = None
        self._asides: dict[Form, Form] | None = None
        self._unquoted: Batch | None = None
        self._straight: Form | None = None  # of the last person who looks at another room, and the form for that
        self._aside: Form
        self._common_form: Form | None = None  # of the last person who was sent the common bytes
        self._common = EMPTY
        if facts.pair is not None:
            self.personal = frozenset([account_id for account_id, _ in facts.pair])
        else:
            self.personal = frozenset(
                [one.author_id for one in entries if one.client_id is not None and one.client_id[:1] != OWN_ID]
            )

    def rendered_for(self, session: Session) -> Rendered:
        form, view = session.form, session.view
        ignored = session.ignored
        if ignored and session.is_quoted_to and any(quotes(entry, ignored) for entry in self.entries):
            if self._unquoted is None:
                self._unquoted = Batch(self.facts, [concealed(entry) for entry in self.entries])
            return self._unquoted.rendered_for(session)
        if session.who.account_id in self.personal:
            form = structs.replace(form, viewer=session.who.account_id)
            if len(self.entries) > FEW_ENTRIES and self.facts.pair is None and view is None:
                return self._rendered.get(form) or self._with_own(session.form, form)
        if view is None:
            return self._rendered.get(form) or self._render(form)
        hides = view.echoes or ignored or view.renamed
        hidden = view.hidden(self.facts.id, self.entries) if hides else NONE
        mentions = self._mentions
        if mentions is None:
            mentions = self._mentions = Mentions(self.entries)
        marked = mentions.of(session.who.name, session.who.account_id)
        if view.notify and form.screen.bell != "off" and self.facts.id in view.notify:
            form = _ringing(form, view.notify[self.facts.id])
        current = view.current
        if current and current != (self.facts.name if self.facts.pair is None else self.facts.label(form.viewer)):
            if form is not self._straight:
                self._straight, self._aside = form, self._aside_of(form)
            form = self._aside
        if form.screen.bell != "off":
            silent = self._own_of(session.who.account_id)
            if silent:
                return self._pick(form, hidden, marked, silent)
        if hidden or marked:
            return self._pick(form, hidden, marked)
        if form is not self._common_form:  # people whose screens are alike stand next to each other, mostly
            self._common_form, self._common = form, self._rendered.get(form) or self._render(form)
        return self._common

    def _render(self, form: Form) -> Rendered:
        rendered = form.dialect.entries(self.facts, self.entries, form)
        rendered = self._rendered[form] = form.framing.batch(rendered)
        return rendered

    def _aside_of(self, form: Form) -> Form:
        """The form for people who look at another room: one object for each form that it is made of."""
        if self._asides is None:
            self._asides = {}
        aside = self._asides.get(form)
        if aside is None:
            aside = self._asides[form] = structs.replace(form, aside=True)
        return aside

    def _own_of(self, account_id: int) -> tuple[int, ...]:
        """The indexes of the entries that this account wrote itself, for which no bell is rung."""
        return tuple([index for index, entry in enumerate(self.entries) if entry.author_id == account_id])

    def _with_own(self, common: Form, form: Form) -> Rendered:
        """The bytes for a program that sent some of the entries itself: only those are rendered again."""
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

    def _pick(
        self, form: Form, hidden: frozenset[int], marked: tuple[int, ...], silent: tuple[int, ...] = ()
    ) -> Rendered:
        """The bytes for a person. They cost one join: no entry is rendered for one person alone."""
        if self._picked is None:
            self._picked = {}
        picked = (form, hidden, marked, silent)
        rendered = self._picked.get(picked)
        if rendered is None:
            rendered = self._picked[picked] = self._joined(form, self._chosen(*picked))
        return rendered

    def _chosen(
        self, form: Form, hidden: frozenset[int], marked: tuple[int, ...], silent: tuple[int, ...]
    ) -> list[bytes]:
        """Each entry's bytes."""
        if len(hidden) == len(self.entries):  # most often the one that the person has just typed
            return [b""] * len(hidden)
        in_marks = self._alone(structs.replace(form, marked=True)) if marked else []
        if len(marked) == len(self.entries) and not hidden and not silent:
            return in_marks
        pieces = list(self._alone(form))
        for index in marked:
            pieces[index] = in_marks[index]
        if silent:
            for index in silent:
                pieces[index] = self._alone(_silent(form, marked=index in marked))[index]
        if not hidden:
            return pieces
        hidden_at = [seq - self.entries[0].seq for seq in hidden]
        for index in hidden_at:
            pieces[index] = b""
        if any(self._is_dated(form, index) for index in hidden_at):
            self._move_dates(form, hidden, marked, silent, pieces)
        return pieces

    def _is_dated(self, form: Form, index: int) -> bool:
        """Whether a date is shown in front of this entry."""
        day_before = form.dialect.day(self.entries[index - 1].at, form.screen) if index else form.day
        return form.dialect.day(self.entries[index].at, form.screen) != day_before

    def _move_dates(
        self,
        form: Form,
        hidden: frozenset[int],
        marked: tuple[int, ...],
        silent: tuple[int, ...],
        pieces: list[bytes],
    ) -> None:
        """A date that a hidden entry would have shown is shown by the next visible one. Happens once a day."""
        day = day_here = form.day
        for index, entry in enumerate(self.entries):
            day_before, day_here = day_here, form.dialect.day(entry.at, form.screen)
            if entry.seq in hidden:
                continue
            if day != day_before:
                alone = structs.replace(_silent(form) if index in silent else form, day=day, marked=index in marked)
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

    def has_reached(self, session: Session, count: int, rendered: Rendered) -> None:
        """Notes that the first `count` entries were sent to a session, as they were rendered."""
        if count and session.view is not None:
            entries, ends = self.entries, rendered.ends
            if count < len(entries):
                entries, ends = entries[:count], ends[:count]
            session.has_shown(self.facts, entries, ends)


BELLS: Final[dict[Notify, Literal["on", "off", "mentions"]]] = {"all": "on", "mentions": "mentions", "nothing": "off"}
"""When the bell rings in a room for which a person has set what they want to be notified of."""


def _ringing(form: Form, notify: Notify) -> Form:
    """This form with the bell for such a room."""
    return structs.replace(form, screen=structs.replace(form.screen, bell=BELLS[notify]))


def _silent(form: Form, *, marked: bool = False) -> Form:
    """This form without the bell."""
    return structs.replace(form, screen=structs.replace(form.screen, bell="off"), marked=marked)
