"""The schema chat_v1: what other applications read, and how they post."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from chatserver.store import (
    accounts,
    change_rows,
    entries,
    erasure,
    mentions,
    messages,
    moderation,
    people,
    pins,
    reactions,
    rooms,
)
from chatserver.store.db.engine import open_ready, parse_url
from chatserver.store.db.own_schema import SCHEMA
from chatserver.store.db.schema import Base, EntryRow, MembershipRow, RoomRow, UnscannedRow
from chatserver.store.messages import Draft
from chatserver.store.search import search
from chatserver.store.visibility import find_room
from chatserver.store.wanted import exactly
from chatserver.values.errors import Refused
from chatserver.values.events import DIRECT, OPERATOR, PRIVATE, Person
from chatserver.wire.hygiene.text import message_text
from tests.store.conftest import AT, Tables

DOCS = Path(__file__).parents[2] / "docs/sql.md"
POST = "SELECT chat_v1.post(%s, %s, %s, %s)"


@pytest.fixture
def tables(postgres_url: str) -> Iterator[Tables]:
    engine = open_ready(parse_url(postgres_url), migrate=True)
    with ThreadPoolExecutor(4) as threads:
        yield Tables(engine, threads)
    engine.dispose()


@pytest.fixture(scope="module")
def shared() -> Iterator[Any]:
    """A database for tests that change nothing which others see."""
    from tests.support import postgres

    url = postgres.postgres_url()
    engine = open_ready(parse_url(url), migrate=True)
    with engine.connect() as db:
        yield db
    engine.dispose()
    postgres.drop_postgres(url)


def post(tables: Tables, room: str | None, sender: str | None, said: str | None, id: str | None = None) -> int:
    """Posts in a transaction of its own."""
    number: int = tables(lambda db: db.exec_driver_sql(POST, (room, sender, said, id)).scalar_one())
    return number


@contextmanager
def refused(code: str, words: str) -> Iterator[None]:
    """The block is refused with this SQLSTATE, and a line that says what to do."""
    with pytest.raises(DBAPIError) as problem:
        yield
    cause: Any = problem.value.orig
    assert cause.pgcode == code
    line = cause.diag.message_primary
    assert re.fullmatch(r"[a-z-]+: [^\n]+\.|[a-z-]+: [^\n]+chatctl [^\n]+", line), line
    assert line.startswith(f"{words}:")


def test_a_post(tables: Tables) -> None:
    """A post is a message like any other: it has the next number, search finds it, and running servers learn of it."""
    bot, ana = tables.person("bot"), tables.person("ana")
    room = tables.room("books", ana, bot)
    before = tables(change_rows.newest)
    assert [post(tables, name, "Bot", f"shipped {name}") for name in ("books", "#Books", "#books")] == [3, 4, 5]
    last = tables.log(room)[-1]
    assert (last.seq, last.author, last.text, last.kind) == (5, "bot", "shipped #books", "message")
    assert last.at.microsecond % 1000 == 0
    assert abs(last.at - datetime.now(UTC)) < timedelta(minutes=5)
    assert tables.say(room, ana, "thanks").seq == 6
    found = [entry.seq for _, entry in tables(search, ana, tables.find(ana, "books"), exactly("shipped"), None, 10)[0]]
    assert found == [5, 4, 3]
    assert [(one.kind, one.subject) for one in tables(change_rows.since, before)] == [("room", room.id)] * 3
    assert tables.find(ana, "books").seq == 6


def test_retries(tables: Tables) -> None:
    """An id makes a retry free for ever: it gets the number of the first time, whatever has become of the message and
    its sender. With another text or another room it is refused. The ids of clients and of SQL are the same."""
    bot, ana = tables.person("bot"), tables.person("ana")
    room = tables.room("books", ana, bot)
    tables.room("films", ana, bot)
    assert post(tables, "books", "bot", "one", "order-1") == 3
    assert post(tables, "#books", "BOT", "one  ", "order-1") == 3
    assert tables.say(room, bot, "two", "order-2").seq == 4
    assert post(tables, "books", "bot", "two", "order-2") == 4
    assert tables.say(room, bot, "one", "order-1").outcome == "dup"
    for again in (("books", "other"), ("films", "one")):
        with refused("ZC008", "id-conflict"):
            post(tables, again[0], "bot", again[1], "order-1")
    assert post(tables, "books", "ana", "other", "order-1") == 5
    tables(lambda db: messages.erase(db, bot, find_room(db, bot, "books"), 3, AT))
    assert post(tables, "books", "bot", "one", "order-1") == 3
    tables(lambda db: rooms.leave(db, bot, "books", AT))
    tables(lambda db: accounts.set_disabled(db, bot.id, AT, disabled=True))
    assert post(tables, "books", "bot", "two", "order-2") == 4
    with refused("ZC003", "not-allowed"):
        post(tables, "books", "bot", "three", "order-3")


def test_removed_messages(tables: Tables) -> None:
    """The id of a message that retention has removed is still known."""
    bot = tables.person("bot")
    room = tables.room("books", bot)
    number = post(tables, "books", "bot", "one", "order-1")
    spent = "UPDATE entry SET room_id = -room_id, kind = 'spent', text = '', state = 'erased' WHERE seq = %s"
    tables(lambda db: db.exec_driver_sql(spent, (number,)))
    assert post(tables, "books", "bot", "one", "order-1") == number
    assert tables.find(bot, room.name).seq == number


def test_who_may_post(tables: Tables) -> None:
    """The rules are those of `say`, and each refusal has its code."""
    bot, ana, eve = tables.person("bot"), tables.person("ana"), tables.person("eve")
    room = tables.room("books", ana, bot)
    hidden = tables.room("board", ana, bot, kind=PRIVATE)
    assert post(tables, hidden.name, "bot", "in private") > 0
    for name in ("films", "", "no room", None, "##books", "@", "@no one", "@@ana"):
        with refused("ZC001", "no-such-room" if name == "films" else "bad-name"):
            post(tables, name, "bot", "hi")
    for name in ("zoe", "", "no one", None):
        with refused("ZC002", "no-such-user" if name == "zoe" else "bad-name"):
            post(tables, "books", name, "hi")
    with refused("ZC004", "not-a-member"):
        post(tables, "books", "eve", "hi")

    def set_member(**values: Any) -> None:
        mine = (MembershipRow.account_id == bot.id, MembershipRow.room_id == room.id)
        tables(lambda db: db.execute(update(MembershipRow).where(*mine).values(**values)))

    set_member(muted_until=datetime.now(UTC) + timedelta(hours=1))
    with refused("ZC005", "muted"):
        post(tables, "books", "bot", "hi")
    set_member(muted_until=datetime.now(UTC) - timedelta(hours=1))
    post(tables, "books", "bot", "hi")
    tables(lambda db: db.execute(update(RoomRow).values(pace_seconds=60)))
    with refused("ZC006", "slow-down"):
        post(tables, "books", "bot", "hi")
    tables(lambda db: db.execute(update(EntryRow).where(EntryRow.author_id == bot.id).values(kind="reacted")))
    with refused("ZC006", "slow-down"):
        post(tables, "books", "bot", "hi")
    set_member(role="moderator")
    post(tables, "books", "bot", "hi")
    tables(lambda db: moderation.ban_from_server(db, ana.id, bot, None, None, "spam", AT))
    with refused("ZC003", "not-allowed"):
        post(tables, "books", "bot", "hi")
    tables(lambda db: moderation.unban_from_server(db, bot, None, AT))
    post(tables, "books", "bot", "hi")
    tables(lambda db: rooms.delete(db, ana, find_room(db, ana, "books", lock=True), AT))
    with refused("ZC001", "no-such-room"):
        post(tables, "books", "bot", "hi")
    tables(lambda db: erasure.erase(db, bot, AT, messages=True))
    with refused("ZC003", "not-allowed"):
        post(tables, "board", "bot", "hi")
    assert eve.id


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", "empty"),
        ("  \n ", "empty"),
        (None, "empty"),
        ("\u200b\u202e", "empty"),
        ("x" * 4097, "too-long"),
        ("x\n" * 100 + "x", "too-long"),
        ("x" * 70_000, "too-long"),
        ("bell \x07", "bad-command"),
        ("\x1b[2J", "bad-command"),
        ("caf\u0085", "bad-command"),
        ("a" + "\u0301" * 31, "bad-command"),
    ],
)
def test_what_is_no_message(said: str | None, words: str, tables: Tables) -> None:
    """Texts that nobody can send are refused, and the refusal does not have them."""
    bot = tables.person("bot")
    tables.room("books", bot)
    with refused("ZC007", words):
        post(tables, "books", "bot", said)
    for id in ("", "x" * 65, "a\nb", "\x07"):
        with refused("ZC007", "bad-command"):
            post(tables, "books", "bot", "hi", id)


pieces = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"], exclude_characters="\x00"),
        st.sampled_from(
            "\n\r\t  \u200d\ufe0f\u2028\u0301\u0327\u200b\U0001f468\U0001f469\u2764#1\u00a9\u4e00\U000e0101"
        ),
    ),
    max_size=60,
)


@given(pieces)
@example("\U0001f469\u200d\u2764\ufe0f\u200d\U0001f468" * 300)
@example("e\u0301" * 2000)
@example("a" + "\u0301\u0327" * 15)
@example("a" + "\u0301\u0327" * 16)
@example("one\r\ntwo\rthree\u2028four\tfive\u3000")
def test_the_same_text(shared: Any, said: str) -> None:
    """A text is stored as a client's message would be, and refused if a client could not send it."""
    try:
        wanted: str | None = message_text(said)
    except Refused:
        wanted = None
    try:
        found = shared.exec_driver_sql("SELECT chat_v1.cleaned(%s, 'it', true)", (said,)).scalar_one().rstrip()
    except DBAPIError:
        found = None
    shared.rollback()
    if not found or len(found) > 4096 or found.count("\n") > 99:
        found = None
    assert found == wanted


