"""Line editing where no terminal does it: keys that `nc`, or a telnet client that sends every key as it is, leaves in a
line act as at a shell's prompt.

The cursor is always at the end of the line: keys that would move it, and all others without a meaning here, are
removed. The line stays as private as it looked: a slash that begins a command is never removed with a key.
"""

import re
from collections.abc import Callable
from typing import Final
from unicodedata import category

from chatserver.values.errors import Refused, Why
from chatserver.wire.hygiene.text import clean_text, control_character, not_utf8

_SEQUENCE: Final = (
    r"\[\[[A-E]"  # function keys of the Linux console
    r"|\[[0-?]*(?:\$y?|[@-~])"  # CSI: arrows, Home, bracketed paste, reports; rxvt has some that end with $
    r"|O[0-9;]*[A-DFHMP-SXj-y]"  # SS3: arrows and function keys in their other mode
    r"|\][0-9]+;[^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: reports of a terminal, such as its colours
    r"|[P^_X][^\x07\x1b]*\x1b\\"  # DCS and the like
)
_KEY: Final = re.compile(rf"\x1b+(?:{_SEQUENCE}|[^/\x00-\x1f\x7f]|[\x08\x7f])?|[\x01-\x08\x0a-\x1f\x7f]")
"""A key that is no character: an escape sequence, Alt with a character, a control character."""
_CONTROL: Final = re.compile(r"[\x01-\x08\x0a-\x1f\x7f]")
"""Begins every key. Looking for this is several times as fast."""
_BACKSPACES: Final = frozenset("\x08\x7f")
_KILLS: Final = frozenset("\x03\x15")  # Ctrl-C, Ctrl-U
_WORD_KILLS: Final = frozenset({"\x17", "\x1b\x08", "\x1b\x7f"})  # Ctrl-W, and Alt with Backspace
_SENSELESS: Final = re.compile(r"[\x00\x0d\x80-\x9f]")
"""Control characters that no key sends, or a line end in the middle of a line."""

TORN: Final = "\ud800"
"""Stands for a character of which some bytes are missing. Nothing that was decoded can contain it."""
_ESCAPED: Final = re.compile(
    r"(?P<torn>[\udcc2-\udcdf]"
    r"|\udce0[\udca0-\udcbf]?|[\udce1-\udcec\udcee\udcef][\udc80-\udcbf]?|\udced[\udc80-\udc9f]?"
    r"|\udcf0(?:[\udc90-\udcbf][\udc80-\udcbf]?)?|[\udcf1-\udcf3][\udc80-\udcbf]{0,2}"
    r"|\udcf4(?:[\udc80-\udc8f][\udc80-\udcbf]?)?)|[\udc80-\udcff]"
)
"""Bytes that are not UTF-8, as Python's `surrogateescape` has them: the beginning of a character, or an invalid
byte."""

_JOINER: Final = "\u200d"


def typed_line(raw: bytes) -> tuple[str, bool]:
    """Returns the text of a line as meant, and whether it has keys that edit a line at a shell's prompt.

    Raises Undecodable, and Refused for a line with an incomplete character: some terminals' backspace removes a byte
    and not a character.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = _with_torn(raw)
    if text.isascii() and text.isprintable():  # almost always
        return text, False
    if not _CONTROL.search(text):
        edits = False
    else:
        edits = any(key[0] != "\x03" for key in _KEY.finditer(text))
        found = _SENSELESS.search(text)
        if found is not None:
            raise control_character(found[0])
        text = _edited(text)
    if TORN in text:
        raise Refused(Why.BROKEN_LETTER)
    return clean_text(text), edits


def _with_torn(raw: bytes) -> str:
    """The text of bytes that are not UTF-8, with TORN for each incomplete character. Raises Undecodable for other
    bytes."""
    text = raw.decode(errors="surrogateescape")

    def judged(found: re.Match[str]) -> str:
        if found["torn"] is None:
            raise not_utf8(raw, len(text[: found.start()].encode(errors="surrogateescape")))
        return TORN

    return _ESCAPED.sub(judged, text)


def _edited(text: str) -> str:
    kept: list[str] = []
    at = 0
    for found in _KEY.finditer(text):
        kept += text[at : found.start()]
        at = found.end()
        key = found[0]
        if key in _BACKSPACES:
            _erase(kept)
        elif key in _KILLS:
            kept.clear()
        elif key in _WORD_KILLS:
            _drop_while(kept, str.isspace)
            _drop_while(kept, lambda char: not char.isspace())
    kept += text[at:]
    return "".join(kept)


def _erase(kept: list[str]) -> None:
    """Removes the last character as shown: a letter with its accents."""
    while kept and _is_mark(kept[-1]):
        kept.pop()
    if kept:
        kept.pop()
    while kept and kept[-1] == _JOINER:  # it would join what is typed next to the emoji before
        kept.pop()


def _is_mark(char: str) -> bool:
    """Whether it stands on the character before it: an accent, a variation selector, a skin tone."""
    return not char.isascii() and (category(char) in ("Mn", "Me") or "\U0001f3fb" <= char <= "\U0001f3ff")


def _drop_while(kept: list[str], is_dropped: Callable[[str], bool]) -> None:
    while kept and is_dropped(kept[-1]):
        kept.pop()
