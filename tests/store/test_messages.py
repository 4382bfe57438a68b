"""Messages: each is stored once, with its room's next number, or not at all."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import Connection, select, update

from chatserver.store import entries, messages, moderation, rooms
from chatserver.store.db.schema import MembershipRow, RoomRow
from chatserver.store.messages import Draft
from chatserver.store.visibility import find_room
from chatserver.values.events import JOINED, LEFT, MESSAGE, PRIVATE
from tests.store.conftest import AT, Tables, seqs

MINUTE = timedelta(minutes=1)
LATER = AT + MINUTE


def test_numbers(tables: Tables) -> None:
    """A batch over several rooms is stored in the order given, each message with its room's next number."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books, chess = tables.room("books", ana, bob), tables.room("chess", bob, ana)
    drafts = [Draft((books, chess, chess)[n % 3].id, (ana, bob)[n % 2].id, f"text {n}", None) for n in range(12)]
    verdicts = tables.append(*drafts)
    assert {verdict.outcome for verdict in verdicts} == {"stored"}
    assert seqs(verdicts) == [3, 3, 4, 4, 5, 6, 5, 7, 8, 6, 9, 10]
    assert seqs(tables.append(drafts[0], drafts[1])) == [7, 11]
    for room in (books, chess):
        said = [entry for entry in tables.log(room) if entry.kind == MESSAGE][: 4 if room is books else 8]
        assert [(entry.text, entry.author_id) for entry in said] == [
            (draft.text, draft.author_id) for draft in drafts if draft.room_id == room.id
        ]
        assert seqs(tables.log(room)) == list(range(1, len(tables.log(room)) + 1))


def test_a_retry_is_stored_once(tables: Tables) -> None:
    """A repeated id gets the first number and time, however late. Ids of different authors are independent."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana, bob)
    first = Draft(books.id, ana.id, "hello", "k1")
    [kept] = tables.append(first)
    [dup, others] = tables.append(first, Draft(books.id, bob.id, "hello", "k1"), at=LATER)
    assert (dup.outcome, dup.seq, dup.at) == ("dup", kept.seq, AT)
    assert (others.outcome, others.seq, others.at) == ("stored", kept.seq + 1, LATER)
    assert [entry.client_id for entry in tables.log(books)[2:]] == ["k1", "k1"]


def test_a_retry_after_leaving(tables: Tables) -> None:
    """The retry of a stored message is a dup even after its author has left the room."""
    ana = tables.person("ana")
    books = tables.room("books", ana)
    kept = tables.say(books, ana, "hello", "k1")
    tables(rooms.leave, ana, "books", AT)
    dup = tables.say(books, ana, "hello", "k1")
    assert (dup.outcome, dup.seq) == ("dup", kept.seq)
    assert tables.say(books, ana, "hello", "k2").outcome == "not-a-member"


def test_an_id_is_for_one_message(tables: Tables) -> None:
    """An id that is used again with another text, or in another room, is a conflict, and nothing is stored."""
    ana = tables.person("ana")
    books, chess = tables.room("books", ana), tables.room("chess", ana)
    tables.say(books, ana, "hello", "k1")
    before = tables.entries()
    verdicts = tables.append(Draft(books.id, ana.id, "Hello", "k1"), Draft(chess.id, ana.id, "hello", "k1"))
    assert [verdict.outcome for verdict in verdicts] == ["id-conflict", "id-conflict"]
    assert tables.entries() == before


def test_an_id_twice_in_one_batch(tables: Tables) -> None:
    """A batch has the same results as its messages one by one: the second use of an id is a dup or a conflict."""
    ana = tables.person("ana")
    books, chess = tables.room("books", ana), tables.room("chess", ana)
    verdicts = tables.append(
        Draft(books.id, ana.id, "hello", "k1"),
        Draft(books.id, ana.id, "other", "k2"),
        Draft(books.id, ana.id, "hello", "k1"),
        Draft(books.id, ana.id, "hullo", "k1"),
        Draft(chess.id, ana.id, "hello", "k1"),
    )
    outcomes = [verdict.outcome for verdict in verdicts]
    assert outcomes == ["stored", "stored", "dup", "id-conflict", "id-conflict"]
    assert seqs(verdicts[:3]) == [2, 3, 2]
    assert (len(tables.log(books)), len(tables.log(chess))) == (3, 1)


@pytest.mark.parametrize("refused", ["id-conflict", "not-a-member"])
def test_a_refused_use_of_an_id_does_not_spoil_the_next(tables: Tables, refused: str) -> None:
    """If the first use of an id in a batch is refused, the next use does not depend on it."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books, chess = tables.room("books", ana), tables.room("chess", bob)
    good = Draft(books.id, ana.id, "hello", "k1")
    if refused == "id-conflict":
        tables.append(good)
        bad, expected = Draft(books.id, ana.id, "other", "k1"), "dup"
    else:
        bad, expected = Draft(chess.id, ana.id, "hello", "k1"), "stored"
    assert [verdict.outcome for verdict in tables.append(bad, good)] == [refused, expected]
    assert [entry.text for entry in tables.log(books) if entry.kind == MESSAGE] == ["hello"]


