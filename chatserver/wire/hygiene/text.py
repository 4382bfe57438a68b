"""Validation of text from clients: whatever passes is safe to show on a terminal.

Control characters are those in Unicode's class Cc (C0, DEL, C1), and are refused. Characters that change how others are
shown, or that show as nothing, are dropped (`invisible.py`). TAB becomes a blank, and so do Unicode's line and
paragraph separators: some viewers start a new line at them, and the server controls how lines begin.

Lengths are those of the text that is kept, in NFC: no check is made before normalising but the one that makes
normalising cheap (`overloaded`).
"""

import re
from functools import lru_cache
from typing import Final
from unicodedata import category, normalize

from wcwidth import iter_graphemes

from chatserver.values.errors import Note, Refused, Sentence, Why
from chatserver.wire.framing.lines import Undecodable
from chatserver.wire.hygiene.display_names import check_display_name
from chatserver.wire.hygiene.invisible import MOST_MARKS, cleared, is_right_to_left, overloaded, unstacked

MAX_MESSAGE = 4096
MAX_LINES = 100
"""Maximum number of lines of a message."""
MAX_NAME = 32
"""Maximum length of an account's name."""
MAX_ROOM = 64
MAX_TOPIC = 500
MAX_REASON = 500
MAX_AWAY = 200
MAX_SEARCH = 200
MAX_LABEL = 64
MAX_REACTION = 32
MAX_DISPLAY = 48
MAX_FIELD = 64
"""Maximum length of the short strings of programs: an `id`, a `tag`."""
MAX_SECRET = 200
"""Maximum length of strings that the server issued: tokens, invitation codes, and positions of next pages."""
MAX_PASSWORD = 1024

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # and lone surrogates, which UTF-8 cannot encode
_UNSHOWABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BLANKS: Final = str.maketrans("\t\u2028\u2029", "   ")
_COUNTING: Final = frozenset('×⨯✕,，、;|"`<>')
_ENCLOSING: Final = frozenset({"Ps", "Pe", "Pi", "Pf"})  # but for parentheses, as in :)
_MARKS: Final = frozenset({"Mn", "Mc", "Me"})
_USER = re.compile(rf"[A-Za-z][A-Za-z0-9_-]{{0,{MAX_NAME - 1}}}")
_GUEST = re.compile(r"~[0-9]{1,18}")
_ROOM = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_ROOM - 1}}}")


def clean_line(raw: bytes) -> str:
    """The text of a line as received. Raises Undecodable. For typed lines, see `framing/line_editing.py`."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(raw, error.start) from None
    if text.isascii() and text.isprintable():  # almost always
        return text
    return clean_text(text)


def clean_text(text: str) -> str:
    """Cleans a decoded line.

    A line in which too many marks stand in a row is not normalised: the function below that checks the text in question
    names the problem in an answer that does not end the connection.
    """
    text = cleared(text).translate(_BLANKS)
    control = _control_in(text)
    if control is not None:
        raise control_character(control)
    return text if overloaded(text) else normalize("NFC", text)


def not_utf8(raw: bytes, at: int) -> Undecodable:
    return Undecodable(f"This is not UTF-8: byte 0x{raw[at]:02X} at position {at + 1} of the line.")


def control_character(char: str) -> Undecodable:
    return Undecodable(f"The line contains the control character 0x{ord(char):02X}. Send only plain text.")


def beginning(text: str, most: int) -> str:
    """The first characters of a text, at most this many, without the beginning of an emoji or of a letter whose marks
    would be cut off. More than `most` characters that cannot be separated are cut all the same."""
    if len(text) <= most:
        return text
    end = 0
    if not text.isascii():
        for piece in iter_graphemes(text[: most + 1]):
            if end + len(piece) > most:
                break
            end += len(piece)
    return text[: end or most]


def user_name(text: str) -> str:
    """A valid user name, unchanged. Raises Refused."""
    if _USER.fullmatch(text):
        return text
    raise Refused(Why.BAD_USER_NAME)


def person_name(text: str) -> str:
    """The name of an existing account: a user's, or a guest's, which nobody can register. Raises Refused."""
    return text if _GUEST.fullmatch(text) else user_name(text)


def person_prefix(text: str) -> str:
    """The beginning of such a name, in lower case: what a name can begin with is one, but for `~`. Raises Refused."""
    return text if text == "~" else person_name(text).lower()


@lru_cache(maxsize=4096)  # every message names its room; refusals are not cached
def room_name(text: str) -> str:
    """The name in lower case; for a direct room, `@` and the person's name unchanged. Raises Refused."""
    if text.startswith("@"):
        if _GUEST.fullmatch(text, 1):
            raise Refused(Why.DIRECT_TO_GUEST)
        return "@" + user_name(text[1:])
    if _ROOM.fullmatch(text):
        return text.lower()
    raise Refused(Why.BAD_ROOM_NAME)


def message_text(text: str) -> str:
    """A message, whose lines \\n separates. White space at its end is removed. Raises Refused."""
    if "\n" in text or "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        kept = "\n".join([_cleaned(line, "text") for line in text.split("\n")]).rstrip()
        lines = kept.count("\n") + 1
        if lines > MAX_LINES:
            raise Refused(Why.TOO_MANY_LINES, most=MAX_LINES, count=lines)
    else:
        kept = _cleaned(text, "text").rstrip()
    if not kept:
        raise Refused(Why.EMPTY_MESSAGE)
    if len(kept) > MAX_MESSAGE:
        raise _too_long(Note.A_MESSAGE, MAX_MESSAGE, kept)
    return kept


