"""Replies: messages that answer another one, stored by the same rules as all."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, update

from chatserver.store import messages, quotes, retention, rooms
from chatserver.store.db.schema import MembershipRow, RoomRow
from chatserver.store.messages import NOTHING, Draft, Verdict
from chatserver.store.visibility import find_room
from chatserver.values.events import Person, Quote, RoomFacts
from tests.store.conftest import AT, Tables
from tests.store.test_costs import Statements


def outcomes(verdicts: list[Verdict]) -> list[str]:
    return [one.outcome for one in verdicts]


def erase(tables: Tables, who: Person, seq: int) -> None:
    def work(db: Connection) -> None:
        messages.erase(db, who, find_room(db, who, "books", lock=True), seq, AT)

    tables(work)


def readers(tables: Tables, who: Person, room: RoomFacts) -> list[Quote | None]:
    return [entry.quote for entry in tables(quotes.quoted, who, room.id, tables.log(room)) if entry.of]


def test_a_reply_is_a_message(tables: Tables) -> None:
    """A reply has the number of the message that it answers, alone or among others. Everybody who may not speak may not
    reply either, and it counts for the pace of a room."""
    ana, bob, cai, dan = (tables.person(name) for name in ("ana", "bob", "cai", "dan"))
    books = tables.room("books", ana, bob, cai)
    hello = tables.say(books, bob, "hello").seq

    def muted_and_slow(db: Connection) -> None:
        until = datetime.now(UTC) + timedelta(minutes=1)
        db.execute(update(MembershipRow).where(MembershipRow.account_id == cai.id).values(muted_until=until))
        db.execute(update(RoomRow).where(RoomRow.id == books.id).values(pace_seconds=30))

    tables(muted_and_slow)
    drafts = [Draft(books.id, one.id, f"to {one.name}", None, hello) for one in (ana, dan, cai, bob)]
    for verdicts in (tables.append(*drafts), [tables.append(draft)[0] for draft in drafts]):
        assert outcomes(verdicts) == ["stored", "not-a-member", "muted", "slow"]
    assert outcomes(tables.append(Draft(books.id, ana.id, "alone", None, hello))) == ["stored"]
    assert [(entry.text, entry.of) for entry in tables.log(books) if entry.of] == [
        ("to ana", hello), ("to ana", hello), ("alone", hello)
    ]  # fmt: skip


def test_what_can_be_answered(tables: Tables) -> None:
    """Only messages of that room can be answered: none that do not exist, were erased or removed, or that the author of
    the reply may not read. A reply can be answered, too. A refusal names the number."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana, kind="private")
    other = tables.room("chess", ana, bob)
    tables.append(*(Draft(other.id, ana.id, f"{n}", None) for n in range(9)))
    early, gone, kept = (tables.say(books, ana, f"text {n}").seq for n in range(3))  # 2, 3, 4
    tables.join(books, bob, ana)  # 5
    erase(tables, ana, gone)  # 6
    late = tables.append(Draft(books.id, bob.id, "late", None))[0].seq

    def may(who: Person, *seqs: int) -> list[str]:
        drafts = [Draft(books.id, who.id, "yes", None, seq) for seq in seqs]
        verdicts = tables.append(*drafts)
        assert [one.seq for one in verdicts if one.outcome != "stored"] == [max(seq, 0) for seq in seqs if seq != late]
        return outcomes(verdicts)

    assert may(bob, NOTHING, early, kept, late, 1, 5, 6, 9, 2**53) == [
        "no-message", "no-message", "no-message", "stored", *["no-message"] * 5
    ]  # fmt: skip
    assert outcomes(tables.append(Draft(books.id, ana.id, "yes", None, early))) == ["stored"]
    tables(lambda db: db.execute(update(RoomRow).where(RoomRow.id == books.id).values(past_open=True)))
    [reply] = tables.append(Draft(books.id, bob.id, "yes", None, early))
    assert reply.outcome == "stored"
    assert outcomes(tables.append(Draft(books.id, ana.id, "really?", None, reply.seq))) == ["stored"]
    tables(retention.remove, books.id, 1, kept)
    assert outcomes(tables.append(Draft(books.id, ana.id, "yes", None, early))) == ["no-message"]


def test_an_id_is_for_one_reply(tables: Tables) -> None:
    """A retry of a reply gets its first answer, even if what it answers is erased by then. With the same id, another
    message answered, or none, is a conflict: later, and in one batch."""
    ana = tables.person("ana")
    books = tables.room("books", ana)
    one, other = (tables.say(books, ana, text).seq for text in ("one", "other"))
    reply = Draft(books.id, ana.id, "yes", "k1", one)
    plain, elsewhere = Draft(books.id, ana.id, "yes", "k1"), Draft(books.id, ana.id, "yes", "k1", other)
    assert outcomes(tables.append(reply, reply, plain, elsewhere)) == ["stored", "dup", "id-conflict", "id-conflict"]
    erase(tables, ana, one)
    assert outcomes(tables.append(reply)) == ["dup"]
    assert outcomes(tables.append(plain)) == ["id-conflict"]
    assert outcomes(tables.append(elsewhere)) == ["id-conflict"]
    tables.say(books, ana, "no", "k2")
    assert outcomes(tables.append(Draft(books.id, ana.id, "no", "k2", other))) == ["id-conflict"]
    seq = tables.append(reply)[0].seq
    tables(retention.remove, books.id, 1, seq + 1)
    assert outcomes(tables.append(reply)) == ["dup"]


