"""What a search finds, whatever the database, and whether or not the index of words has it yet."""

from datetime import timedelta
from typing import Any, Final

import pytest
from msgspec import structs
from sqlalchemy import Connection

from chatserver.store import erasure, messages, retention, search, words
from chatserver.store.messages import Draft
from chatserver.store.wanted import Wanted, terms
from chatserver.util.words import languages
from chatserver.values.events import Person, RoomFacts
from tests.store.conftest import AT, Tables

SAID: Final = (
    "Looking for the soup kitchen",  # 1
    "Soups, and a look at the menu",
    "kitchen soup",
    "Das Café in der Straße",
    "don't panic, it's O'Brien's",  # 5
    "see https://Example.org/soup/menu?q=1 and mail ana@example.org",
    "我们在北京大学吃午饭",
    "日本語のテキスト",
    "สวัสดีครับ",
    "naïve coöperation, Ångström, ΟΔΥΣΣΕΥΣ, ёлка",  # 10
    "well done 👍🏽 🎉",
    "foo_bar, snake-case, v1.2.3, 3.14, -5",
    "हिन्दी में लिखना",
    "' OR 1=1 -- \\ & | ! : * ( ) < > NEAR AND OR NOT",
    "‮reversed‬ zero​width",  # 15
    "Zürich ﬁnance Ⅷ ½",
    "www.example.com/soup",
    "runs running runner ran",
    "한국어를 배워요",
    "x" * 300,  # 20
)
CASES: Final[tuple[tuple[str, str, list[int]], ...]] = (
    # text, language, the messages, newest first
    ("soup", "", [17, 6, 3, 2, 1]),
    ("kitchen soup", "", [3, 1]),
    ("SOUP Kitchen", "", [3, 1]),
    ('"soup kitchen"', "", [1]),
    ('"soup kitch"', "", []),
    ("“soup kitchen”", "", [1]),
    ('"soup kitchen', "", [3, 1]),
    ("loo", "", [2, 1]),
    ("l", "", []),
    ("soup loo", "", [1]),
    ("loo soup", "", []),
    ('"loo"', "", []),
    ("lo*", "", [2, 1]),
    ("soups", "", [2]),
    ("soups", "english", [17, 6, 3, 2, 1]),
    ("looks soups", "english", [2, 1]),
    ('"soups"', "english", [2]),
    ("run x", "english", []),
    ("running", "english", [18]),
    ("cafe", "", [4]),
    ("CAFÉ STRASSE", "", [4]),
    ("cafe\u0301", "", [4]),
    ("panic don't", "", [5]),
    ("don’t panic", "", [5]),
    ("o'brien", "", [5]),
    ("https://example.org/soup", "", [6]),
    ("example", "", [17, 6]),
    ("example.org", "", [6]),
    ("menu?q=1", "", [6]),
    ("北京", "", [7]),
    ("京北", "", []),
    ("大学", "", [7]),
    ("日本語", "", [8]),
    ("テキ", "", [8]),
    ("สวัสดี", "", [9]),
    ("naive angstrom", "", [10]),
    ("οδυσσεύς ЕЛКА", "", [10]),
    ("👍", "", [11]),
    ("🎉 done", "", [11]),
    ("🎂", "", []),
    ("foo_bar", "", [12]),
    ("bar case", "", [12]),
    ("2.3", "", [12]),
    ("3.14 5", "", [12]),
    ("हिन्दी", "", [13]),
    ("' OR 1=1 --", "", [14]),
    ("near and or not", "", [14]),
    ("a:* | !b & (c) <-> d", "", []),
    ('" OR "1" NOT "', "", [14]),
    ("'\\", "", []),
    ("words:soup {words} : ^soup", "", []),
    ("reversed zerowidth", "", [15]),
    ("zurich finance viii", "", [16]),
    ("한국어", "", [19]),
    ("x" * 200, "", [20]),
    ("ru", "english", [18]),
)