def test_who_may_speak(tables: Tables) -> None:
    """Only members who are not muted may write, alone or in a batch. A refusal takes no number and stops no others."""
    ana, bob, cai, dan, eva = (tables.person(name) for name in ("ana", "bob", "cai", "dan", "eva"))
    books, gone = tables.room("books", ana, cai, dan, eva), tables.room("gone", ana)
    tables(rooms.leave, cai, "books", AT)

    def muted_and_deleted(db: Connection) -> None:
        now = datetime.now(UTC)  # mutes are judged by the database's clock
        for person, until in ((dan, now + MINUTE), (eva, now - MINUTE)):
            db.execute(update(MembershipRow).where(MembershipRow.account_id == person.id).values(muted_until=until))
        db.execute(update(RoomRow).where(RoomRow.id == gone.id).values(deleted_at=AT))

    tables(muted_and_deleted)
    drafts = [Draft(books.id, person.id, "hi", None) for person in (bob, ana, cai, dan, eva)]
    drafts += [Draft(gone.id, ana.id, "hi", None), Draft(999, ana.id, "hi", None)]
    for verdicts in (tables.append(*drafts), [tables.append(draft)[0] for draft in drafts]):
        assert [verdict.outcome for verdict in verdicts] == [
            "not-a-member", "stored", "not-a-member", "muted", "stored", "not-a-member", "not-a-member",
        ]  # fmt: skip
    said = [(entry.seq, entry.author) for entry in tables.log(books) if entry.kind == MESSAGE]
    assert said == [(6, "ana"), (7, "eva"), (8, "ana"), (9, "eva")]


def test_the_same_id_at_the_same_moment(tables: Tables) -> None:
    """If two transactions store the same id at once there is one entry, and both get its number."""
    ana = tables.person("ana")
    books = tables.room("books", ana)
    with tables.engine.begin() as db, tables.meanwhile(lambda: tables.say(books, ana, "hello", "k1")) as second:
        [first] = messages.append(db, [Draft(books.id, ana.id, "hello", "k1")], AT)
    dup = second()
    assert (first.outcome, dup.outcome) == ("stored", "dup")
    assert first.seq == dup.seq == 2
    assert len(tables.log(books)) == 2


@pytest.mark.parametrize("size", [1, 2])
def test_a_room_that_changes_at_the_same_moment(tables: Tables, size: int) -> None:
    """A batch that waits for another transaction in its room gets the numbers after it. If that transaction deletes the
    room, nothing is stored."""
    ana = tables.person("ana")
    books = tables.room("books", ana)
    drafts = [Draft(books.id, ana.id, f"{n}", f"k{n}") for n in range(size)]
    with tables.engine.begin() as db, tables.meanwhile(lambda: tables.append(*drafts)) as waiting:
        assert messages.append(db, [Draft(books.id, ana.id, "hello", None)], AT)[0].seq == 2
    assert [(one.outcome, one.seq) for one in waiting()] == [("stored", 3 + n) for n in range(size)]
    drafts = [Draft(books.id, ana.id, "too late", None)] * size
    with tables.engine.begin() as db, tables.meanwhile(lambda: tables.append(*drafts)) as waiting:
        db.execute(update(RoomRow).where(RoomRow.id == books.id).values(deleted_at=AT))
    assert [one.outcome for one in waiting()] == ["not-a-member"] * size
    assert len(tables.log(books)) == 2 + size


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("change", ["ban", "kick", "mute", "leave"])
@pytest.mark.parametrize("lock_first", [False, True])
def test_who_is_put_out_at_the_same_moment(tables: Tables, change: str, size: int, lock_first: bool) -> None:
    """A batch that waits for the room's lock behind a ban, a kick, a mute or a departure is judged by what that did;
    the messages of others in the batch, and those to other rooms, are stored."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books, chess = tables.room("books", ana, bob), tables.room("chess", bob)

    def put_out(db: Connection) -> None:
        access = find_room(db, bob if change == "leave" else ana, "books", lock=True)
        match change:
            case "ban":
                moderation.ban(db, ana, access, bob, None, "", AT)
            case "kick":
                moderation.kick(db, ana, access, bob, "", AT)
            case "mute":
                moderation.mute(db, ana, access, bob, None, AT)
            case _:
                rooms.leave(db, bob, "books", AT)

    late = [Draft(books.id, bob.id, "too late", f"k{n}") for n in range(size)]
    others = [Draft(books.id, ana.id, "hi", None), Draft(chess.id, bob.id, "hi", None)] if size > 1 else []
    head = len(tables.log(books))
    append = partial(tables.append, *late, *others, lock_first=lock_first)
    with tables.engine.begin() as db, tables.meanwhile(append) as waiting:
        put_out(db)
    verdicts = [(one.outcome, one.seq) for one in waiting()]
    assert [outcome for outcome, _ in verdicts[:size]] == ["muted" if change == "mute" else "not-a-member"] * size
    assert verdicts[size:] == [("stored", head + 2), ("stored", 2)][: len(others)]


def test_a_room_with_a_pace(tables: Tables) -> None:
    """In a room with a pace, a member's next message has to wait for that many seconds, in a take and after it. Others,
    moderators, retries and other rooms are not affected."""
    ana, bob, cai = (tables.person(name) for name in ("ana", "bob", "cai"))
    books, chess = tables.room("books", ana, bob, cai), tables.room("chess", ana, bob)
    tables(lambda db: db.execute(update(RoomRow).where(RoomRow.id == books.id).values(pace_seconds=30)))
    first, second = (Draft(books.id, bob.id, "hi", f"k{n}") for n in range(2))

    def outcomes(*drafts: Draft, after: float = 0) -> list[str]:
        verdicts = tables.append(*drafts, at=AT + timedelta(seconds=after))
        assert {one.seq for one in verdicts if one.outcome == "slow"} <= {30}
        return [one.outcome for one in verdicts]

    assert outcomes(first, second, Draft(books.id, cai.id, "hi", None)) == ["stored", "slow", "stored"]
    assert outcomes(second, after=29.5) == ["slow"]
    assert outcomes(first, second, after=29.5) == ["dup", "slow"]
    assert outcomes(*[Draft(books.id, ana.id, "hi", None)] * 2, after=29.5) == ["stored"] * 2
    assert outcomes(*[Draft(chess.id, bob.id, "hi", None)] * 2, after=29.5) == ["stored"] * 2
    assert outcomes(second, after=30) == ["stored"]
    assert outcomes(Draft(books.id, bob.id, "hi", None), after=31) == ["slow"]


def test_side_by_side(tables: Tables) -> None:
    """While people write, leave and join concurrently, every log has all numbers from 1 to the room's last one."""
    people = [tables.person(name) for name in ("ana", "bob", "cai", "dan")]
    books, chess = tables.room("books", *people), tables.room("chess", *people)

    def talk(number: int) -> None:
        person = people[number]
        for turn in range(10):
            here, there = (books, chess) if number % 2 else (chess, books)
            tables.append(
                *(Draft(room.id, person.id, f"{turn}", f"k{turn}{room.name}") for room in (here, there, here))
            )
            if turn % 5 == 4:
                tables(rooms.leave, person, "books", AT)
                tables.join(books, person)

    tables.at_once(*(lambda number=n: talk(number) for n in range(4)))
    for room, joins in ((books, 4 + 7), (chess, 3)):
        log = tables.log(room)
        assert seqs(log) == list(range(1, len(log) + 1))
        assert sum(entry.kind == JOINED for entry in log) == joins
        assert sum(entry.kind == LEFT for entry in log) == joins - 3
        assert sum(entry.kind == MESSAGE for entry in log) == 40
        assert tables(Connection.scalar, select(RoomRow.last_seq).where(RoomRow.id == room.id)) == len(log)


