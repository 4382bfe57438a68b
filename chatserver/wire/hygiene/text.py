"""Validation of text from clients: whatever passes is safe to show on a terminal.

Control characters are those in Unicode's class Cc (C0, DEL, C1), and are refused. Characters that change how others are
shown, or that show as nothing, are dropped (`wire/invisible.py`). TAB becomes a blank, and so do Unicode's line and
paragraph separators: some viewers start a new line at them, and the server controls how lines begin.

Lengths are those of the text that is kept, in NFC: no check is made before normalising but the one that makes
normalising cheap (`overloaded`).
"""

import re
from functools import lru_cache
from typing import Final
from unicodedata import category, normalize

from chatserver.values.errors import ErrorWord, Refused
from chatserver.wire.framing.lines import Undecodable
from chatserver.wire.hygiene.display_names import check_display_name
from chatserver.wire.hygiene.invisible import MOST_MARKS, cleared, is_right_to_left, overloaded, unstacked

MAX_MESSAGE = 4096
MAX_LINES = 100
"""Of a message."""
MAX_TOPIC = 500
MAX_REASON = 500
MAX_AWAY = 200
MAX_SEARCH = 200
MAX_LABEL = 64
MAX_REACTION = 32
MAX_DISPLAY = 48
MAX_FIELD = 64
"""For the short strings of programs: an `id`, a `tag`."""
MAX_SECRET = 200
"""For strings that the server issued: tokens, invitation codes, and the position where the next page starts."""
MAX_PASSWORD = 1024

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # and lone surrogates, which UTF-8 cannot encode
_UNSHOWABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BLANKS: Final = str.maketrans("\t\u2028\u2029", "   ")
_COUNTING: Final = frozenset('×⨯✕,，、;|"`<>')
_ENCLOSING: Final = frozenset({"Ps", "Pe", "Pi", "Pf"})  # but for parentheses, as in :)
_MARKS: Final = frozenset({"Mn", "Mc", "Me"})
_USER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_GUEST = re.compile(r"~[0-9]{1,18}")
_ROOM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def clean_line(raw: bytes) -> str:
    """The text of a line as received. Raises Undecodable. For what people type, see `typed.py`."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(raw, error.start) from None
    if text.isascii() and text.isprintable():  # almost always
        return text
    return clean_text(text)


def clean_text(text: str) -> str:
    """The same for a line that is decoded.

    A line in which too many marks stand in a row is not normalised. What becomes of it is up to the function below that
    checks the text in question: it can name the problem in an answer that does not end the connection.
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


def user_name(text: str) -> str:
    """A valid user name, unchanged. Raises Refused."""
    if _USER.fullmatch(text):
        return text
    raise Refused(
        ErrorWord.BAD_NAME,
        "A name is a letter (a-z, A-Z) followed by up to 31 letters, digits, hyphens or underscores.",
    )


def person_name(text: str) -> str:
    """The name of an existing account: a user's, or a guest's, which nobody can register. Raises Refused."""
    return text if _GUEST.fullmatch(text) else user_name(text)


@lru_cache(maxsize=4096)  # every message names its room; refusals are not cached
def room_name(text: str) -> str:
    """The name in lower case; for a direct room, `@` and the person's name unchanged. Raises Refused."""
    if text.startswith("@"):
        if _GUEST.fullmatch(text, 1):
            raise Refused(ErrorWord.NOT_ALLOWED, "Guests have no direct rooms. Write to them in a room that you share.")
        return "@" + user_name(text[1:])
    if _ROOM.fullmatch(text):
        return text.lower()
    raise Refused(
        ErrorWord.BAD_NAME,
        "A room's name has up to 64 letters (a-z), digits, hyphens or underscores, and begins with a letter or digit. "
        "@NAME is your direct room with a person.",
    )


def message_text(text: str) -> str:
    """A message, whose lines \\n separates. White space at its end is removed. Raises Refused."""
    if "\n" in text or "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        kept = "\n".join([_cleaned(line, "text") for line in text.split("\n")]).rstrip()
        lines = kept.count("\n") + 1
        if lines > MAX_LINES:
            raise Refused(ErrorWord.TOO_LONG, f"A message can have at most {MAX_LINES} lines; this one has {lines}.")
    else:
        kept = _cleaned(text, "text").rstrip()
    if not kept:
        raise Refused(ErrorWord.EMPTY, "The message is empty. Nothing was sent.")
    if len(kept) > MAX_MESSAGE:
        raise _too_long("A message", MAX_MESSAGE, kept)
    return kept


def one_line(text: str, field: str) -> str:
    """A short text without line ends, empty only if it was given empty. `field` is its name in a refusal. Raises
    Refused."""
    kept = _cleaned(text, field)
    if len(kept) > MAX_FIELD or (text and not kept):
        raise Refused(
            ErrorWord.BAD_COMMAND,
            f"The field {field} can have at most {MAX_FIELD} characters."
            if kept
            else f"The field {field} has only characters that cannot be used. Choose another one.",
        )
    return kept


