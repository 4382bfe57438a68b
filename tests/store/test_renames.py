"""Renaming an account: who may have which name, and under which name an entry is shown."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from msgspec import structs
from sqlalchemy import Connection, delete, insert, select

from chatserver.store import accounts, entries, erasure, export, ignoring, moderation, names, renames, rooms, search
from chatserver.store.copies import transfer
from chatserver.store.db.engine import open_ready, parse_url
from chatserver.store.db.schema import AccountRow, Base, FormerNameRow, IgnoreRow, MembershipRow, RoomRow
from chatserver.store.messages import Draft
from chatserver.store.people import find_person
from chatserver.store.renames import MOST_KEPT, MOST_ROOMS, Quota, Renamed
from chatserver.store.visibility import find_room, memberships
from chatserver.store.wanted import exactly
from chatserver.values.errors import Refused
from chatserver.values.events import KICKED, MEMBER, MESSAGE, OPERATOR, RENAMED, Entry, Person
from chatserver.values.recorded import parse_renaming
from chatserver.wire.sentences import english
from tests.store.conftest import AT, Tables
from tests.support import postgres

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
ANY = Quota()


class Books:
    """A room of ana and bob. Each step is a minute later."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.ana, self.bob = tables.person("ana"), tables.person("bob")
        self.room = tables.room("books", self.bob, self.ana)
        self.at = AT

    def says(self, who: Person, text: str = "words") -> datetime:
        self.at += MINUTE
        return self.tables.append(Draft(self.room.id, who.id, text, None), at=self.at)[0].at

    def rename(
        self, who: Person, name: str | None = None, display: str | None = None, quota: Quota = ANY
    ) -> Renamed | None:
        self.at += MINUTE
        return self.tables(renames.rename, who.id, name, display, self.at, quota)

    def refusal(self, who: Person, name: str, quota: Quota = ANY) -> str:
        with pytest.raises(Refused) as refused:
            self.rename(who, name, quota=quota)
        return refused.value.error.value

    def log(self) -> list[Entry]:
        return self.tables.log(self.room)

    def called(self) -> list[tuple[str, str]]:
        """Authors of messages, with the name and the display name of their time."""
        return [(one.author, one.display) for one in self.log() if one.kind == MESSAGE]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tables]:
    """One database of each kind for all tests: creating it takes longer than they do."""
    postgresql = request.param == "postgres"
    url = postgres.postgres_url() if postgresql else f"sqlite:///{tmp_path_factory.mktemp('renames') / 'chatserver.db'}"
    engine = open_ready(parse_url(url), migrate=True)
    with ThreadPoolExecutor(4) as threads:
        yield Tables(engine, threads)
    engine.dispose()
    if postgresql:
        postgres.drop_postgres(url)


@pytest.fixture
def books(shared: Tables) -> Books:
    with shared.engine.begin() as db:
        for table in reversed(Base.metadata.sorted_tables):
            db.execute(delete(table))
    return Books(shared)


def test_names_of_their_time(books: Books) -> None:
    """After several renames each entry has the names that its author had when it was written, in the log, in what a
    search finds, and in what the author exports."""
    for name, display in (("anna", None), (None, "Ana María"), ("annie", ""), ("ana", None)):
        books.says(books.ana)
        books.rename(books.ana, name, display)
    books.says(books.ana)
    wanted = [("ana", ""), ("anna", ""), ("anna", "Ana María"), ("annie", ""), ("ana", "")]
    assert books.called() == wanted
    told = [parse_renaming(one.text) for one in books.log() if one.kind == RENAMED]
    assert [(one.former, one.name, one.display) for one in told] == [
        ("ana", "anna", ""), ("anna", "anna", "Ana María"), ("anna", "annie", ""), ("annie", "ana", ""),
    ]  # fmt: skip
    found, _ = books.tables(search.search, books.bob, books.tables.find(books.bob, "books"), exactly("words"), None, 50)
    assert [(one.author, one.display) for _, one in found] == wanted[::-1]
    mine, _ = books.tables(export.page, books.ana, "", 50)
    assert [(one.author, one.display) for _, one in mine if one.kind == MESSAGE] == wanted
    account = books.tables(export.account, books.ana)
    assert (account["former_names"], account["former_displays"]) == ("anna annie", "Ana María")
    assert books.tables(lambda db: {person.name for person in [find_person(db, books.bob, "ana")]}) == {"ana"}


