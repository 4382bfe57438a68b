"""Characters that would deceive a reader, and marks that would take long to put in order: one gate for every text."""

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any
from unicodedata import category, combining, is_normalized, normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.values.errors import ErrorWord, Refused, Rejected
from chatserver.values.stages import Stage
from chatserver.wire.framing.lines import Undecodable
from chatserver.wire.hygiene import invisible
from chatserver.wire.hygiene import text as hygiene
from chatserver.wire.hygiene.invisible import MOST_MARKS
from chatserver.wire.hygiene.text import (
    MAX_LINES,
    MAX_MESSAGE,
    away_text,
    clean_line,
    escaped,
    label_text,
    message_text,
    one_line,
    password,
    presentable,
    reason_text,
    search_text,
    secret,
    topic_text,
)
from chatserver.wire.jsonl import JSONL
from chatserver.wire.sentences import english
from chatserver.wire.text import TEXT
from tests.support.hall import Hall

CHECKS: list[Callable[[str], str]] = [
    message_text, topic_text, reason_text, away_text, search_text, label_text, password,
    lambda text: one_line(text, "id"), lambda text: secret(text, "token"),
]  # fmt: skip
PILED = ["\u0301\u0323" * 2000, "a" + "\u0301" * (MOST_MARKS + 1), "x" * 4000 + "\u20dd" * 40, "a" + "\u0344" * 16,
         "ᾂ" + "\u0301" * 28, "a" + "\u200d\u0301" * 31, "\U0001d400" + "\u0301" * 31]  # fmt: skip
"""More than 30 marks in a row: mixed up, on end, without a class, once decomposed, and hidden behind joiners."""
MARKS = st.text(
    st.sampled_from(["a", "\u0301", "\u0323", "\u0344", "\u0f73", "ᾂ", "\u200d", "\u0e31", " "]), max_size=90
)
MEAN = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("👩\u200d\ufe0f❤葛\U000e0100\U000e0067\U0001f3f4\u202e\u200b\u2800\u3164\u00ad1\u20e3🏽 a"),
    )
)


def is_mark(char: str) -> bool:
    return combining(char) != 0 or category(char) in ("Mn", "Me")


def longest_run(text: str) -> int:
    return max((len(list(run)) for marks, run in groupby(normalize("NFD", text), is_mark) if marks), default=0)


