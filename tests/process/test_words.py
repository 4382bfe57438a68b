"""The index of words follows the messages of running servers."""

import pytest

from chatserver.util.words import words
from tests.conftest import Connect, StartServer
from tests.process.load import query
from tests.process.test_backups import chatctl
from tests.support.client import JsonClient
from tests.support.process import wait_until

COUNT = "SELECT count(*) FROM entry_search"


@pytest.mark.slow
def test_words_after_a_crash(database_url: str, server: StartServer, connect: Connect) -> None:
    """A server that is killed right after an answer loses no word: the message is found at once, and is in the index a
    moment after the next start. Nobody finds what was erased, and `verify` is content."""
    chat = server(database_url)
    ana = connect(chat, JsonClient)
    ana.register("ana")
    seqs = [ana.say("general", f"pudding {n}", f"id{n}")["seq"] for n in range(30)]
    chat.kill()
    chat = server(database_url)
    ana = connect(chat, JsonClient)
    ana.login("ana")
    found = ana.ok("search", text="pudd")["entries"]
    assert [entry["seq"] for entry in found] == seqs[::-1]
    wait_until(lambda: query(database_url, COUNT) == [(30,)], what="the index has them")
    ana.ok("erase", room="general", seq=seqs[0])
    ana.ok("edit", room="general", seq=seqs[1], text="trifle")
    assert [entry["seq"] for entry in ana.ok("search", text="pudding")["entries"]] == seqs[:1:-1]
    assert [entry["seq"] for entry in ana.ok("search", text="trifle")["entries"]] == [seqs[1]]
    chatctl(database_url, "verify")


@pytest.mark.slow
def test_words_in_a_language(postgres_url: str, server: StartServer, connect: Connect) -> None:
    """With `search.language`, words are found by their stems, at once and when the index was made anew; without it as
    they are written."""
    assert words("puddings", "english")[0].stem == "pud"
    for start, (config, count) in enumerate((("", 0), ('[search]\nlanguage = "english"\n', 1), ("", 0))):
        with connect(chat := server(postgres_url, config=config), JsonClient) as ana:
            ana.login("ana") if start else ana.register("ana")
            ana.say("general", "two puddings", "once")
            assert len(ana.ok("search", text="pudding", prefix=False)["entries"]) == count
            mark = f"SELECT seq FROM search_mark WHERE language = '{'english' * count}'"
            wait_until(lambda asked=mark: query(postgres_url, asked) == [(2,)], what="the index has it")  # type: ignore[misc]
            assert len(ana.ok("search", text="pudding", prefix=False)["entries"]) == count
        chat.stop()