def test_white_space_at_the_end(tables: Tables) -> None:
    """It is removed, as from a client's message."""
    bot = tables.person("bot")
    room = tables.room("books", bot)
    blanks = [char for char in map(chr, range(0x3001)) if char.isspace() and char.isprintable() | (char in "\n\u3000")]
    blanks += [char for char in map(chr, range(0x80, 0x3001)) if char.isspace() and char not in "\x85\u2028\u2029"]
    for char in {*blanks, "\r\n", "\t"}:
        post(tables, "books", "bot", f" x {char}")
    assert {entry.text for entry in tables.log(room)[1:]} == {" x"}


def test_answers(tables: Tables) -> None:
    """A post may answer a message that its sender may read, by the rules of `reply`; the answer is a part of what the
    id stands for."""
    bot, ana = tables.person("bot"), tables.person("ana")
    room = tables.room("den", ana, kind=PRIVATE)
    before, joined = tables.say(room, ana, "before").seq, tables.join(room, bot, ana)[0].seq
    asked = tables.say(room, ana, "what time is it?").seq

    def answer(of: int | None, said: str = "noon", id: str | None = None) -> int:
        reply = "SELECT chat_v1.post('den', 'bot', %s, reply_to => %s, id => %s)"
        return int(tables(lambda db: db.exec_driver_sql(reply, (said, of, id)).scalar_one()))

    number = answer(asked, id="a-1")
    [entry] = tables.log(room)[-1:]
    assert (entry.seq, entry.of, entry.text) == (number, asked, "noon")
    assert answer(asked, id="a-1") == number
    assert tables.append(Draft(room.id, bot.id, "noon", "a-1", asked))[0].outcome == "dup"
    assert answer(None, "alone") == number + 1
    for of in (None, joined):
        with refused("ZC008", "id-conflict"):
            answer(of, id="a-1")
    for of in (before, joined, 99, 0, -1):
        with refused("ZC009", "bad-command"):
            answer(of)
    tables(lambda db: messages.erase(db, ana, find_room(db, ana, "den", lock=True), asked, AT))
    with refused("ZC009", "bad-command"):
        answer(asked)
    assert answer(asked, id="a-1") == number