class Kitchen:
    """A room in which all of that is said."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.ana, self.bob = tables.person("ana"), tables.person("bob")
        self.room = tables.room("kitchen", self.ana, self.bob)
        self.first = self.say(*SAID)

    def say(self, *said: str, who: Person | None = None, room: RoomFacts | None = None, of: int = 0) -> int:
        """Returns the number before that of the first."""
        at = AT + timedelta(seconds=self.tables.entries())
        place = room or self.room
        drafts = [Draft(place.id, (who or self.ana).id, text, None, of) for text in said]
        verdicts = [self.tables.append(one, at=at + timedelta(seconds=n))[0] for n, one in enumerate(drafts)]
        return verdicts[0].seq - 1

    def index(self, language: str = "") -> None:
        while self.tables(words.step, language, None).behind:
            pass

    def find(self, wanted: Wanted, who: Person | None = None, *, everywhere: bool = True, limit: int = 50) -> list[int]:
        """The numbers of all that is found, over all pages."""
        person, found, before = who or self.ana, [], None
        while True:
            access = None if everywhere else self.tables.find(person, "kitchen")
            page, before = self.tables(search.search, person, access, wanted, before, limit)
            assert len(page) <= limit
            found += [entry.seq - self.first for _, entry in page]
            if before is None:
                return found

    def texts(self, text: str, language: str = "", **given: Any) -> list[int]:
        fields = {name: given.pop(name) for name in list(given) if name in Wanted.__struct_fields__}
        return self.find(Wanted(terms(text, language, prefix=True), language, **fields), **given)


@pytest.fixture
def kitchen(tables: Tables) -> Kitchen:
    return Kitchen(tables)


@pytest.mark.parametrize("indexed", ["indexed", "read", "half"])
def test_both_databases_answer_alike(kitchen: Kitchen, indexed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each search finds these messages on both databases: from the index, from the texts, and from both; in a room and
    in all rooms; at once and by walking through the logs."""
    if indexed == "half":
        monkeypatch.setattr(words, "STEP_ENTRIES", 10)
    for language in ("", "english"):
        if indexed == "half":
            kitchen.tables(words.step, language, None)
        elif indexed == "indexed":
            kitchen.index(language)
        for rare, everywhere in ((1000, True), (0, indexed == "half")):
            monkeypatch.setattr(search, "RARE", rare)
            for text, spoken, expected in CASES:
                if spoken == language and terms(text, language, prefix=True):
                    assert kitchen.texts(text, language, everywhere=everywhere) == expected, (text, rare)


def test_nothing_but_signs() -> None:
    """Signs are no words: there is nothing to search for."""
    assert not Wanted(terms("! .* '' \"\" --", prefix=True))
    assert terms("l", prefix=True)[0].prefix is False


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("everywhere", [True, False])
def test_fields(kitchen: Kitchen, indexed: bool, everywhere: bool) -> None:
    """Searches for an author, links, answers and times, with words and without."""
    kitchen.say("soup of bob", "bob's http://soup.example", who=kitchen.bob)  # 21, 22
    kitchen.say("an answer with soup", of=kitchen.first + 3)  # 23
    if indexed:
        kitchen.index()
    times = {entry.seq - kitchen.first: entry.at for entry in kitchen.tables.log(kitchen.room)}

    def find(text: str = "", **fields: Any) -> list[int]:
        return kitchen.texts(text, everywhere=everywhere, **fields)

    assert find(author_id=kitchen.bob.id) == [22, 21]
    assert find("soup", author_id=kitchen.bob.id) == [22, 21]
    assert find("soup", link=True) == [22, 6]
    assert find(link=True, author_id=kitchen.bob.id) == [22]
    assert find(reply=True) == [23]
    assert find("soup", reply=True, author_id=kitchen.bob.id) == []
    assert find("soup", since=times[6]) == [23, 22, 21, 17, 6]
    assert find("soup", until=times[6]) == [3, 2, 1]
    assert find("soup", since=times[3], until=times[17]) == [6, 3]
    assert find("soup", since=times[23] + timedelta(days=1)) == []
    assert find("soup", until=times[1]) == []
    assert find("soup", since=times[3], until=times[17], limit=1) == [6, 3]


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("everywhere", [True, False])
def test_the_best_first(kitchen: Kitchen, indexed: bool, everywhere: bool) -> None:
    """The best are those that have the words as they are written, together, and little else; pages have each once."""
    if indexed:
        kitchen.index("english")
    found = kitchen.texts("soup kitchen", "english", best=True, everywhere=everywhere)
    assert found == [1, 3]
    found = kitchen.texts("soups", "english", best=True, everywhere=everywhere)
    assert found[0] == 2
    assert sorted(found) == [1, 2, 3, 6, 17]
    for limit in (1, 2, 4):
        assert kitchen.texts("soups", "english", best=True, everywhere=everywhere, limit=limit) == found


def test_edited_and_erased(kitchen: Kitchen) -> None:
    """What was edited is found by its new words only, and what was erased not at all: at once, whether the index had it
    or gets it afterwards, and nothing of it stays in the index."""
    tables = kitchen.tables
    for indexed in (True, False):
        kitchen.say("a secret pear", "a secret plum")
        pear, plum = [entry.seq for entry in tables.log(kitchen.room)][-2:]
        if indexed:
            kitchen.index()
        access = tables.find(kitchen.ana, "kitchen")
        tables(messages.edit, kitchen.ana, access, pear, "a public apple", AT + timedelta(hours=1))
        tables(messages.erase, kitchen.ana, access, plum, AT + timedelta(hours=1))
        for _ in range(2):
            assert kitchen.texts("secret") == kitchen.texts("plum") == kitchen.texts("pear") == []
            assert kitchen.texts("apple")[0] == pear - kitchen.first
            kitchen.index()
        assert not {"secret", "pear", "plum"} & in_index(tables)


