"""Mentions as rows, and counts of what is unread, on both databases."""

from sqlalchemy import delete, insert, select, update

from chatserver.store import erasure, mentions, messages, retention, unread, visibility
from chatserver.store.db.schema import IgnoreRow, MembershipRow, MentionRow, UnscannedRow
from chatserver.store.messages import Draft
from chatserver.store.visibility import find_room
from chatserver.values.answers import Unread
from chatserver.values.events import Person, RoomFacts
from chatserver.values.mentions import KnownNames, possible_names
from tests.store.conftest import AT, Tables
from tests.store.test_costs import Statements


def say(tables: Tables, room: RoomFacts, who: Person, text: str, of: int = 0) -> int:
    seq: int = tables.append(Draft(room.id, who.id, text, None, of, possible_names(text)))[0].seq
    return seq


def rows(tables: Tables) -> list[tuple[int, int, int]]:
    found = select(MentionRow.account_id, MentionRow.room_id, MentionRow.seq)
    found = found.order_by(MentionRow.room_id, MentionRow.seq, MentionRow.account_id)
    return [(row[0], row[1], row[2]) for row in tables(lambda db: db.execute(found).all())]


def test_what_is_written_with_a_message(tables: Tables) -> None:
    """A row for each account that is named as a word, in any case, or answered, but for the author; whether the message
    is alone in its take or not. Editing replaces them, and erasing and retention remove them."""
    ana, bob, cai = (tables.person(name) for name in ("Ana-b", "bob", "cai"))
    room = tables.room("books", ana, bob, cai)
    texts = ("ANA-B, bob: (@cai)", "_bob_ cai-", "ana-bee ana nobody", "bob", "\u212a bob \u017f")
    drafts = [Draft(room.id, ana.id, text, None, 0, possible_names(text)) for text in texts]
    seqs = [one.seq for one in tables.append(*drafts)]
    wanted = [(bob.id, 0), (cai.id, 0), (bob.id, 1), (cai.id, 1), (bob.id, 3), (bob.id, 4)]
    assert rows(tables) == [(id, room.id, seqs[index]) for id, index in wanted]
    answer = say(tables, room, cai, "yes, bob", seqs[2])
    assert rows(tables)[6:] == [(ana.id, room.id, answer), (bob.id, room.id, answer)]
    tables(lambda db: messages.edit(db, cai, find_room(db, cai, "books", lock=True), answer, "yes, cai", AT))
    assert rows(tables)[6:] == [(ana.id, room.id, answer)]
    tables(lambda db: messages.erase(db, cai, find_room(db, cai, "books", lock=True), answer, AT))
    assert len(rows(tables)) == 6
    tables(retention.remove, room.id, 1, seqs[1])
    assert rows(tables)[0] == (bob.id, room.id, seqs[1])


def test_what_goes_with_an_account(tables: Tables) -> None:
    """The rows of an erased account, and of its erased messages, go; nobody can mention it any more."""
    ana, bob, cai = (tables.person(name) for name in ("ana", "bob", "cai"))
    room = tables.room("books", ana, bob, cai)
    say(tables, room, ana, "bob and cai")
    kept = say(tables, room, cai, "ana and bob")
    tables(lambda db: erasure.erase(db, ana, AT, messages=True))
    while (found := tables(erasure.places, ana.id)) is not None:
        tables(erasure.step, ana.id, found, AT)
    assert rows(tables) == [(bob.id, room.id, kept)]
    say(tables, room, bob, "ana")
    assert len(rows(tables)) == 1


def test_unread_messages(tables: Tables) -> None:
    """Only what can be read counts: messages of others that are not erased, behind the mark, whose authors are not
    ignored. One statement counts all rooms."""
    ana, bob, cai = (tables.person(name) for name in ("ana", "bob", "cai"))
    books, lounge, quiet = (tables.room(name, ana, bob, cai) for name in ("books", "lounge", "quiet"))
    tables(lambda db: db.execute(update(MembershipRow).values(read_seq=3)))
    say(tables, books, ana, "mine, ana")
    say(tables, books, cai, "ana?")
    first = say(tables, books, bob, "hello")
    said = say(tables, books, bob, "Ana!")
    erased = say(tables, books, bob, "ana")
    tables(lambda db: messages.erase(db, bob, find_room(db, bob, "books", lock=True), erased, AT))
    answer = say(tables, lounge, ana, "who?")
    say(tables, lounge, bob, "me", answer)
    tables(lambda db: db.execute(insert(IgnoreRow).values(account_id=ana.id, ignored_id=cai.id, at=AT)))
    standing = tables(visibility.memberships, ana)
    with Statements(tables) as statements:
        found = dict(zip([one.facts.id for one in standing], tables(unread.counts, ana, standing), strict=True))
        assert len(statements) == 1
    assert found == {
        books.id: Unread(4, 2, 1, first), lounge.id: Unread(1, 1, 1, answer + 1), quiet.id: Unread(),
    }  # fmt: skip
    assert said > first
    few = tables(unread.counts, ana, standing, 5)
    assert [one.partial for one in few] == [one.facts.id == books.id for one in standing]
    assert max(few, key=lambda one: one.entries).mentions == 1


def test_messages_of_an_earlier_version(tables: Tables) -> None:
    """What was stored without its mentions is looked through in steps, by the names of that time, once."""
    ana, bob = tables.person("ana"), tables.person("bob")
    room = tables.room("books", ana, bob)
    texts = ["ana", *["nothing"] * (2 * mentions.STEP), "bob: ana", "anna"]
    for start in range(0, len(texts), 100):
        drafts = [Draft(room.id, bob.id, text, None, 0, possible_names(text)) for text in texts[start : start + 100]]
        tables.append(*drafts)
    answer = say(tables, room, bob, "and?", say(tables, room, ana, "bob"))
    wanted = rows(tables)
    assert len(wanted) == 4
    tables(lambda db: db.execute(delete(MentionRow)))
    tables(mentions.leave_unscanned, room.id)
    steps = 0
    while tables(mentions.scan):
        steps += 1
        assert (ana.id, room.id, answer) in rows(tables), "the newest ones come first"
    assert rows(tables) == wanted
    assert steps == 3
    assert tables(lambda db: db.execute(select(UnscannedRow)).all()) == []


def test_messages_that_mention_nobody(tables: Tables) -> None:
    """They are stored by the same statements as ever, also where the words of others are names."""
    ana, bob = tables.person("ana"), tables.person("bob")
    room = tables.room("books", ana, bob)
    names = KnownNames()
    assert set(names.among("Hello, \u00fc -x Ana!")) == {"hello", "x", "ana"}
    names.update(["ana", "bob"])
    names.complete = True
    plain = Draft(room.id, bob.id, "hello there", None, 0, names.among("hello there"))
    assert plain.names == ()
    with Statements(tables) as statements:
        tables.append(plain)
        assert not any("mention" in one or "EXECUTE append (" in one for one in statements)
        statements.clear()
        tables.append(Draft(room.id, bob.id, "hello Ana", None, 0, names.among("hello Ana")))
        assert any("mention" in one or "EXECUTE append (" in one for one in statements)
    assert [row[0] for row in rows(tables)] == [ana.id]