def test_mentions(tables: Tables) -> None:
    """A post mentions whom it names or answers as soon as the server has looked through it. Posts that follow each
    other are looked through together, and none waits for that."""
    bot, ana = tables.person("bot"), tables.person("ana")
    room = tables.room("books", ana, bot)
    asked = tables.say(room, ana, "what time is it?").seq
    while tables(mentions.scan):
        pass

    def unscanned() -> list[tuple[int, int]]:
        some = select(UnscannedRow.first_seq, UnscannedRow.last_seq).order_by(UnscannedRow.first_seq)
        return [(row[0], row[1]) for row in tables(lambda db: db.execute(some).all())]

    named = post(tables, "books", "bot", "shipped, Ana")
    reply = "SELECT chat_v1.post('books', 'bot', 'noon', reply_to => %s)"
    answer = tables(lambda db: db.exec_driver_sql(reply, (asked,)).scalar_one())
    assert unscanned() == [(named, answer)]

    def meanwhile(db: Connection) -> int:
        db.execute(select(UnscannedRow).with_for_update())
        return post(tables, "books", "bot", "nobody")

    last = tables(meanwhile)
    assert unscanned() == [(named, answer), (last, last)]
    while tables(mentions.scan):
        pass
    assert unscanned() == []
    found, _ = tables(mentions.listing, ana, None, 10)
    assert [entry.seq for _, entry in found] == [answer, named]


