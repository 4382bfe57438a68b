"""The one gate for hostile text: what has passed here can be shown on a terminal.

Control characters are those of Unicode's class Cc (C0, DEL, C1). TAB counts as a blank, and so do the two characters
that Unicode calls line and paragraph separator: they begin a line in some viewers, and the server owns that place.
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
"""Of what the server made and gives out: tokens, codes, where a page goes on."""
MAX_PASSWORD = 1024

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # lone surrogates too: no bytes stand for them
_USER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_GUEST = re.compile(r"~[0-9]{1,18}")
_ROOM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def clean_line(raw: bytes) -> str:
    """Text of a line as it came from the network. Raises Undecodable."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Undecodable(
            f"This is not UTF-8: byte 0x{raw[error.start]:02X} at position {error.start + 1} of the line."
        ) from None
    text, control = _cleaned(text)
    if control is not None:
        raise Undecodable(f"A line has the control character 0x{ord(control):02X}. Only plain text is understood.")
    return text


def user_name(text: str) -> str:
    """As typed. Raises Refused."""
    if _USER.fullmatch(text):
        return text
    raise Refused(
        ErrorWord.BAD_NAME,
        "A name is a letter a-z or A-Z, and then up to 31 letters, digits 0-9, hyphens or underscores.",
    )


def person_name(text: str) -> str:
    """Somebody who is there already: a user's name, or a guest's, which nobody can register. Raises Refused."""
    return text if _GUEST.fullmatch(text) else user_name(text)


@lru_cache(maxsize=4096)  # for the room of every message; what is refused is not kept
def room_name(text: str) -> str:
    """Lower case, or for a direct room `@` and the name as typed. Raises Refused."""
    if text.startswith("@"):
        if _GUEST.fullmatch(text, 1):
            raise Refused(ErrorWord.NOT_ALLOWED, "Guests have no direct conversations. Say it in a room you share.")
        return "@" + user_name(text[1:])
    if _ROOM.fullmatch(text):
        return text.lower()
    raise Refused(
        ErrorWord.BAD_NAME,
        "A room's name is up to 64 letters a-z, digits, hyphens or underscores, none of the latter first. "
        "@NAME is the room with a person.",
    )


def message_text(text: str) -> str:
    """What is said; it may have several lines, with \\n between. White space at its end is dropped. Raises Refused."""
    kept, control = _cleaned(text) if "\n" not in text and "\r" not in text else _cleaned_lines(text)
    if control is not None:
        raise _control_refused("text", control)
    kept = kept.rstrip()
    if not kept:
        raise Refused(ErrorWord.EMPTY, "There is nothing in this message. Nothing was sent.")
    return kept


def one_line(text: str, field: str) -> str:
    """A text without line ends, maybe empty. `field` is what the refusal calls it. Raises Refused."""
    kept, control = _cleaned(text)
    if control is not None:
        raise _control_refused(field, control)
    return kept


def topic_text(text: str) -> str:
    """Raises Refused, as all below."""
    return _limited(text, "text", "A topic", MAX_TOPIC)


def reason_text(text: str) -> str:
    return _limited(text, "reason", "A reason", MAX_REASON)


def away_text(text: str) -> str:
    return _limited(text, "text", "An away text", MAX_AWAY)


def search_text(text: str) -> str:
    kept = _limited(text, "text", "A search", MAX_SEARCH)
    if not kept:
        raise Refused(ErrorWord.EMPTY, "There is no word to search for.")
    return kept


def label_text(text: str) -> str:
    kept = _limited(text, "label", "A label", MAX_LABEL)
    if not kept:
        raise Refused(ErrorWord.EMPTY, "A token has a label, which tells what it is for.")
    return kept


def secret(text: str, field: str) -> str:
    """What the server gave out itself, and should come back as it was."""
    return _limited(text, field, f"A {field}", MAX_SECRET)


def password(text: str) -> str:
    """Its greatest length is checked here, the least is a setting of the server. Raises Refused."""
    kept, control = _cleaned(text)
    if control is not None:
        raise Refused(ErrorWord.BAD_PASSWORD, "A password has no control characters.")
    if len(kept) > MAX_PASSWORD:
        raise Refused(ErrorWord.BAD_PASSWORD, f"A password has {MAX_PASSWORD} characters at most.")
    return kept


def escaped(text: str) -> str:
    """What did not come through here, in one line that can be shown: control characters as `\\uXXXX`, as in JSON."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _limited(text: str, field: str, what: str, most: int) -> str:
    kept = one_line(text, field).strip()
    if len(kept) > most:
        raise Refused(ErrorWord.TOO_LONG, f"{what} has {most} characters at most; this one has {len(kept)}.")
    return kept


def _cleaned(text: str) -> tuple[str, str | None]:
    """The text with plain blanks and in NFC, and its first control character, if any."""
    if text.isascii():
        if text.isprintable():  # nearly always
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
    return Refused(ErrorWord.BAD_COMMAND, f"The field {field} has the control character U+{ord(control):04X}.")