def test_the_time_of_a_rename(books: Books) -> None:
    """It is later than that of every entry before it and the same in all rooms, also where the clock of an entry was
    ahead; and no earlier than that of those after it."""
    club = books.tables.room("club", books.ana)
    ahead = AT + DAY
    books.tables.append(Draft(books.room.id, books.ana.id, "early", None), at=ahead)
    done = books.rename(books.ana, "anna")
    assert done is not None
    assert {entry.at for _, entry in done.announced} == {done.at}
    assert done.at > ahead
    assert books.says(books.ana) == done.at
    assert books.called() == [("ana", ""), ("anna", "")]
    assert {facts.id for facts, _ in done.announced} == {books.room.id, club.id}
    said = next(entry for facts, entry in done.announced if facts.id == club.id)
    assert books.tables.log(club)[-1] == structs.replace(said, as_of=2)
    again = books.rename(books.ana, "ana")
    assert again is not None
    assert again.at > done.at


def test_a_room_that_was_left(books: Books) -> None:
    """Entries from before somebody left a room, or were kicked from it, keeps their former name, even if all of it has
    happened at the same moment: nobody there learns the new one."""
    tables = books.tables
    tables.append(Draft(books.room.id, books.ana.id, "words", None), at=books.at)
    tables(rooms.leave, books.ana, "books", books.at)
    tables(renames.rename, books.ana.id, "anna", "Anna", books.at, ANY)
    assert [(one.author, one.display) for one in books.log() if one.author_id == books.ana.id][-2:] == [("ana", "")] * 2
    tables.join(books.room, Person(books.ana.id, "anna"))

    def kick(db: Connection) -> None:
        access = find_room(db, books.bob, "books", lock=True)
        moderation.kick(db, books.bob, access, Person(books.ana.id, "anna"), "", books.at + MINUTE)

    tables(kick)
    tables(renames.rename, books.ana.id, "annie", None, books.at, ANY)  # it began before the kick
    assert (books.log()[-1].kind, books.log()[-1].target) == (KICKED, "anna")


def test_a_target_that_was_renamed(books: Books) -> None:
    """An entry also has the name that its target had then."""
    access = books.tables.find(books.bob, "books")
    books.tables(lambda db: entries.append_event(db, access.facts.id, "muted", books.bob, AT, target=books.ana))
    books.rename(books.ana, "anna")
    assert [(one.author, one.target) for one in books.log() if one.kind == "muted"] == [("bob", "ana")]


def test_doing_it_again(books: Books) -> None:
    """An account that has the name already is not renamed, and no entry is added."""
    assert books.rename(books.ana, "Anna", "Ana") is not None
    count = len(books.log())
    assert books.rename(books.ana, "Anna", "Ana") is None
    assert books.rename(books.ana, None, "Ana") is None
    assert len(books.log()) == count
    assert books.rename(books.ana, None, "Anna") is not None
    assert (books.log()[-1].author, books.log()[-1].display) == ("Anna", "")


def test_who_may_have_a_name(books: Books) -> None:
    """A name that somebody gave up is kept for them for a while, and so is what looks like it: nobody else can have it,
    neither by a rename nor by registering; after that anybody can. They themselves take it back at any time."""
    tables = books.tables
    books.rename(books.ana, "maria")
    assert books.refusal(books.bob, "ana") == "bad-name"
    assert books.refusal(books.bob, "AnA_") == "bad-name"
    assert books.refusal(books.bob, "maria") == "name-taken"
    assert books.refusal(books.bob, "rnaria") == "bad-name"
    for name in ("ana", "ANA", "ana-"):
        with pytest.raises(Refused, match="bad-name"):
            tables(accounts.claimed, name, AT)
        with pytest.raises(Refused, match="bad-name"):
            tables(accounts.create, name, "hash", AT)
    assert books.rename(books.ana, "Ana") is not None
    assert books.rename(books.ana, "maria") is not None
    with pytest.raises(Refused, match="bad-name"):
        tables(accounts.claimed, "ana", books.at + 91 * DAY, 92.0)
    books.at += 91 * DAY
    assert tables(accounts.claimed, "ana", books.at) is None
    assert books.rename(books.bob, "ana") is not None
    assert books.refusal(books.ana, "ana") == "name-taken"
    assert tables(accounts.claimed, "bob", books.at, 0.0) is None


def test_case_alone(books: Books) -> None:
    """The case of one's own name can change; the name stays the same one."""
    books.rename(books.ana, "ANA")
    assert books.tables(find_person, books.bob, "ana").name == "ANA"
    assert books.refusal(books.bob, "ana") == "name-taken"