def test_to_one_person(tables: Tables) -> None:
    """A post to `@NAME` is a direct message: the first one opens the room, as a client's would, and whoever has blocked
    the sender receives nothing."""
    bot, ana, eve = tables.person("bot"), tables.person("ana"), tables.person("eve")
    before = tables(change_rows.newest)
    assert [post(tables, "@Ana", "bot", said, said) for said in ("one", "two", "one")] == [1, 2, 1]
    direct = tables.find(ana, "@bot").facts
    assert direct.label(bot.id) == "@ana"
    assert [(entry.author, entry.text) for entry in tables.log(direct)] == [("bot", "one"), ("bot", "two")]
    notes = [(one.kind, one.subject, one.detail) for one in tables(change_rows.since, before)]
    both = [("membership", who.id, str(direct.id)) for who in (bot, ana)]
    assert sorted(notes[:2]) == sorted(both)
    assert notes[2] == ("room", direct.id, None)
    assert tables.say(direct, ana, "three").seq == 3
    assert post(tables, "@bot", "ana", "four") == 4
    for name in ("@zoe", "@bot"):
        with refused("ZC002" if name == "@zoe" else "ZC003", "no-such-user" if name == "@zoe" else "not-allowed"):
            post(tables, name, "bot", "hi")
    guest = tables(accounts.create_guest, AT)
    for name, sender in ((f"@{guest.name}", "bot"), ("@bot", guest.name)):
        with refused("ZC003", "not-allowed"):
            post(tables, name, sender, "hi")
    for who in (ana, eve):  # before and after there is a room
        tables(people.block, who, bot, AT)
        with refused("ZC010", "blocked"):
            post(tables, f"@{who.name}", "bot", "hi")
    assert post(tables, "@eve", "ana", "hi") == 1
    assert tables.find(eve, "@ana").facts.id
    tables(lambda db: erasure.erase(db, eve, AT, messages=False))
    with refused("ZC002", "no-such-user"):
        post(tables, "@eve", "ana", "hi")


