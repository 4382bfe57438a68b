"""Which lines show a password or a token."""

import pytest

from chatserver.wire.hygiene.secrets import is_bare, normal, shows

TOKEN = "ct_mbJ0UX4oRQm1mGd3x8cCkWk7VYFcVd3zqT0yqYb2h5s"


@pytest.mark.parametrize(
    ("secret", "line"),
    [
        ("s3cret-words", "s3cret-words"),
        ("s3cret-words", "  s3cret-words "),
        ("s3cret-words", "oops: s3cret-words!"),
        ("s3cret-words", "xs3cret-wordsx"),
        ("s3cret-words", "/me s3cret-words"),
        ("correct horse battery", "correct  horse\u2003battery"),
        ("pärölä", "say pärölä."),
        ("abc", "abc"),
        ("abc", "my word: abc, not abcd"),
        ("a.c", "(a.c)"),
        ("", f"look: {TOKEN}"),
    ],
)
def test_what_shows_a_secret(secret: str, line: str) -> None:
    assert shows(line, [normal("another word"), normal(secret)] if secret else [])


@pytest.mark.parametrize(
    ("secret", "line"),
    [
        ("s3cret-words", "s3cret words"),
        ("abc", "abcd zabc"),
        ("a.c", "abc"),
        ("abc", ""),
        ("s3cret-words", "ct_scan, ct_mbJ0UX"),
    ],
)
def test_what_shows_none(secret: str, line: str) -> None:
    assert not shows(line, [secret])


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("login ana swordfish", "login"),
        ("LOGIN Ana fish and chips", "login"),
        ("login bob swordfish", "login"),
        ("login bob 12345", "login"),
        ("login bob fish7", "login"),
        ("  7login bob swordfish", "login"),
        ("-login bob pass_word", "login"),
        ("register bob swordfish", "register"),
        ("register bob fish code=open", "register"),
        ("password swordfish dogfish1", "password"),
        ("password fish7", "password"),
        ("password fish dog others", "password"),
        ("forget swordfish", "forget"),
        ("forget fish erase", "forget"),
    ],
)
def test_commands_without_their_slash(line: str, command: str) -> None:
    assert is_bare(line, "ana") == command


@pytest.mark.parametrize(
    "line",
    [
        "login is broken",
        "login is broken!",
        "Login isn't working for me",
        "login page",
        "register",
        "register with a code, please",
        "password",
        "password please",
        "Password reset does not work",
        "forget it",
        "Forget about it.",
        "forget me-not",
        "I cannot login bob swordfish",
        "/login bob swordfish",
        "//login bob swordfish",
        "logins bob swordfish",
    ],
)
def test_sentences_that_begin_alike(line: str) -> None:
    assert is_bare(line, "ana") == ""