def test_limits(books: Books) -> None:
    """Renames a day, and names that are reserved for one account, are limited."""
    quota = Quota(per_day=2)
    books.rename(books.ana, display="One", quota=quota)
    books.rename(books.ana, display="Two", quota=quota)
    with pytest.raises(Refused, match="slow-down") as refused:
        books.rename(books.ana, display="Three", quota=quota)
    assert refused.value.retry == 24 * 60 * 60 - 2 * 60
    books.at += DAY
    assert books.rename(books.ana, display="Three", quota=quota) is not None
    for number in range(MOST_KEPT):
        books.rename(books.ana, f"ana-{'x' * (number + 1)}")
    assert books.refusal(books.ana, "another") == "not-allowed"
    assert books.rename(books.ana, "ana-x") is not None


def test_very_many_rooms(books: Books) -> None:
    """Nobody holds more rooms than so many at once."""

    def settle(db: object) -> None:
        rows = [{"name": f"r{n}", "kind": "public", "created_at": AT} for n in range(MOST_ROOMS)]
        ids = db.scalars(insert(RoomRow).returning(RoomRow.id), rows).all()  # type: ignore[attr-defined]
        mine = [{"room_id": id, "account_id": books.ana.id, "joined_seq": 0, "role": MEMBER} for id in ids]
        db.execute(insert(MembershipRow), mine)  # type: ignore[attr-defined]

    books.tables(settle)
    assert books.refusal(books.ana, "anna") == "not-allowed"


def test_asking_for_a_former_name(books: Books) -> None:
    """Whoever names somebody by the name that they had is told what they are called now, until somebody else has it;
    the name of nobody says nothing."""
    tables = books.tables
    cai = tables.person("cai")
    books.rename(books.ana, "anna")
    for asked in (lambda db: find_person(db, books.bob, "ANA"), lambda db: find_room(db, books.bob, "@ana")):
        with pytest.raises(Refused, match=r"RENAMED.*anna") as refused:
            tables(asked)
        assert refused.value.error.value == "no-such-user"
    assert tables(names.heirs, ["ana", "bob", "nobody"]) == {"ana": "anna"}
    books.at += 100 * DAY
    books.rename(cai, "ana")
    assert tables(find_person, books.bob, "ana") == Person(cai.id, "ana")
    assert tables(names.heirs, ["ana", "cai"]) == {"cai": "ana"}
    tables(accounts.set_disabled, cai.id, AT, disabled=True)
    with pytest.raises(Refused, match="NO_SUCH_USER"):
        tables(find_person, books.bob, "ana")


def test_who_is_told_of_a_new_name(books: Books) -> None:
    """What somebody is called now who gave up a name is told to those who share a room with them, to moderators of a
    room where they have been, and to operators: a stranger cannot follow them, nor whoever is in a room that they have
    left."""
    tables = books.tables
    cai, dan = tables.person("cai"), tables.person("dan", OPERATOR)
    chess = tables.room("chess", cai)
    tables.join(chess, books.ana)
    tables.join(chess, books.bob)
    books.rename(books.ana, "anna")

    eva = tables.person("eva")

    def told() -> list[bool]:
        known = []
        for who in (books.bob, cai, dan, eva):
            with pytest.raises(Refused) as refused:
                tables(find_person, who, "ana")
            known.append("anna" in english(refused.value.sentence))
        return known

    assert told() == [True, True, True, False]
    tables(rooms.leave, books.ana, "books", AT)
    tables(rooms.leave, books.ana, "chess", AT)
    assert told() == [True, True, True, False]  # both own a room where she has been
    tables(rooms.leave, books.bob, "books", AT)
    assert told() == [False, True, True, False]


def test_racing_for_a_name(books: Books) -> None:
    """If several accounts take a name, or register it, at the same moment, one gets it; the others are refused."""
    tables = books.tables
    people = [tables.person(f"p{number}") for number in range(3)]

    def attempt(work: Callable[[], object]) -> str:
        try:
            work()
        except Refused as refused:
            return refused.error.value
        return "ok"

    words = tables.at_once(
        *(lambda who=who: attempt(lambda: books.rename(who, "zoe")) for who in people),
        lambda: attempt(lambda: tables.person("Zoe")),
    )
    assert sorted(words) == ["name-taken"] * 3 + ["ok"]


def test_taking_what_is_being_given_up(books: Books) -> None:
    """A name is never free while its holder takes another one."""
    with books.tables.engine.begin() as db, books.tables.meanwhile(lambda: register(books, "ana")) as result:
        names.hold(db, "ana")
        renames.rename(db, books.ana.id, "maria", None, AT, ANY)
    assert result() in ("bad-name", "name-taken")