@pytest.mark.parametrize("text", PILED, ids=range(len(PILED)))
def test_piled_marks_are_refused_before_they_are_put_in_order(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text with more than 30 marks in a row is refused in one line, and never normalised: that would take time
    quadratic in their number. So is a line that a client sends; it does not end the connection."""
    longest = 0

    def counting(form: Any, text: str) -> str:
        nonlocal longest
        longest = max(longest, *[len(list(run)) for marks, run in groupby(text, is_mark) if marks], 0)
        return normalize(form, text)

    monkeypatch.setattr(hygiene, "normalize", counting)
    monkeypatch.setattr(invisible, "normalize", counting)
    for check in CHECKS:
        with pytest.raises(Refused, match=r"MARKS.* 30") as refused:
            check(text)
        assert refused.value.error is (ErrorWord.BAD_PASSWORD if check is password else ErrorWord.BAD_COMMAND)
        assert english(refused.value.sentence).isprintable()
    assert clean_line(text.encode()) == text.replace("\u200d", "")
    assert longest <= MOST_MARKS
    for stage, line in ((Stage.IN, text), (Stage.IN, f"/topic {text}"), (Stage.PASSWORD, text), (Stage.NEW, text)):
        assert isinstance(TEXT.parse(clean_line(line.encode()), stage), Rejected)
    for fields in ({"cmd": "say", "room": "x", "text": text}, {"cmd": "login", "name": "ana", "password": text}):
        for raw in (json.dumps(fields | {"tag": 7}), json.dumps(fields | {"tag": 7}, ensure_ascii=False)):
            rejected = JSONL.parse(clean_line(raw.encode()), Stage.IN)
            assert isinstance(rejected, Rejected)
            assert (rejected.tag, rejected.fatal) == (7, False)
    assert longest <= MOST_MARKS


@given(MARKS)
def test_whatever_passes_is_stream_safe(text: str) -> None:
    """Nothing passes that has more than 30 marks in a row, decomposed as well, and nothing else is refused."""
    kept = ""
    try:
        kept = password(text)
    except Refused:
        assert longest_run(text.replace("\u200d", "")) > MOST_MARKS
    assert longest_run(kept) <= MOST_MARKS
    assert longest_run(presentable(text)) <= 2 * MOST_MARKS + 3  # as it is stored


@pytest.mark.parametrize(
    "char",
    ["\u061c", *map(chr, range(0x200B, 0x2010)), *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2060, 0x2070)),
     "\ufeff", "\u00ad", "\u034f", "\ufdd0", "\uffff", "\U0001ffff", "\U0010fffe", "\ue000", "\U000f1234",
     "\ufff9", "\ufffb", "\ufe0f", "\U000e0001", "\U000e0041", "\U000e0100", "\u115f", "\u1160", "\u3164", "\uffa0",
     "\u180e", "\u2800", "\U0001d159"],
    ids=ascii,
)  # fmt: skip
def test_what_deceives_is_dropped(char: str) -> None:
    """Bidi controls, tags, zero-width characters, noncharacters, private use and letters without a shape are dropped
    from every text, whether they were typed or escaped in JSON; a text of nothing else is empty."""
    assert clean_line(f"a{char}b".encode()) == "ab"
    for check in CHECKS:
        assert check(f"a{char}b") == "ab"
    with pytest.raises(Refused) as refused:
        message_text(char)
    assert refused.value.error is ErrorWord.EMPTY
    with pytest.raises(Refused):
        one_line(char, "id")
    assert presentable(f"a{char}\nb") == "a\nb"
    assert escaped(f"a{char}b").isascii()
    assert json.loads(f'"{escaped(char)}"') == char


@pytest.mark.parametrize(
    "text",
    ["👩🏽\u200d💻", "👨\u200d👩\u200d👧", "❤\ufe0f", "❤\ufe0f\u200d🔥", "☎\ufe0e", "1\ufe0f\u20e3", "🏳\ufe0f\u200d🌈",
     "葛\U000e0100城", "🇨🇭", "שלום", "سلام", "ภาษาไทย", "한글", "naïve…", "∑ → ½"],
)  # fmt: skip
def test_what_means_something_is_kept(text: str) -> None:
    """Emoji that are joined or chosen by a selector, and the scripts of the world, stay as they are."""
    assert clean_line(text.encode()) == message_text(text) == presentable(text) == escaped(text) == text


@given(MEAN)
def test_nothing_deceives(text: str) -> None:
    """Whatever passes is in NFC, and passes again unchanged; a joiner or selector is left only beside an emoji."""
    try:
        kept = message_text(text)
    except Refused:
        return
    assert message_text(kept) == kept
    assert all(is_normalized("NFC", line) for line in kept.split("\n"))
    assert not any(category(char) in ("Co", "Cs") for char in kept)
    for at, char in enumerate(kept):
        if char == "\u200d":
            assert kept[at - 1] >= "\u2000"
            assert kept[at + 1] >= "\u2000"
    assert presentable(kept) == kept


# Lengths


@pytest.mark.parametrize(
    ("text", "word"),
    [("x" * 4097, "4096"), ("\ufb2c" * 2000, "6000"), ("a\n" * 100 + "b", "101"), ("\u0958" * 2049, "4098")],
)
def test_long_messages(text: str, word: str) -> None:
    """A message has at most 4,096 characters and 100 lines, counted in what would be stored."""
    with pytest.raises(Refused, match=word) as refused:
        message_text(text)
    assert refused.value.error is ErrorWord.TOO_LONG


def test_the_longest_messages() -> None:
    """Blanks at the end do not count, nor does what is dropped or composed."""
    assert len(message_text("x" * MAX_MESSAGE + " \n\n")) == MAX_MESSAGE
    assert len(message_text("e\u0301" * MAX_MESSAGE)) == MAX_MESSAGE
    assert len(message_text("x" + "\u200b" * MAX_MESSAGE)) == 1
    assert message_text("a\n" * (MAX_LINES - 1) + "b\n\n").count("\n") == MAX_LINES - 1


@given(MEAN, st.integers(1, 5000))
def test_what_passes_fits_its_column(text: str, times: int) -> None:
    """Whatever passes has no NUL, no surrogate, and no more characters than may be stored: a text can become longer by
    being normalised."""
    long = (text + "\ufb2c") * (times // (len(text) + 1))
    for check, most in zip(CHECKS, (4096, 500, 500, 200, 200, 64, 1024, 64, 200), strict=True):
        for sent in (text, long):
            try:
                kept = check(sent)
            except Refused:
                continue
            assert len(kept) <= most
            assert not any(char == "\0" or category(char) == "Cs" for char in kept)
    try:
        assert "\0" not in clean_line(text.encode(errors="replace"))
    except Undecodable:
        pass


def test_ids_are_measured_as_they_are_kept() -> None:
    """An `id` that becomes too long, or empty, is the client's fault, and is refused with its tag."""
    for id in ("\ufb2c" * 22, "\u200b"):
        rejected = JSONL.parse(json.dumps({"cmd": "say", "room": "x", "text": "hi", "id": id, "tag": 3}), Stage.IN)
        assert isinstance(rejected, Rejected)
        assert (rejected.refused.error, rejected.tag, rejected.fatal) == (ErrorWord.BAD_COMMAND, 3, False)


def test_piled_marks_end_no_connection(tmp_path: Path) -> None:
    """A line of marks gets one answer, before login and after it, and the client goes on."""
    hall = Hall(tmp_path)
    try:
        person = hall.client().type("\u0301\u0323" * 2000)
        assert [line[:2] for line in person.lines] == ["* ", "! ", "* "]  # and what to type is asked again
        person.type("/register bob s3cret-words", "a" + "\u0301" * 31, "/ping")
        assert person.lines[-2:] == [
            "! A letter can carry at most 30 accents and other marks. Remove some.",
            "* The server is here.",
        ]
        program = hall.program("ana").say("a" + "\u0301" * 31, tag=7)
        assert (program.answers[-1]["error"], program.answers[-1]["tag"]) == ("bad-command", 7)
        assert program.closing == []
    finally:
        hall.close()