def test_first_messages_at_the_same_time(tables: Tables) -> None:
    """A person and an application that write to each other for the first time share one room."""
    bot, ana = tables.person("bot"), tables.person("ana")

    def open_room(db: Connection) -> int:
        return rooms.open_direct(db, ana, find_room(db, ana, "@bot", lock=True), AT).id

    with tables.engine.connect() as db, db.begin() as transaction:
        assert db.exec_driver_sql(POST, ("@ana", "bot", "first", None)).scalar_one() == 1
        with tables.meanwhile(lambda: tables(open_room)) as result:
            pass
        transaction.commit()
        with pytest.raises(IntegrityError):  # the command is done again, and finds the room
            result()
    assert tables(open_room) == tables.find(bot, "@ana").facts.id


def test_rolled_back(tables: Tables) -> None:
    """If the application rolls back, nothing was posted, no number is missing, and no server is notified."""
    bot = tables.person("bot")
    room = tables.room("books", bot)
    before = tables(change_rows.newest)
    with tables.engine.connect() as db, db.begin() as transaction:
        assert db.exec_driver_sql(POST, ("books", "bot", "never", "id-1")).scalar_one() == 2
        transaction.rollback()
    assert tables(change_rows.since, before) == []
    assert post(tables, "books", "bot", "now", "id-1") == 2
    assert [entry.seq for entry in tables.log(room)] == [1, 2]


def test_long_transactions(tables: Tables) -> None:
    """The change gets its number when the transaction commits: a server that looks only a few numbers back sees it,
    however long the transaction was open."""
    bot = tables.person("bot")
    room, other = tables.room("books", bot), tables.room("films", bot)
    with tables.engine.connect() as db, db.begin():
        db.exec_driver_sql(POST, ("books", "bot", "first", None))
        for _ in range(150):
            tables(change_rows.grown, [other.id], AT)
        seen = tables(change_rows.newest)
    assert [(one.kind, one.subject) for one in tables(change_rows.since, seen)] == [("room", room.id)]


def test_a_say_meanwhile(tables: Tables) -> None:
    """A message to the room waits until the application commits, and comes after its post; other rooms do not wait."""
    bot, ana = tables.person("bot"), tables.person("ana")
    room, other = tables.room("books", ana, bot), tables.room("films", ana, bot)
    assert tables.say(room, ana, "second").seq == 3
    with tables.engine.connect() as db, db.begin() as transaction:
        assert db.exec_driver_sql(POST, ("books", "bot", "third", None)).scalar_one() == 4
        with tables.meanwhile(lambda: tables.say(room, ana, "fourth")) as result:
            pass
        assert tables.say(other, ana, "at once").seq == 3
        transaction.commit()
        assert result().seq == 5
    assert [entry.text for entry in tables.log(room)[-3:]] == ["second", "third", "fourth"]


def test_at_the_same_time(tables: Tables) -> None:
    """Posts and messages at the same time leave no hole, and the same id from both sides is one message."""
    bot, ana = tables.person("bot"), tables.person("ana")
    room = tables.room("books", ana, bot)

    def posts(worker: int) -> Callable[[], list[int]]:
        return lambda: [post(tables, "books", "bot", f"post {n}", f"id-{n}") for n in range(25)]

    def says(worker: int) -> Callable[[], list[int]]:
        return lambda: [tables.say(room, bot, f"post {n}", f"id-{n}").seq for n in range(25)]

    one, two, three, four = tables.at_once(posts(0), says(1), posts(2), says(3))
    assert one == two == three == four
    log = tables.log(room)
    assert [entry.seq for entry in log] == list(range(1, len(log) + 1))
    assert sorted(entry.text for entry in log[2:]) == sorted(f"post {n}" for n in range(25))
    assert [entry.at for entry in log] == sorted(entry.at for entry in log)


# The views


def documented() -> dict[str, list[str]]:
    """By view, the columns in docs/sql.md."""
    found: dict[str, list[str]] = {}
    for heading, body in re.findall(r"(?ms)^### `chat_v1\.(\w+)`\n(.*?)(?=^##|\Z)", DOCS.read_text()):
        found[heading] = re.findall(r"(?m)^\| `(\w+)` \|", body)
    return found


