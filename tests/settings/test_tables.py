"""Settings: from a file, or the defaults."""

from pathlib import Path

import pytest

from chatserver.operation.control.reload import adopt
from chatserver.settings.file import MOST_BYTES, chosen, load
from chatserver.settings.tables import FOLLOWING, ConfigProblem, Limits, Settings, named


def loaded(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "chat.toml"
    path.write_bytes(text.encode("latin-1"))
    return load(path)


def test_without_a_file() -> None:
    """The defaults are those in the documentation."""
    settings = load(None)
    assert settings == Settings()
    limits, passwords = settings.limits, settings.passwords
    assert (limits.max_line_bytes, limits.window, limits.handshake_seconds, limits.handshake_bytes) == (
        53_248,
        32,
        30,
        8192,
    )
    assert (limits.failed_logins, limits.strikes) == (3, 20)
    assert (passwords.memory_kib, passwords.time_cost, passwords.parallelism) == (19456, 2, 1)
    assert settings.server.default_rooms == ["general"]


def test_an_empty_file(tmp_path: Path) -> None:
    """It is the same as no file."""
    assert loaded(tmp_path, "") == Settings()


def test_a_file(tmp_path: Path) -> None:
    """It changes the settings that it names, and seconds may be whole numbers; the others have their defaults."""
    settings = loaded(tmp_path, "[limits]\nhandshake_seconds = 5\nwindow = 1\n[server]\ndefault_rooms = ['Lobby']\n")
    assert (settings.limits.handshake_seconds, settings.limits.window, settings.limits.strikes) == (5, 1, 20)
    assert settings.server.default_rooms == ["lobby"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[limits]\nwindows = 5", "windows"),
        ("[limit]\nwindow = 5", "limit"),
        ("window = 5", "window"),
        ("[limits]\nwindow = 'five'", "limits.window"),
        ("[limits]\nwindow = 2.5", "limits.window"),
        ("[limits]\nwindow = 0", "limits.window"),
        ("[limits]\nmax_line_bytes = 10", "limits.max_line_bytes"),
        ("[limits]\nping_seconds = -1", "limits.ping_seconds"),
        ("[limits]\nping_seconds = nan", "limits.ping_seconds"),
        ("[limits]\nping_seconds = inf", "limits.ping_seconds"),
        ("[limits]\nconnections = 99999999999999999999", "limits.connections"),
        ("[passwords]\nmemory_kib = 0", "passwords.memory_kib"),
        ("[server]\nregistration = 'maybe'", "server.registration"),
        ("[server]\ndefault_rooms = ['@bob']", "server.default_rooms"),
        ("[server]\ndefault_rooms = ['a b']", "server.default_rooms"),
        ('[server]\ngreeting = "a\\u001bb"', "server.greeting"),
        ('[server]\nname = "a\\r\\n! b"', "server.name"),
        ("[log]\nlevel = 'verbose'", "It is one of: debug, info, warn, error."),
        ("[server\n", "line 1"),
        ("[server]\nname = '\xff'", "line 2 is not UTF-8"),
        ("[limits]\nwindow = " + "9" * 5000, "Exceeds the limit"),
        ("window = " + "[" * 50_000, "recursion"),
    ],
)
def test_a_mistake_is_reported(tmp_path: Path, text: str, named: str) -> None:
    """One line says which file and key are wrong, and what to do; no mistake is ignored."""
    with pytest.raises(ConfigProblem) as problem:
        loaded(tmp_path, text)
    said = str(problem.value)
    assert named in said
    assert "chat.toml" in said
    assert "Correct" in said
    assert "\n" not in said


@pytest.mark.parametrize("path", ["/dev/zero", "large.toml"])
def test_a_file_without_end(tmp_path: Path, path: str) -> None:
    """A file much larger than settings is not read to its end."""
    (tmp_path / "large.toml").write_bytes(b"#" * (MOST_BYTES + 1))
    with pytest.raises(ConfigProblem, match=r"is larger than .*\. Correct --config\."):
        load(tmp_path / path)


def test_a_byte_order_mark(tmp_path: Path) -> None:
    """Some editors write one at the beginning of a file; it is no part of the text."""
    assert loaded(tmp_path, "\xef\xbb\xbf[limits]\nwindow = 5\n").limits.window == 5


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """The URL of the database may contain a password, so no `repr` contains it."""
    settings = loaded(tmp_path, "[server]\ndatabase = 'postgresql+psycopg2://me:s3cret@host/db'")
    assert "s3cret" not in repr(settings)


def test_limits_that_follow(tmp_path: Path) -> None:
    """Without quotas of addresses, or a pace of connections, what belongs to them is off too, unless it is set."""
    assert Limits().registrations_per_hour > 0
    assert Limits().account_bytes_per_second > 0
    off = loaded(tmp_path, "[limits]\nconnections_per_address = 0\ncommands_per_second = 0\nguests_per_address = 3\n")
    for following in FOLLOWING.values():
        for name in following:
            assert getattr(off.limits, name) == (3 if name == "guests_per_address" else 0)


def test_the_name_of_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment comes before the file. Without either it is `main`, and with a bus the node takes one when it
    starts; a reload does not take that for a change."""
    monkeypatch.delenv("CHATSERVER_NODE", raising=False)
    path, database = tmp_path / "chat.toml", "postgresql+psycopg2:///chat"

    def name(text: str) -> str:
        path.write_text(text)
        return chosen(str(path), database).server.node

    bus = "[bus]\nurl = 'postgres'\n"
    assert [name(""), name(bus), name(f"{bus}[server]\nnode = 'a'\n")] == ["main", "", "a"]
    settings = chosen(str(path), database)
    path.write_text(bus)
    assert adopt(settings, chosen(str(path), database)) == ([], [])
    named(settings, "host-2")
    assert adopt(settings, chosen(str(path), database)) == ([], [])
    monkeypatch.setenv("CHATSERVER_NODE", "b")
    assert [name(""), name("[server]\nnode = 'a'\n"), name(bus)] == ["b", "b", "b"]
    assert adopt(settings, chosen(str(path), database)) == ([], ["server.node"])
    for wrong in ("b" * 65, "b\nc"):
        monkeypatch.setenv("CHATSERVER_NODE", wrong)
        with pytest.raises(ConfigProblem, match="CHATSERVER_NODE must be one line"):
            name("")
    with pytest.raises(ConfigProblem, match=r"server\.node must have at most 64 characters"):
        name(f"[server]\nnode = '{'a' * 65}'\n")