def in_index(tables: Tables) -> set[str]:
    """All words that the index has."""
    if not tables.postgres:
        return {
            one
            for (said,) in tables(lambda db: db.exec_driver_sql("SELECT words FROM entry_search").all())
            for one in said.split()
        }
    query = "SELECT DISTINCT unnest(tsvector_to_array(words)) FROM entry_search"
    return {one for (one,) in tables(lambda db: db.exec_driver_sql(query).all())}


def test_erased_accounts_and_retention(kitchen: Kitchen) -> None:
    """Nothing of an erased account's messages stays in the index, and nothing of what retention removed."""
    tables = kitchen.tables
    kitchen.say("a quince of bob", who=kitchen.bob)
    kitchen.index()
    assert {"quince", "soup"} <= in_index(tables)
    tables(erasure.erase, kitchen.bob, AT + timedelta(hours=1), messages=True)
    while (places := tables(erasure.places, kitchen.bob.id)) is not None:
        tables(erasure.step, kitchen.bob.id, places, AT + timedelta(hours=1))
    assert "quince" not in in_index(tables)
    assert kitchen.texts("quince") == []
    tables(retention.remove, kitchen.room.id, 1, kitchen.first + 4)
    assert kitchen.texts("kitchen") == []
    assert "kitchen" not in in_index(tables)


def test_another_language(kitchen: Kitchen) -> None:
    """After the language of the settings has changed, the index is made anew in steps, and searches are right
    meanwhile."""
    kitchen.index()
    assert kitchen.texts("looked", "english") == [2, 1]
    kitchen.tables(words.step, "english", None)
    kitchen.index("english")
    assert "\ue000look" in in_index(kitchen.tables)
    assert kitchen.texts("looked", "english") == [2, 1]
    kitchen.index("")
    assert "\ue000look" not in in_index(kitchen.tables)
    assert kitchen.texts("looked") == []


def test_only_what_one_may_read(kitchen: Kitchen) -> None:
    """A search finds what the person may read: nothing of private rooms that they are not in, or from before they
    joined."""
    tables = kitchen.tables
    diary = tables.room("diary", kitchen.ana, kind="private")
    kitchen.say("soup in the diary", room=diary)
    tables.join(diary, kitchen.bob, kitchen.ana)
    kitchen.say("soup for bob", room=diary)
    eve = tables.person("eve")
    for _ in range(2):
        texts = [
            [
                entry.text
                for _, entry in tables(search.search, who, None, Wanted(terms("diary soup", prefix=True)), None, 9)[0]
            ]
            for who in (kitchen.ana, kitchen.bob, eve)
        ]
        assert texts == [["soup in the diary"], [], []]
        assert len(kitchen.texts("soup", who=kitchen.bob)) == 6
        assert len(kitchen.texts("soup", who=eve)) == 5
        kitchen.index()


def test_languages() -> None:
    """The stems of each language are known, and no text makes a stemmer fail."""
    assert {"english", "german", "french", "russian", "finnish"} <= set(languages())
    for language in languages():
        for text in SAID:
            assert terms(text[:200], language, prefix=True)
    assert structs.asdict(Wanted())["terms"] == ()


@pytest.mark.parametrize("first", ["the job", "the erasure"])
def test_erased_while_it_is_indexed(kitchen: Kitchen, first: str) -> None:
    """If a message is erased, or edited, while the job indexes it, whoever is first: nothing of its text stays in the
    index."""
    tables = kitchen.tables
    kitchen.index()
    kitchen.say("a secret pear", "a secret plum")
    pear, plum = [entry.seq for entry in tables.log(kitchen.room)][-2:]
    access = tables.find(kitchen.ana, "kitchen")

    def change(db: Connection) -> None:
        messages.erase(db, kitchen.ana, access, plum, AT + timedelta(hours=1))
        messages.edit(db, kitchen.ana, access, pear, "a public apple", AT + timedelta(hours=1))

    def index(db: Connection) -> None:
        words.step(db, "", None)

    works = (index, change) if first == "the job" else (change, index)
    with tables.engine.begin() as db, tables.meanwhile(lambda: tables(works[1])) as second:
        works[0](db)
    second()
    assert not {"secret", "pear", "plum"} & in_index(tables)
    assert kitchen.texts("apple") == [pear - kitchen.first]
    kitchen.index()
    assert not {"secret", "pear", "plum"} & in_index(tables)
    assert "apple" in in_index(tables)


def test_one_node_at_a_time(kitchen: Kitchen) -> None:
    """On several nodes one fills the index; another one, which finds it at work, waits."""
    with kitchen.tables.engine.begin() as db:
        assert words.step(db, "", None).done
        if kitchen.tables.postgres:
            assert kitchen.tables(words.step, "", None).busy
    assert not kitchen.tables(words.step, "", None).busy