@pytest.mark.parametrize("size", [1, 2])
def test_what_is_erased_at_the_same_moment(tables: Tables, size: int) -> None:
    """A reply that waits for the room's lock while its message is erased is not stored."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana, bob)
    hello = tables.say(books, ana, "hello").seq
    late = [Draft(books.id, bob.id, "too late", None, hello) for _ in range(size)]
    with tables.engine.begin() as db, tables.meanwhile(lambda: tables.append(*late)) as waiting:
        messages.erase(db, ana, find_room(db, ana, "books", lock=True), hello, AT)
    assert outcomes(waiting()) == ["no-message"] * size


def test_a_quote_for_all(tables: Tables) -> None:
    """A new reply comes with the author and the beginning of what it answers. If somebody who has joined a private room
    since may not read that, only the account is known that is answered."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana, kind="private")
    hello = tables.say(books, ana, "hello\n  there, " + "x" * 500).seq
    [alone] = tables.append(Draft(books.id, ana.id, "yes", None, hello))
    assert alone.quote == Quote("ana", "", ("hello\n  there, " + "x" * 500)[: quotes.CHARACTERS], ana.id)
    tables.join(books, bob, ana)
    answers = tables.append(Draft(books.id, ana.id, "yes", None, hello), Draft(books.id, ana.id, "no", None))
    hidden = Quote("", "", "", ana.id, hidden=True)
    assert [(one.outcome, one.quote) for one in answers] == [("stored", hidden), ("stored", None)]
    tables(lambda db: db.execute(update(RoomRow).where(RoomRow.id == books.id).values(past_open=True)))
    assert tables.append(Draft(books.id, bob.id, "yes", None, hello))[0].quote == alone.quote
    [refused] = tables.append(Draft(books.id, bob.id, "yes", None, 999))
    assert refused.quote is None


def test_a_quote_for_a_reader(tables: Tables) -> None:
    """In the history each reader sees quotes of what they may read, as it is now: nothing of what was erased or
    removed. An erased reply has none."""
    ana, bob, cai = (tables.person(name) for name in ("ana", "bob", "cai"))
    books = tables.room("books", ana, kind="private")
    hello, later = tables.say(books, ana, "hello").seq, tables.say(books, ana, "later").seq
    tables.join(books, bob, ana)
    replies = [tables.append(Draft(books.id, bob.id, "?", None, seq))[0].outcome for seq in (hello,)]
    assert replies == ["no-message"]
    first, _, _ = tables.append(*(Draft(books.id, ana.id, "yes", None, seq) for seq in (hello, later, later)))
    assert readers(tables, ana, books) == [Quote("ana", "", text, ana.id) for text in ("hello", "later", "later")]
    assert readers(tables, bob, books) == [None] * 3
    assert readers(tables, cai, books) == [None] * 3
    tables(lambda db: messages.edit(db, ana, find_room(db, ana, "books", lock=True), later, "better", AT))
    erase(tables, ana, hello)
    answered = {one.of: one.quote for one in tables(quotes.quoted, ana, books.id, tables.log(books)) if one.quote}
    assert answered == {hello: Quote("ana", "", "", ana.id), later: Quote("ana", "", "better", ana.id)}
    erase(tables, ana, first.seq)
    assert hello not in {one.of for one in tables(quotes.quoted, ana, books.id, tables.log(books)) if one.quote}
    tables(retention.remove, books.id, 1, later + 1)
    assert readers(tables, ana, books)[-2:] == [None, None]


def test_costs_of_replies(tables: Tables) -> None:
    """A take with replies is one statement more for each room that has any, for the quotes (on SQLite also one for the
    mentions), and a take without any is judged by a statement that knows nothing of them. Quotes of a page take one
    statement, and none without replies."""
    people = [tables.person(f"user{n}") for n in range(3)]
    four = [tables.room(f"room{n}", *people) for n in range(4)]
    said = [Draft(four[n % 4].id, people[n % 3].id, f"text {n}", f"id{n}") for n in range(40)]
    replies = [Draft(four[n % 4].id, people[n % 3].id, f"re {n}", f"re{n}", 4) for n in range(40)]
    with Statements(tables) as statements:
        tables.append(*said)
        statements.clear()
        assert set(outcomes(tables.append(*replies))) == {"stored"}
        assert len(statements) == (1 if tables.postgres else 4) + 4
        statements.clear()
        assert set(outcomes(tables.append(*replies))) == {"dup"}
        assert len(statements) == 1
        statements.clear()
        tables.append(Draft(four[0].id, people[0].id, "plain", None), Draft(four[0].id, people[0].id, "more", None))
        assert tables.postgres is ("EXECUTE append_plain (" in statements[0])
        assert "no-message" not in statements[0]
        statements.clear()
        found = tables(quotes.quoted, people[0], four[0].id, log := tables.log(four[0]))
        assert sum(entry.quote is not None for entry in found) == 10
        assert len(statements) == 2
        statements.clear()
        tables(quotes.quoted, people[0], four[0].id, log[:5])
        assert statements == []


def test_who_leaves_is_still_sent_what_was_said_before(tables: Tables) -> None:
    """The quote of a reply is not for all while somebody hears the reply who may not read what it answers, even if they
    have left the room right behind it."""
    ana, bob = tables.person("ana"), tables.person("bob")
    books = tables.room("books", ana, kind="private")
    hello = tables.say(books, ana, "hello").seq
    tables.join(books, bob, ana)
    reply = tables.append(Draft(books.id, ana.id, "yes", None, hello))[0].seq
    tables(rooms.leave, bob, "books", AT)
    hidden, shown = (tables(quotes.for_all, books.id, {hello}, seq)[hello] for seq in (reply, reply + 2))
    assert hidden == Quote("", "", "", ana.id, hidden=True)
    assert shown == Quote("ana", "", "hello", ana.id)