def test_pages(tables: Tables) -> None:
    """In both directions a page has as many entries as asked for, in rising order, and tells whether there are more."""
    ana = tables.person("ana")
    books = tables.room("books", ana)
    tables.append(*(Draft(books.id, ana.id, f"text {n}", None) for n in range(2, 11)))

    def after(seq: int, limit: int) -> tuple[list[int], bool]:
        page, more = tables(entries.after, books.id, seq, limit)
        return seqs(page), more

    def before(seq: int | None, limit: int, floor: int = 1) -> tuple[list[int], bool]:
        page, more = tables(entries.before, books.id, seq, floor, limit)
        return seqs(page), more

    assert after(0, 4) == ([1, 2, 3, 4], True)
    assert after(6, 4) == ([7, 8, 9, 10], False)
    assert after(10, 4) == ([], False)
    assert before(None, 4) == ([7, 8, 9, 10], True)
    assert before(5, 4) == ([1, 2, 3, 4], False)
    assert before(5, 3) == ([2, 3, 4], True)
    assert before(5, 4, floor=3) == ([3, 4], False)
    assert before(3, 4, floor=3) == ([], False)
    assert before(999, 1) == ([10], True)


def test_a_page_is_bounded_in_size(tables: Tables) -> None:
    """Long texts end a page early, but a page has at least one entry."""
    ana = tables.person("ana")
    books = tables.room("books", ana)
    tables.append(*(Draft(books.id, ana.id, "x" * 1000, None) for _ in range(5)))
    page, more = tables(entries.after, books.id, 1, 100, 2500)
    assert (seqs(page), more) == ([2, 3, 4], True)
    page, more = tables(entries.after, books.id, 1, 100, 1)
    assert (seqs(page), more) == ([2], True)


def test_what_is_read_is_what_was_said(tables: Tables) -> None:
    """Every character, the author's name, the id and the time to the millisecond come back unchanged."""
    ana = tables.person("Ana")
    books = tables.room("books", ana, kind=PRIVATE)
    said = "%s %(x)s :now ' \" \\ {} \u00e9 \U0001f600\nsecond line \u202e end"
    tables.say(books, ana, said, "k:%s'")
    entry = tables.log(books)[1]
    assert (entry.text, entry.author, entry.client_id, entry.at) == (said, "Ana", "k:%s'", AT)