def one_line(text: str, field: str) -> str:
    """A short text without line ends, empty only if it was given empty. `field` is its name in a refusal. Raises
    Refused."""
    kept = _cleaned(text, field)
    if len(kept) > MAX_FIELD or (text and not kept):
        if kept:
            raise Refused(Why.FIELD_TOO_LONG, field=field, most=MAX_FIELD)
        raise Refused(Why.FIELD_UNUSABLE, field=field)
    return kept


def topic_text(text: str) -> str:
    """Raises Refused, as do all functions below."""
    return _limited(text, "text", Note.A_TOPIC, MAX_TOPIC)


def reason_text(text: str) -> str:
    return _limited(text, "reason", Note.A_REASON, MAX_REASON)


def away_text(text: str) -> str:
    return _limited(text, "text", Note.AN_AWAY_TEXT, MAX_AWAY)


def search_text(text: str) -> str:
    kept = _limited(text, "text", Note.A_SEARCH, MAX_SEARCH)
    if not kept:
        raise Refused(Why.NOTHING_TO_SEARCH)
    return kept


def reaction_text(text: str) -> str:
    """One word, such as `+1` or an emoji, that cannot be taken for the count of reactions that a terminal shows, and
    does not change the text around it."""
    kept = _limited(text, "reaction", Note.A_REACTION, MAX_REACTION)
    if not kept:
        raise Refused(Why.NO_REACTION)
    if len(kept.split()) > 1:
        raise Refused(Why.REACTION_ONE_WORD)
    if any(char in _COUNTING or (category(char) in _ENCLOSING and char not in "()") for char in kept):
        raise Refused(Why.REACTION_SIGNS)
    if category(kept[0]) in _MARKS:
        raise Refused(Why.REACTION_BEGINS)
    if is_right_to_left(kept):
        raise Refused(Why.REACTION_RIGHT_TO_LEFT)
    return kept


def display_name(text: str) -> str:
    """A display name; "" for none. See `display_names.py` for the rules."""
    kept = " ".join(_limited(text, "display", Note.A_DISPLAY_NAME, MAX_DISPLAY).split())
    if kept:
        check_display_name(kept)
    return kept


def label_text(text: str) -> str:
    kept = _limited(text, "label", Note.A_LABEL, MAX_LABEL)
    if not kept:
        raise Refused(Why.NO_TOKEN_LABEL)
    return kept


def device_name(text: str) -> str:
    kept = _limited(text, "keep", Note.A_DEVICE_NAME, MAX_LABEL)
    if not kept:
        raise Refused(Why.NO_DEVICE_NAME)
    return kept


def secret(text: str, field: str) -> str:
    """A string that the server issued and that a client sends back."""
    return _limited(text, field, Sentence(Note.A_FIELD, field=field), MAX_SECRET)


def password(text: str) -> str:
    """Checks the maximum length only; the minimum is a setting of the server. Raises Refused."""
    if _control_in(text.replace("\t", " ")) is not None:
        raise Refused(Why.PASSWORD_CONTROLS)
    kept = _cleaned(text, "password")
    if len(kept) > MAX_PASSWORD:
        raise Refused(Why.PASSWORD_TOO_LONG, most=MAX_PASSWORD)
    return kept


def escaped(text: str) -> str:
    """Text that was not validated, as one line that is safe to show: control characters and what `cleared` would drop
    as `\\uXXXX`, as in JSON."""
    text = _CONTROL.sub(_escape, text)
    return text if text.isascii() else cleared(text, _escape)


def presentable(text: str) -> str:
    """Text for people, in whose dialect `\\n` separates lines: invalid characters are replaced or dropped. Rows of the
    database may be older than a rule."""
    if text.isascii():
        return text if text.isprintable() else _UNSHOWABLE.sub("\ufffd", text)
    return unstacked(cleared(_UNSHOWABLE.sub("\ufffd", text)))


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _limited(text: str, field: str, what: Note | Sentence, most: int) -> str:
    kept = _cleaned(text, field).strip()
    if len(kept) > most:
        raise _too_long(what, most, kept)
    return kept


def _too_long(what: Note | Sentence, most: int, kept: str) -> Refused:
    return Refused(Why.TOO_LONG, what=what, most=most, count=len(kept))


def _cleaned(text: str, field: str) -> str:
    """One line with plain blanks and in NFC. Raises Refused."""
    if text.isascii():
        if text.isprintable():  # almost always
            return text
        text = text.replace("\t", " ")
    else:
        text = cleared(text).translate(_BLANKS)
        if overloaded(text):
            raise Refused(Why.PASSWORD_MARKS if field == "password" else Why.TOO_MANY_MARKS, most=MOST_MARKS)
        text = normalize("NFC", text)
    control = _control_in(text)
    if control is not None:
        raise Refused(Why.FIELD_HAS_CONTROL, field=field, code=f"{ord(control):04X}")
    return text


def _control_in(text: str) -> str | None:
    found = _CONTROL.search(text)
    return found and found[0]