def topic_text(text: str) -> str:
    """Raises Refused, as do all functions below."""
    return _limited(text, "text", "A topic", MAX_TOPIC)


def reason_text(text: str) -> str:
    return _limited(text, "reason", "A reason", MAX_REASON)


def away_text(text: str) -> str:
    return _limited(text, "text", "An away text", MAX_AWAY)


def search_text(text: str) -> str:
    kept = _limited(text, "text", "A search", MAX_SEARCH)
    if not kept:
        raise Refused(ErrorWord.EMPTY, "There is nothing to search for. Give at least one word.")
    return kept


def reaction_text(text: str) -> str:
    """One word, such as `+1` or an emoji, that cannot be taken for the count of reactions that a terminal shows, and
    leaves what stands around it in a line of others where and as it is."""
    kept = _limited(text, "reaction", "A reaction", MAX_REACTION)
    if not kept:
        raise Refused(ErrorWord.EMPTY, "A reaction is one word, for example +1.")
    if len(kept.split()) > 1:
        raise Refused(ErrorWord.BAD_COMMAND, "A reaction is one word, for example +1.")
    if any(char in _COUNTING or (category(char) in _ENCLOSING and char not in "()") for char in kept):
        raise Refused(
            ErrorWord.BAD_COMMAND,
            "A reaction has no square brackets, quotation marks or commas, and no times sign (×).",
        )
    if category(kept[0]) in _MARKS:
        raise Refused(ErrorWord.BAD_COMMAND, "A reaction begins with a letter, a sign or an emoji, not with a mark.")
    if is_right_to_left(kept):
        raise Refused(
            ErrorWord.BAD_COMMAND, "A reaction cannot have letters that are written from right to left. Use an emoji."
        )
    return kept


def display_name(text: str) -> str:
    """A display name; "" for none. See `displaynames.py` for what it may have."""
    kept = " ".join(_limited(text, "display", "A display name", MAX_DISPLAY).split())
    if kept:
        check_display_name(kept)
    return kept


def label_text(text: str) -> str:
    kept = _limited(text, "label", "A label", MAX_LABEL)
    if not kept:
        raise Refused(ErrorWord.EMPTY, "A token needs a label that says what it is for.")
    return kept


def secret(text: str, field: str) -> str:
    """A string that the server issued and that a client sends back."""
    return _limited(text, field, f"A {field}", MAX_SECRET)


def password(text: str) -> str:
    """Checks the maximum length only; the minimum is a setting of the server. Raises Refused."""
    if _control_in(text.replace("\t", " ")) is not None:
        raise Refused(ErrorWord.BAD_PASSWORD, "A password cannot contain control characters. Choose another one.")
    kept = _cleaned(text, "password")
    if len(kept) > MAX_PASSWORD:
        raise Refused(
            ErrorWord.BAD_PASSWORD, f"A password can have at most {MAX_PASSWORD} characters. Choose a shorter one."
        )
    return kept


def escaped(text: str) -> str:
    """Text that was not validated, as one line that is safe to show: control characters and what `cleared` would drop
    as `\\uXXXX`, as in JSON."""
    text = _CONTROL.sub(_escape, text)
    return text if text.isascii() else cleared(text, _escape)


def presentable(text: str) -> str:
    """The same for people, in whose dialect `\\n` separates lines: what validation would not let through is replaced or
    dropped. Rows of the database may be older than a rule."""
    if text.isascii():
        return text if text.isprintable() else _UNSHOWABLE.sub("\ufffd", text)
    return unstacked(cleared(_UNSHOWABLE.sub("\ufffd", text)))


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _limited(text: str, field: str, what: str, most: int) -> str:
    kept = _cleaned(text, field).strip()
    if len(kept) > most:
        raise _too_long(what, most, kept)
    return kept


def _too_long(what: str, most: int, kept: str) -> Refused:
    return Refused(ErrorWord.TOO_LONG, f"{what} can have at most {most} characters; this one has {len(kept)}.")


def _cleaned(text: str, field: str) -> str:
    """One line with plain blanks and in NFC. Raises Refused."""
    if text.isascii():
        if text.isprintable():  # almost always
            return text
        text = text.replace("\t", " ")
    else:
        text = cleared(text).translate(_BLANKS)
        if overloaded(text):
            error = ErrorWord.BAD_PASSWORD if field == "password" else ErrorWord.BAD_COMMAND
            raise Refused(error, f"A letter can carry at most {MOST_MARKS} accents and other marks. Remove some.")
        text = normalize("NFC", text)
    control = _control_in(text)
    if control is not None:
        raise Refused(
            ErrorWord.BAD_COMMAND, f"The field {field} contains the control character U+{ord(control):04X}. Remove it."
        )
    return text


def _control_in(text: str) -> str | None:
    found = _CONTROL.search(text)
    return found and found[0]