def register(books: Books, name: str) -> str:
    try:
        books.tables(accounts.create, name, "hash", AT)
    except Refused as refused:
        return refused.error.value
    return "ok"


def test_a_message_meanwhile(books: Books) -> None:
    """A message that waits for a rename is stored behind it, with a time at which its author has the new name."""
    tables = books.tables
    with tables.engine.begin() as db, tables.meanwhile(lambda: books.says(books.ana)) as result:
        done = renames.rename(db, books.ana.id, "anna", None, AT + DAY, ANY)
    assert done is not None
    assert result() >= done.at
    assert [one.kind for one in books.log()][-2:] == [RENAMED, MESSAGE]
    assert books.called() == [("anna", "")]


def test_joining_meanwhile(books: Books) -> None:
    """A room that the account joins while it is renamed is told too, or is joined under the new name."""
    tables = books.tables
    club = tables.room("club", books.bob)
    with tables.engine.begin() as db, tables.meanwhile(lambda: books.rename(books.ana, "anna")) as result:
        access = find_room(db, books.ana, "club", lock=True)
        rooms.join(db, books.ana, access, AT)
    assert result() is not None
    assert [one.kind for one in tables.log(club)][-2:] == ["joined", RENAMED]


def test_direct_rooms(books: Books) -> None:
    """A direct room is one of the rooms that are told; it is called by the new name from then on."""
    tables = books.tables
    facts = tables(lambda db: rooms.open_direct(db, books.bob, find_room(db, books.bob, "@ana"), AT))
    done = books.rename(books.ana, "anna")
    assert done is not None
    told = next(known for known, _ in done.announced if known.id == facts.id)
    assert told.label(books.bob.id) == "@ana"
    assert [one.facts.label(books.bob.id) for one in tables(memberships, books.bob)] == ["@anna", "books"]


def test_erasing(books: Books) -> None:
    """An erased account has no former name, display name or ignored account left; its entries have one name, and its
    former names stay with it for their time."""
    tables = books.tables
    books.says(books.ana)
    books.rename(books.ana, "anna", "Ana María")
    books.says(books.ana)
    books.rename(books.ana, "annie", "")
    for one, other in ((books.ana, books.bob), (books.bob, books.ana)):
        tables(ignoring.ignore, one, other, AT)
    tables(erasure.erase, books.ana, books.at, messages=False)
    while (places := tables(erasure.places, books.ana.id)) is not None:
        tables(erasure.step, books.ana.id, places, books.at)
    erased = f"erased-{books.ana.id}"
    assert books.called() == [(erased, "")] * 2
    assert {one.author for one in books.log() if one.author_id == books.ana.id} == {erased}
    assert [one.text for one in books.log() if one.kind == RENAMED] == ["", ""]
    rows = tables(lambda db: db.execute(select(FormerNameRow.name, FormerNameRow.display_name)).all())
    assert {tuple(row) for row in rows} == {("", None)}
    assert tables(lambda db: db.execute(select(IgnoreRow.at)).all()) == []
    assert tables(erasure.pending) == []
    for name in ("ana", "anna", "annie"):
        assert books.refusal(books.bob, name) in ("bad-name", "name-taken")
    with pytest.raises(Refused, match=r"NO_SUCH_USER.*ana"):
        tables(find_person, books.bob, "ana")


def test_importing(books: Books) -> None:
    """The author of an entry under a former name is found when the room is imported again."""
    books.rename(books.ana, "anna")
    found = books.tables(transfer.accounts_of, ["ana", "anna", "bob"], AT, "refuse")
    assert {name: id for name, (id, _) in found.items()} == {
        "ana": books.ana.id, "anna": books.ana.id, "bob": books.bob.id,
    }  # fmt: skip


def test_what_is_stored(books: Books) -> None:
    """The account has the key and the skeleton of its new name; a display name alone changes neither."""
    books.rename(books.ana, display="Ana")
    columns = (AccountRow.name, AccountRow.name_key, AccountRow.skeleton, AccountRow.display_name)
    mine = select(*columns).where(AccountRow.id == books.ana.id)
    assert tuple(books.tables(lambda db: db.execute(mine).one())) == ("ana", "ana", "ana", "Ana")
    books.rename(books.ana, "Annie")
    assert tuple(books.tables(lambda db: db.execute(mine).one())) == ("Annie", "annie", "annle", "Ana")
