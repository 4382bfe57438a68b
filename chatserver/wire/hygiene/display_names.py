"""Display names: what people want to be called, in any script, shown in front of the name of their account.

`José Müller (jose): hello`. The account stands beside it wherever the two differ, so that nobody takes somebody for
another one; what is refused here is whatever could pass for a part of the line around it.

- It begins with a letter, a digit or an emoji, so that it looks like no line of the server (`-- ana left`), and no mark
  sits on what stands before it.
- It has no brackets, colons, slashes, nor anything else but letters, digits, marks, blanks, emoji and SIGNS. Letters
  that look like a colon, a full stop or a bar are not taken either.
- It has no letters of scripts that run from right to left. Terminals and browsers differ in what they do with the time,
  the numbers and the punctuation around them, and a room or a message may begin with digits only.
- It is no name of the server or its staff, whatever letters it is written in, and does not begin with one.
"""

import re
from collections.abc import Iterable
from typing import Final
from unicodedata import category

from wcwidth import wcswidth

from chatserver.values.errors import Refused, Why
from chatserver.wire.hygiene.invisible import is_right_to_left
from chatserver.wire.hygiene.latin import latin
from chatserver.wire.hygiene.lookalikes import is_reserved, sounds_official

MOST_CELLS: Final = 32
"""Maximum width: that of the longest name of an account."""

MOST_MARKS: Final = 3
"""Maximum number of marks on one letter, besides those that are a part of it: more cover the lines above and below."""

SIGNS: Final = " .'’-·"

_LETTERS: Final = frozenset({"Lu", "Ll", "Lt", "Lo", "Lm"})
_BODY: Final = _LETTERS | {"Mn", "Mc", "Nd"}
# The clicks of Khoisan languages, and modifiers and tone letters in the shape of punctuation.
_NO_LETTERS: Final = frozenset("ǀǁǂǃːˑˈˌˊˋˍˎˏ˂˃˄˅ˆ〱〲〳〴〵ꓸꓹꓺꓻꓼꓽ")

_EMOJI: Final = re.compile(
    "(?:[\U0001f1e6-\U0001f1ff]{2}"  # flags
    "|[\u231a\u231b\u23e9-\u23f3\u2600-\u2767\u2795-\u27bf\u2b50\u2b55\U0001f000-\U0001f0ff\U0001f300-\U0001faff]"
    "[\ufe0e\ufe0f]?[\U0001f3fb-\U0001f3ff]?\u200d?)+"
)


def check_display_name(text: str) -> None:
    """Raises Refused(bad-name). The text is in NFC, without control and invisible characters, and with single
    blanks."""
    rest = _EMOJI.sub("\ufffc", text)
    marks = 0
    for char in rest:
        marks = marks + 1 if category(char) == "Mn" else 0
        if marks > MOST_MARKS:
            raise Refused(Why.DISPLAY_NAME_MARKS, most=MOST_MARKS)
        if is_right_to_left(char):
            raise Refused(Why.DISPLAY_NAME_RIGHT_TO_LEFT)
        if char != "\ufffc" and ((category(char) not in _BODY and char not in SIGNS) or char in _NO_LETTERS):
            raise Refused(Why.DISPLAY_NAME_SIGNS)
    if category(rest[0]) not in _LETTERS | {"Nd"} and rest[0] != "\ufffc":
        raise Refused(Why.DISPLAY_NAME_BEGINS)
    if not any(char == "\ufffc" or category(char) in _LETTERS for char in rest):
        raise Refused(Why.DISPLAY_NAME_WITHOUT_LETTER)
    if not 0 < wcswidth(text) <= MOST_CELLS:
        raise Refused(Why.DISPLAY_NAME_TOO_WIDE, most=MOST_CELLS)
    check_words(text)


def check_words(text: str, more: Iterable[str] = ()) -> None:
    """Raises Refused(bad-name) for a display name that sounds like the server or its staff; `more`: reserved names
    besides the built-in ones."""
    flags = "".join(chr(ord(char) - 0x1F1E6 + 97) if "\U0001f1e6" <= char <= "\U0001f1ff" else char for char in text)
    words = [latin(word) for word in re.split(rf"[{re.escape(SIGNS)}]", flags)]
    if is_reserved(latin(flags), more) or sounds_official(words, more, leading=True):
        raise Refused(Why.DISPLAY_NAME_RESERVED)
