"""What a person has on their screen."""

from datetime import UTC, datetime

from chatserver.session.view import View
from chatserver.values.events import MESSAGE, Entry, RoomFacts
from chatserver.values.seen import Seen

AT = datetime(2026, 3, 2, 10, 2, tzinfo=UTC)
BOOKS, CARDS = 1, 2


ME = 1


def room(id: int) -> RoomFacts:
    return RoomFacts(id, f"room{id}")


def entries(*seqs: int) -> list[Entry]:
    return [Entry(seq, MESSAGE, 9, "user9", AT, f"text {seq}") for seq in seqs]


def test_reading_without_a_gap() -> None:
    """The read mark follows what is shown, room by room, as long as it continues what was seen before. What is shown
    behind that is read, too, and the mark jumps over it once nothing lacks before it."""
    marks = (view := View()).marks
    for id in (BOOKS, CARDS):
        marks.know(id, Seen(3))
    view.shown(room(BOOKS), entries(4, 5), ME)
    assert marks.shown() == {BOOKS: Seen(5), CARDS: Seen(3)}
    view.shown(room(CARDS), entries(7, 8), ME)  # 4 to 6 were never seen
    view.shown(room(CARDS), entries(9), ME)
    assert marks.shown() == {BOOKS: Seen(5), CARDS: Seen(3, ((7, 9),))}
    view.shown(room(CARDS), entries(4, 5, 6), ME)
    assert marks.shown()[CARDS] == Seen(9)
    view.shown(room(BOOKS), entries(4, 5, 6), ME)  # shown again, from an earlier one on
    assert marks.shown()[BOOKS] == Seen(6)


def test_an_echo_is_hidden_once() -> None:
    """An entry that the person knows is hidden, in its room only; once it has gone by, it is forgotten."""
    view = View()
    view.marks.know(BOOKS, Seen(3))
    view.suppress(BOOKS, entries(5))
    view.suppress(BOOKS, entries(6))
    assert view.hidden(BOOKS, entries(4, 5, 6, 7)) == {5, 6}
    assert view.hidden(CARDS, entries(5, 6)) == frozenset()
    view.shown(room(BOOKS), entries(4, 5), ME)
    assert view.hidden(BOOKS, entries(5, 6)) == {6}
    assert view.marks.shown()[BOOKS] == Seen(5)  # a hidden entry counts as read


def test_the_last_one_visible() -> None:
    """The date of the last visible entry is on the screen; hidden entries leave no date there."""
    view = View()
    four, five, six = entries(4, 5, 6)
    assert view.shown(room(BOOKS), [four, five], ME) is five
    view.suppress(BOOKS, [six])
    assert view.shown(room(BOOKS), [five, six], ME) is five
    view.suppress(BOOKS, [six])
    assert view.shown(room(BOOKS), [six], ME) is None
    assert view.shown(room(BOOKS), [six], ME) is six
