"""Validation of hostile text."""

from collections.abc import Callable
from unicodedata import category, is_normalized

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.values.errors import ErrorWord, Refused
from chatserver.wire.framing.lines import Undecodable
from chatserver.wire.hygiene.text import (
    away_text,
    clean_line,
    label_text,
    message_text,
    one_line,
    password,
    person_name,
    reaction_text,
    reason_text,
    room_name,
    search_text,
    secret,
    topic_text,
    user_name,
)
from chatserver.wire.sentences import english

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]


@pytest.mark.parametrize("control", [control for control in CONTROLS if control != "\t"], ids=ascii)
def test_no_control_character_gets_through(control: str) -> None:
    """Every control character but TAB is refused anywhere, and never quoted; only messages may have line ends."""
    text = f"a{control}b"
    with pytest.raises(Undecodable) as undecodable:
        clean_line(text.encode())
    assert undecodable.value.text.isprintable()
    for check in (
        lambda text: one_line(text, "id"), lambda text: secret(text, "token"), topic_text, reason_text, away_text,
        search_text, label_text, user_name, person_name, room_name, password,
    ):  # fmt: skip
        with pytest.raises(Refused) as refused:
            check(text)
        assert english(refused.value.sentence).isprintable()
    if control in "\r\n":
        assert message_text(text) == "a\nb"
    else:
        with pytest.raises(Refused, match="text"):
            message_text(text)
        with pytest.raises(Refused, match="text"):
            message_text("first\n" + text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_clean_line_is_clean(text: str) -> None:
    """A line is accepted without loss, apart from NFC and blanks, or refused. Cleaning it again changes nothing."""
    try:
        line = clean_line(text.encode())
    except Undecodable:
        assert any(char in CONTROLS for char in text)
    else:
        assert not {category(char) for char in line} & {"Cc", "Cs", "Zl", "Zp"}
        assert is_normalized("NFC", line)
        assert clean_line(line.encode()) == line


@pytest.mark.parametrize("raw", [b"\xff", b"abc\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"])
def test_not_utf8(raw: bytes) -> None:
    """Bytes that are not UTF-8 are refused, including overlong forms and surrogates; the reason says where they are."""
    with pytest.raises(Undecodable, match=r"byte 0x.. at position"):
        clean_line(raw)


def test_text_is_one_however_it_was_typed() -> None:
    """Composed and decomposed letters are the same text; TAB and Unicode's line separators become blanks."""
    assert clean_line("e\u0301\tx\u2028y\u2029".encode()) == "é x y "
    assert password("e\u0301") == "é"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("  a  ", "  a"),
        ("a\r\nb\rc\n\n ", "a\nb\nc"),
        ("\na", "\na"),
        ("a\tb\nc\td", "a b\nc d"),
        ("e\u0301\nf", "é\nf"),
    ],
)
def test_message(text: str, kept: str) -> None:
    """A message may have several lines, and only the white space at its end is removed."""
    assert message_text(text) == kept


@pytest.mark.parametrize("text", ["", " ", "\n\r\n \t", "\u2003\u2028"])
def test_empty_message(text: str) -> None:
    """White space alone is not a message."""
    with pytest.raises(Refused) as refused:
        message_text(text)
    assert refused.value.error is ErrorWord.EMPTY


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_lone_surrogates(text: str) -> None:
    """Half a surrogate pair is refused, because it could not be sent to anybody."""
    for check in (message_text, topic_text, password):
        with pytest.raises(Refused):
            check(text)


@pytest.mark.parametrize("name", ["a", "Ana", "ana-lena_2", "A" * 32])
def test_good_user_names(name: str) -> None:
    """A user name is not changed."""
    assert user_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "1a", "_a", "-a", "a b", "a" * 33, "ana\n", "žofie", "ａna", "\u212aarl", "@ana", "~1"]
)
def test_bad_user_names(name: str) -> None:
    """Other names are refused, with the grammar as the remedy."""
    with pytest.raises(Refused, match="BAD_USER_NAME") as refused:
        user_name(name)
    assert refused.value.error is ErrorWord.BAD_NAME


