"""Display names: free in any script, and never to be taken for anything but a name."""

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatserver.values.errors import Refused
from chatserver.values.events import MESSAGE, Entry, RoomFacts
from chatserver.wire.dialect import PLAIN, Form
from chatserver.wire.hygiene.text import MAX_DISPLAY, display_name
from chatserver.wire.text import Text
from tests.wire.screen import Screen

AT = datetime(2026, 3, 2, 10, 2, tzinfo=UTC)
TEXT = Text(UTC)
LETTERS = st.characters(categories=["L", "M", "Nd", "So"])


@pytest.mark.parametrize(
    "text",
    [
        "José Müller", "ana", "李小龍", "田中さくら", "한국어", "Владимир", "Ελένη", "สมชาย", "नमस्ते", "O’Neil",
        "Jean-Luc", "Łukasz Đorđević", "Ana Root", "Mia Support", "Observer", "The Team",
        "A. B.", "1st", "Ana 🌻", "👩\u200d👩\u200d👧\u200d👦 family", "❤\ufe0f", "🇨🇭", "x" * 32,
    ],
)  # fmt: skip
def test_names_that_people_have(text: str) -> None:
    """They are taken as they are."""
    assert display_name(text) == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [("  Ana \t María  ", "Ana María"), ("Jose\u0301", "José"), ("An\u200ba\u202e", "Ana"), ("", ""), (" \u3164", "")],
)
def test_what_is_kept(text: str, kept: str) -> None:
    """In NFC, without invisible characters, and with single blanks; nothing is no name."""
    assert display_name(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "-- bob left", "~ bob", "» bob", "bob: hi", "bob (bob)", "[general]", "a/b", "a*b", "a@b", "#1", "<b>", "a|b",
        "a\\b", "bob：hi", "（bob）", "boː hi", "ꓽbob", "ǀ bob", "a…", "a、b", "a⁄b", "█", "→ x", "⣿", "◀ x", "123",
        "١٢٣", ".", "' '", "\u0301a", "a" + "\u0301" * 5, "x" * 33, "本" * 17, "🌻" * 17, "x" * (MAX_DISPLAY + 1),
        "אבג", "ana אבג", "العربية", "א1",
        "ᴀᴅᴍɪɴ", "ꜱᴇʀᴠᴇʀ", "ser\u0475er", "ꓮꓓꓟꓲꓠ", "ꓢꓰꓣꓦꓰꓣ", "ᎪᎠᎷᎥΝ", "ađmin", "admıη", "𐊠dmin", "ⲥhatserver", "аԁmіп",
        "Server Notice", "The Admin Team", "Chat Server", "Ser ver Notice", "ᴀᴅᴍɪɴ Ana", "System Message",
        "Official Staff",
        "admin", "ADM1N", "Аdmin", "𝐚𝐝𝐦𝐢𝐧", "ａｄｍｉｎ", "a.d.m.i.n", "Sérver", "The Server", "🇦🇩🇲🇮🇳", "🅰dmin",
        "οperator",
    ],
)  # fmt: skip
def test_what_is_refused(text: str) -> None:
    """Whatever looks like a part of a line, runs from right to left, covers other lines, is too wide, or sounds like
    the server, in whatever letters."""
    with pytest.raises(Refused) as refused:
        display_name(text)
    assert refused.value.error.value in ("bad-name", "too-long")


@given(st.text(LETTERS | st.sampled_from(" .-\u200d\ufe0f"), min_size=1, max_size=20), st.sampled_from([40, 80]))
@example("👩\u200d👩\u200d👧\u200d👦" * 2, 40)
@example("नमस्ते" * 4, 40)
def test_beside_the_account(text: str, columns: int) -> None:
    """Whatever is taken stands in its place: behind the time, in front of the account, on one row, with nothing that
    runs from right to left and without a sign of its own that could end it."""
    try:
        name = display_name(text)
    except Refused:
        return
    if not name or name.lower() == "ana":
        return
    assert not set("()[]:|*~»#/<>") & set(name)
    assert not {unicodedata.bidirectional(char) for char in name} & {"R", "AL", "AN", "RLE", "RLO", "RLI"}
    entry = Entry(7, MESSAGE, 1, "ana", AT, "hi", display=name)
    shown = TEXT.entries(RoomFacts(1, "books"), (entry,), Form(TEXT, PLAIN, AT.date())).data
    rows = Screen(columns).shows(shown)
    assert rows[0].startswith(f"[books] 10:02 {name} (ana): hi"[:columns]) or len(rows) > 1
    assert display_name(name) == name
