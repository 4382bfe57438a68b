"""RESP 2, the protocol of Valkey: commands to bytes and bytes to replies, with no sockets anywhere."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

MOST_BYTES: Final = 1 << 20
"""No reply is larger: whatever says so is no Valkey."""


class Failed(Struct, frozen=True):
    """A command was refused: `text` begins with a word in capitals, such as WRONGPASS."""

    text: str

    @property
    def code(self) -> str:
        return self.text.partition(" ")[0]


Reply = bytes | int | None | Failed | list[Any]
"""A list holds replies."""


class NotResp(Exception):
    """What came is no reply. Nothing after it can be understood."""


class _Incomplete(Exception):
    pass


def command(*words: bytes) -> bytes:
    pieces = [b"*%d\r\n" % len(words)]
    for word in words:
        pieces.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(pieces)


class Replies:
    """Bytes as they come, in whatever pieces."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> Sequence[Reply]:
        """The replies that are complete by now. Raises NotResp."""
        data = self._data + data if self._data else data
        found: list[Reply] = []
        at = 0
        try:
            while at < len(data):
                reply, at = _read(data, at)
                found.append(reply)
        except _Incomplete:
            if len(data) - at > MOST_BYTES:
                raise NotResp("It sent more than any reply has.") from None
        except (ValueError, RecursionError):
            raise NotResp("It sent no reply of Valkey.") from None
        self._data = data[at:]
        return found


def _read(data: bytes, at: int) -> tuple[Reply, int]:
    """The reply that begins there, and where the next one does. Raises _Incomplete, ValueError."""
    end = data.find(b"\r\n", at)
    if end < 0:
        raise _Incomplete
    kind, line, at = data[at : at + 1], data[at + 1 : end], end + 2
    if kind == b"*":
        items: list[Reply] = []
        for _ in range(int(line)):
            item, at = _read(data, at)
            items.append(item)
        return items, at
    if kind == b"$":
        size = int(line)
        if size < 0:
            return None, at
        end = at + size
        if len(data) < end + 2:
            raise _Incomplete
        return data[at:end], end + 2
    if kind == b":":
        return int(line), at
    if kind == b"+":
        return line, at
    if kind == b"-":
        return Failed(line.decode(errors="replace")), at
    raise ValueError
