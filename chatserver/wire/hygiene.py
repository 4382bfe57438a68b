"""Validation of text from clients: whatever passes is safe to show on a terminal.

Control characters are those in Unicode's class Cc (C0, DEL, C1), and are refused. TAB becomes a blank, and so do
Unicode's line and paragraph separators: some viewers start a new line at them, and the server controls how lines begin.
"""

import re
from functools import lru_cache
from unicodedata import normalize

from chatserver.errors import ErrorWord, Refused
from chatserver.wire.lines import Undecodable

MAX_TOPIC = 500
MAX_REASON = 500
MAX_AWAY = 200
MAX_SEARCH = 200
MAX_LABEL = 64
MAX_SECRET = 200
"""For strings that the server issued: tokens, invitation codes, and the position where the next page starts."""
MAX_PASSWORD = 1024

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # and lone surrogates, which UTF-8 cannot encode
_USER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_GUEST = re.compile(r"~[0-9]{1,18}")
_ROOM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def clean_line(raw: bytes) -> str:
    """The text of a line as received. Raises Undecodable."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Undecodable(
            f"This is not UTF-8: byte 0x{raw[error.start]:02X} at position {error.start + 1} of the line."
        ) from None
    text, control = _cleaned(text)
    if control is not None:
        raise Undecodable(f"The line contains the control character 0x{ord(control):02X}. Send only plain text.")
    return text


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
    kept, control = _cleaned(text) if "\n" not in text and "\r" not in text else _cleaned_lines(text)
    if control is not None:
        raise _control_refused("text", control)
    kept = kept.rstrip()
    if not kept:
        raise Refused(ErrorWord.EMPTY, "The message is empty. Nothing was sent.")
    return kept


def one_line(text: str, field: str) -> str:
    """A text without line ends, possibly empty. `field` is its name in a refusal. Raises Refused."""
    kept, control = _cleaned(text)
    if control is not None:
        raise _control_refused(field, control)
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
    kept, control = _cleaned(text)
    if control is not None:
        raise Refused(ErrorWord.BAD_PASSWORD, "A password cannot contain control characters. Choose another one.")
    if len(kept) > MAX_PASSWORD:
        raise Refused(
            ErrorWord.BAD_PASSWORD, f"A password can have at most {MAX_PASSWORD} characters. Choose a shorter one."
        )
    return kept


def escaped(text: str) -> str:
    """Text that was not validated, as one line that is safe to show: control characters as `\\uXXXX`, as in JSON."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _limited(text: str, field: str, what: str, most: int) -> str:
    kept = one_line(text, field).strip()
    if len(kept) > most:
        raise Refused(ErrorWord.TOO_LONG, f"{what} can have at most {most} characters; this one has {len(kept)}.")
    return kept


def _cleaned(text: str) -> tuple[str, str | None]:
    """The text with plain blanks and in NFC, and its first control character, if it has one."""
    if text.isascii():
        if text.isprintable():  # almost always
            return text, None
        text = text.replace("\t", " ")
    else:
        text = normalize("NFC", text.replace("\t", " ").replace("\u2028", " ").replace("\u2029", " "))
    control = _CONTROL.search(text)
    return text, control and control[0]


def _cleaned_lines(text: str) -> tuple[str, str | None]:
    pairs = [_cleaned(line) for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    return "\n".join(line for line, _ in pairs), next((control for _, control in pairs if control is not None), None)


def _control_refused(field: str, control: str) -> Refused:
    return Refused(
        ErrorWord.BAD_COMMAND, f"The field {field} contains the control character U+{ord(control):04X}. Remove it."
    )