def test_columns(tables: Tables) -> None:
    """The views have the columns that are documented, in that order."""
    query = (
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'chat_v1' "
        "ORDER BY table_name, ordinal_position"
    )
    found: dict[str, list[str]] = {}
    for view, column in tables(lambda db: db.exec_driver_sql(query).all()):
        found.setdefault(view, []).append(column)
    assert found == documented()
    assert tables(lambda db: db.exec_driver_sql("SELECT * FROM chat_v1.version").one()) == (1, 2)


def test_what_views_show(tables: Tables) -> None:
    """Rooms that exist, who is in them, and what was said; nothing of direct rooms, and no text that was erased."""
    ana, bob = tables.person("ana"), tables.person("bob", OPERATOR)
    room, gone = tables.room("books", ana, bob), tables.room("gone", ana)
    tables.room("board", bob, kind=PRIVATE)
    direct = tables(lambda db: rooms.open_direct(db, ana, find_room(db, ana, "@bob", lock=True), AT))
    assert direct.kind == DIRECT
    tables.say(direct, ana, "between us")
    tables.say(gone, ana, "lost")
    tables.say(room, ana, "one")
    tables.say(room, bob, "two")
    tables(lambda db: messages.erase(db, ana, find_room(db, ana, "books"), 3, AT))
    tables(lambda db: messages.edit(db, bob, find_room(db, bob, "books"), 4, "zwei", AT))
    tables(lambda db: rooms.delete(db, ana, find_room(db, ana, "gone", lock=True), AT))
    tables.append(Draft(room.id, ana.id, "to that", None, 4))

    def rows(query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in tables(lambda db: db.exec_driver_sql(query).all())]

    assert rows("SELECT name, kind, last_seq, created_by FROM chat_v1.rooms ORDER BY name") == [
        ("board", "private", 1, "bob"),
        ("books", "public", 7, "ana"),
    ]
    assert rows("SELECT room, name, kind, role FROM chat_v1.members ORDER BY 1, 2") == [
        ("board", "bob", "operator", "owner"),
        ("books", "ana", "person", "owner"),
        ("books", "bob", "operator", "member"),
    ]
    assert rows("SELECT room, seq, sender, text, state, reply_to FROM chat_v1.messages ORDER BY 1, 2") == [
        ("books", 3, "ana", None, "erased", None),
        ("books", 4, "bob", "zwei", "edited", None),
        ("books", 7, "ana", "to that", None, 4),
    ]
    assert rows("SELECT major, minor FROM chat_v1.version") == [(1, 2)]
    assert rows("SELECT * FROM chat_v1.sessions") == []


def test_reactions_and_pins(tables: Tables) -> None:
    """The views have what is given and pinned now, with who did it; nothing of erased messages or of direct rooms."""
    ana, bob = tables.person("ana"), tables.person("bob")
    room = tables.room("books", ana, bob)
    direct = tables(lambda db: rooms.open_direct(db, ana, find_room(db, ana, "@bob", lock=True), AT))
    seqs = [tables.say(room, ana, said).seq for said in ("one", "two", "three")]
    tables.say(direct, ana, "between us")

    def change(name: str, what: Callable[..., Any], who: Person, seq: int, *more: Any) -> None:
        def work(db: Connection) -> None:
            access = find_room(db, who, name, lock=True)
            [message] = entries.before(db, access.facts.id, seq + 1, seq, 1)[0]
            what(db, who, access, message if more else seq, *more, AT)

        tables(work)

    for who, seq, reaction in ((ana, 0, "+1"), (bob, 0, "+1"), (bob, 0, "tea"), (bob, 1, "+1")):
        change("books", reactions.add, who, seqs[seq], reaction)
    change("@ana", reactions.add, bob, 1, "+1")
    change("@ana", pins.pin, bob, 1)
    for seq in seqs:
        change("books", pins.pin, bob, seq)
    change("books", reactions.take_back, ana, seqs[0], "+1")
    change("books", reactions.take_back, bob, seqs[0], "tea")
    change("books", reactions.add, bob, seqs[0], "tea")
    change("books", pins.unpin, ana, seqs[2])
    change("books", pins.pin, ana, seqs[2])
    change("books", messages.erase, ana, seqs[1])

    def rows(query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in tables(lambda db: db.exec_driver_sql(query).all())]

    assert rows("SELECT room, seq, reaction, name FROM chat_v1.reactions ORDER BY 2, 3") == [
        ("books", seqs[0], "+1", "bob"),
        ("books", seqs[0], "tea", "bob"),
    ]
    assert rows("SELECT room, seq, pinned_by FROM chat_v1.pins ORDER BY 2") == [
        ("books", seqs[0], "bob"),
        ("books", seqs[2], "ana"),
    ]