@pytest.mark.parametrize("name", ["Ana", "~0", "~12", "~" + "9" * 18])
def test_people(name: str) -> None:
    """Commands about people accept guests as well."""
    assert person_name(name) == name


@pytest.mark.parametrize("name", ["", "~", "~a", "~1a", "~-1", "~" + "9" * 19, "~١", "~~1", "@~1", "~1\n"])
def test_no_people(name: str) -> None:
    """A name that no account can have is refused like a bad user name."""
    with pytest.raises(Refused, match="BAD_USER_NAME") as refused:
        person_name(name)
    assert refused.value.error is ErrorWord.BAD_NAME


def test_guests_have_no_direct_rooms() -> None:
    """A direct room with a guest is refused as not allowed, one with an impossible name as a bad name."""
    for name, error in (("@~12", ErrorWord.NOT_ALLOWED), ("@~", ErrorWord.BAD_NAME), ("~12", ErrorWord.BAD_NAME)):
        with pytest.raises(Refused) as refused:
            room_name(name)
        assert refused.value.error is error


@pytest.mark.parametrize(
    ("name", "kept"), [("Books", "books"), ("2024", "2024"), ("a" * 64, "a" * 64), ("x_-9", "x_-9"), ("@Bob", "@Bob")]
)
def test_good_room_names(name: str, kept: str) -> None:
    """A room name becomes lower case, except the person's name in a direct room."""
    assert room_name(name) == kept


@pytest.mark.parametrize("name", ["", "_a", "a b", "a" * 65, "a\n", "#a", "@", "@1", "@@a", "\u212a", "İ", "é", "a/b"])
def test_bad_room_names(name: str) -> None:
    """Other names are refused, including letters whose lower case is ASCII."""
    with pytest.raises(Refused) as refused:
        room_name(name)
    assert refused.value.error is ErrorWord.BAD_NAME


@pytest.mark.parametrize(
    ("check", "most"),
    [
        (topic_text, 500),
        (reason_text, 500),
        (away_text, 200),
        (search_text, 200),
        (label_text, 64),
        (lambda text: secret(text, "token"), 200),
    ],
)
def test_lengths(check: Callable[[str], str], most: int) -> None:
    """Each text has a maximum length, which excludes surrounding blanks."""
    assert check(" " + "é" * most + "\t") == "é" * most
    with pytest.raises(Refused, match=f"{most}.* {most + 1}") as refused:
        check("x" * (most + 1))
    assert refused.value.error is ErrorWord.TOO_LONG


@pytest.mark.parametrize("check", [search_text, label_text])
def test_never_empty(check: Callable[[str], str]) -> None:
    """A search needs a word, and a token a label."""
    for text in ("", " \t"):
        with pytest.raises(Refused) as refused:
            check(text)
        assert refused.value.error is ErrorWord.EMPTY


def test_password_length() -> None:
    """A password has a maximum length and keeps all its blanks."""
    assert password(" x" * 512) == " x" * 512
    with pytest.raises(Refused) as refused:
        password("x" * 1025)
    assert refused.value.error is ErrorWord.BAD_PASSWORD


@pytest.mark.parametrize("text", ["+1", "-1", ":)", "🎉", "👩‍👩‍👧", "хорошо", "yes!", "100%", "x" * 32])
def test_reactions(text: str) -> None:
    """A reaction is one word or emoji."""
    assert reaction_text(f" {text} ") == text


@pytest.mark.parametrize(
    "text",
    ["", "  ", "\u200b", "two words", "x" * 33, "[ok]", "a,b", "×3", "«no»", '"', "a\nb", "（a］", "\u0301", "\u20dd+1",
     "שלום", "a\u0627"],
)  # fmt: skip
def test_no_reactions(text: str) -> None:
    """Nothing can be given as a reaction that ends the sum of reactions on somebody's screen early, adds to it, sits on
    what stands before it, or moves what stands behind it."""
    with pytest.raises(Refused):
        reaction_text(text)