def test_a_role_for_an_application(tables: Tables) -> None:
    """The statements in docs/sql.md give a role the views and `post`, and nothing else: no table, no other function."""
    bot = tables.person("bot")
    tables.room("books", bot)
    [grants] = re.findall(r"(?ms)^    CREATE ROLE shop .*?(?=^\S)", DOCS.read_text())
    name = f"shop_{tables.engine.url.database}"
    statements = [part.strip() for part in grants.replace("shop", name).split(";") if part.strip()]
    with tables.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        try:
            for statement in statements:
                db.exec_driver_sql(statement.replace("DATABASE chat", f'DATABASE "{tables.engine.url.database}"'))
            url = tables.engine.url
            with psycopg2.connect(host=url.host, port=url.port, dbname=url.database, user=name) as other:
                cursor = other.cursor()

                def may_not(statement: str) -> None:
                    with pytest.raises(
                        (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.ObjectNotInPrerequisiteState)
                    ):
                        cursor.execute(statement)
                    other.rollback()

                cursor.execute(POST, ("books", "bot", "hello", None))
                cursor.execute("SELECT chat_v1.post('books', 'bot', 'to that', reply_to => 2)")
                other.commit()
                for view in documented():
                    cursor.execute(f"SELECT * FROM chat_v1.{view}")
                    assert cursor.fetchall() or view in ("sessions", "reactions", "pins")
                    other.commit()
                    may_not(f"DELETE FROM chat_v1.{view}")
                for table in Base.metadata.tables:
                    may_not(f"SELECT 1 FROM {SCHEMA}.{table}")
                    may_not(f"DELETE FROM {SCHEMA}.{table}")
                may_not("SELECT chat_v1.cleaned('x', 'x', true)")
                may_not("SELECT chat_v1.stored('books', 'bot', 'x', NULL, NULL)")
                may_not("SELECT chat_v1.opened(1, 2, '@1:2')")
                may_not("CREATE TABLE chat_v1.mine (id int)")
                may_not("CREATE TABLE public.mine (id int)")
                may_not(f"CREATE TABLE {SCHEMA}.mine (id int)")
                may_not("UPDATE chat_v1.rooms SET topic = 'mine'")
            other.close()
        finally:
            db.exec_driver_sql(f"DROP OWNED BY {name}")
            db.exec_driver_sql(f"DROP ROLE {name}")


def test_nobody_else_may(tables: Tables) -> None:
    """Without rights, nobody may look into the schema."""
    query = (
        "SELECT has_schema_privilege('public', 'chat_v1', 'USAGE'), has_function_privilege('public', oid, 'EXECUTE') "
        "FROM pg_proc WHERE pronamespace = 'chat_v1'::regnamespace"
    )
    for row in tables(lambda db: db.exec_driver_sql(query).all()):
        assert tuple(row) == (False, False)


def test_names_in_functions(tables: Tables) -> None:
    """Functions with the owner's rights look nothing up in a schema where others could have put it."""
    query = "SELECT proname, proconfig, prosecdef FROM pg_proc WHERE pronamespace = 'chat_v1'::regnamespace"
    found = tables(lambda db: db.exec_driver_sql(query).all())
    assert {name for name, _, _ in found} == {"post", "cleaned", "posted", "stored", "opened"}
    assert all(config == ["search_path=pg_catalog, pg_temp"] for _, config, _ in found)
