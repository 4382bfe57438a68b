"""The format of frames between nodes: parts as JSON. Knows no connections.

A frame is the array `[VERSION, boot, channel, number, parts]`. `boot` identifies the process that sent it, and `number`
counts its frames on the channel from 1: a number that is missing is a lost frame. Fields are only ever added, at the
end and with a default, and a part of an unknown kind is skipped: nodes of neighbouring versions understand each other.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct

from chatserver.values.events import MESSAGE, Entry, EntryKind, Invited, News, Presence, Quote, ReadMark, RoomFacts

VERSION: Final = 1

MOST_BYTES: Final = 7_900
"""Maximum size of a frame: PostgreSQL carries less than 8,000 bytes in a notification."""
HEADER_BYTES: Final = 128
"""Maximum size of a frame without its parts."""

ALL: Final = ""
"""The channel that every node receives. Any other one is a room's id in decimal."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)

Pair = tuple[tuple[int, str], tuple[int, str]]


class Message(Struct, array_like=True, tag="m", frozen=True, gc=False):
    """A message as it was sent. `at`: in milliseconds since 1970."""

    seq: int
    author_id: int
    author: str
    at: int
    text: str
    client_id: str | None = None
    display: str = ""
    bot: bool = False
    of: int = 0
    quote: Quote | None = None


class Other(Struct, array_like=True, tag="o", frozen=True, gc=False):
    """An entry of any other kind."""

    seq: int
    kind: EntryKind
    author_id: int
    author: str
    at: int
    text: str
    client_id: str | None
    target_id: int
    target: str
    of: int
    display: str
    bot: bool
    reactions: tuple[tuple[str, int], ...] = ()
    quote: Quote | None = None


class Entries(Struct, array_like=True, tag="e", frozen=True, gc=False):
    """Committed entries of a room, in ascending order without a gap. `epoch`: the name of the one that they are of; "":
    unknown."""

    room_id: int
    name: str
    kind: str
    pair: Pair | None
    entries: list[Message | Other]
    epoch: str = ""

    @property
    def facts(self) -> RoomFacts:
        return RoomFacts(self.room_id, self.name, self.kind, self.pair)  # type: ignore[arg-type]


class Head(Struct, array_like=True, tag="h", frozen=True, gc=False):
    """A room's log goes at least up to this entry, which does not fit into a frame or was found in the store."""

    room_id: int
    seq: int


class Heads(Struct, array_like=True, tag="H", frozen=True, gc=False):
    """The heads of rooms, by id, that were sent just before on the channels of these rooms."""

    heads: dict[int, int]


class Changed(Struct, array_like=True, tag="c", frozen=True, gc=False):
    """The table `change` has new rows."""


class Told(Struct, array_like=True, tag="t", frozen=True, gc=False):
    """News for all sessions of an account. They may be lost."""

    account_id: int
    kind: str  # the name of its class
    news: msgspec.Raw


class Typed(Struct, array_like=True, tag="y", frozen=True, gc=False):
    """Somebody types in a room at the node that sends this. It may be lost."""

    room_id: int
    account_id: int
    name: str


class Here(Struct, array_like=True, frozen=True, gc=False):
    """An account at the node that sends this. `online`: it has sessions there that are not quiet. `rooms`: ids of the
    rooms that it is subscribed to; if there are very many, some, and the others follow under the same version.

    `version` grows with each change at this node, of any account. `sessions`: their number there, quiet ones included;
    0: it has left. `screens`: there are terminals of people among them. The away text with the greater `away_at` is the
    newer one. `moving`: the node has sent its clients to others.
    """

    account_id: int
    name: str
    display: str
    online: bool
    away: str = ""
    bot: bool = False
    rooms: tuple[int, ...] = ()
    version: int = 0
    sessions: int = 0
    away_at: int = 0
    screens: bool = False
    moving: bool = False


class People(Struct, array_like=True, tag="p", frozen=True, gc=False):
    """Accounts at this node: those that have changed, or a snapshot of all, in several parts.

    `snapshot`: the version at which the snapshot begins; 0: this is none. `index`: the number of this part, from 0 to
    the `last` one. An account that is in no part, and has no newer version, is not here.
    """

    people: list[Here]
    snapshot: int = 0
    index: int = 0
    last: bool = False


class AskPeople(Struct, array_like=True, tag="?", frozen=True, gc=False):
    """Requests a snapshot of the accounts of one node, or with "" of all."""

    boot: str


class Counts(Struct, array_like=True, tag="n", frozen=True, gc=False):
    """Counts of this node by address or account, since the last time, or with `whole` in all: see `limits.py`."""

    kind: str
    counts: dict[str, tuple[float, ...]]
    whole: bool = False
    first: bool = False  # keys that do not follow from here on have none


class Beat(Struct, array_like=True, tag="b", frozen=True, gc=False):
    """Shows that the bus works, since it comes back to its sender. `sent`: by the sender's reactor."""

    sent: float


class Rewound(Struct, array_like=True, tag="r", frozen=True, gc=False):
    """The database was set back: all nodes start anew."""


class Doubt(Struct, array_like=True, tag="d", frozen=True, gc=False):
    """The outcome of a write of this node is unknown: it may be stored, or be stored later."""


class AskSeen(Struct, array_like=True, tag="a", frozen=True, gc=False):
    """Requests from these processes the read marks of an account that the database may not know yet. `number` marks the
    answers."""

    account_id: int
    number: int
    boots: tuple[str, ...]


class SeenOf(Struct, array_like=True, tag="s", frozen=True, gc=False):
    """The read marks of an account at this node, by room id, each with the stretches behind it. It answers the process
    with this boot, in `parts` parts. `eras`: those of the marks, if they are known."""

    boot: str
    number: int
    rooms: dict[int, tuple[int, tuple[tuple[int, int], ...]]]
    parts: int = 1
    eras: dict[int, int] = {}


Part = (
    Entries | Head | Heads | Changed | Told | Typed | People | AskPeople | Counts | Beat | Rewound | Doubt | AskSeen
    | SeenOf
)  # fmt: skip

NEWS: Final = {kind.__name__: kind for kind in (Presence, Invited, ReadMark)}
"""News that are sent over the bus."""

_encoder: Final = msgspec.json.Encoder()
_frame: Final = msgspec.json.Decoder(tuple[int, str, str, int, list[msgspec.Raw]])
_part: Final = msgspec.json.Decoder(Part)


class Frame(Struct, frozen=True, gc=False):
    boot: str
    channel: str
    number: int
    parts: Sequence[Part]


def encode(part: Part) -> bytes:
    return _encoder.encode(part)


def told(account_id: int, news: News) -> Told:
    return Told(account_id, type(news).__name__, msgspec.Raw(_encoder.encode(news)))


def news(told: Told) -> News | None:
    """The news in a part; None if only a later version knows them."""
    kind: Any = NEWS.get(told.kind)
    return None if kind is None else msgspec.json.decode(told.news, type=kind)


def encode_entries(facts: RoomFacts, entries: Sequence[Entry], epoch: str = "") -> Iterator[bytes]:
    """Packs entries into as few parts as possible. An entry that fits into no frame becomes a `Head`."""
    head = _encoder.encode([Entries.__struct_config__.tag, facts.id, facts.name, facts.kind, facts.pair])[:-1] + b",["
    tail = b'],"%s"]' % epoch.encode()
    most = MOST_BYTES - HEADER_BYTES - len(head) - len(tail)
    pieces: list[bytes] = []
    size = 0
    for entry in entries:
        piece = _encoder.encode(_packed(entry))
        if pieces and size + len(piece) + 1 > most:
            yield head + b",".join(pieces) + tail
            pieces, size = [], 0
        if len(piece) > most:
            yield _encoder.encode(Head(facts.id, entry.seq))
            continue
        pieces.append(piece)
        size += len(piece) + 1
    if pieces:
        yield head + b",".join(pieces) + tail


def _packed(entry: Entry) -> Message | Other:
    at = (entry.at - EPOCH) // MILLISECOND
    if entry.kind == MESSAGE:
        return Message(
            entry.seq, entry.author_id, entry.author, at, entry.text, entry.client_id, entry.display, entry.bot,
            entry.of, entry.quote,
        )  # fmt: skip
    assert entry.kind != "gap", "A gap is no entry."
    return Other(
        entry.seq, entry.kind, entry.author_id, entry.author, at, entry.text, entry.client_id, entry.target_id,
        entry.target, entry.of, entry.display, entry.bot, entry.reactions, entry.quote,
    )  # fmt: skip


def unpacked(packed: Message | Other) -> Entry:
    at = EPOCH + packed.at * MILLISECOND
    if isinstance(packed, Message):
        return Entry(
            packed.seq, MESSAGE, packed.author_id, packed.author, at, packed.text, packed.client_id, of=packed.of,
            display=packed.display, bot=packed.bot, quote=packed.quote,
        )  # fmt: skip
    return Entry(
        packed.seq, packed.kind, packed.author_id, packed.author, at, packed.text, packed.client_id, packed.target_id,
        packed.target, packed.of, display=packed.display, bot=packed.bot, reactions=packed.reactions,
        quote=packed.quote,
    )  # fmt: skip


def framed(boot: str, channel: str, number: int, parts: Sequence[bytes]) -> bytes:
    """A frame of encoded parts."""
    return b'[%d,"%s","%s",%d,[%s]]' % (VERSION, boot.encode(), channel.encode(), number, b",".join(parts))


def packed_into_frames(parts: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Divides parts among as few frames as hold them in this order. Each part must fit into a frame."""
    some: list[bytes] = []
    size = HEADER_BYTES
    for part in parts:
        if some and size + len(part) + 1 > MOST_BYTES:
            yield some
            some, size = [], HEADER_BYTES
        some.append(part)
        size += len(part) + 1
    if some:
        yield some


def sender(data: bytes | str) -> str:
    """The boot of the process that sent a frame; "" if it is no frame. Cheap: nodes receive their own frames, too."""
    text = data[:64].decode("latin-1") if isinstance(data, bytes) else data[:64]
    pieces = text.split('"', 2)
    return pieces[1] if len(pieces) == 3 else ""


def decode(data: bytes | str) -> Frame:
    """Decodes a frame. Raises msgspec.DecodeError if it is none, or one of another major version."""
    version, boot, channel, number, raw = _frame.decode(data)
    if version != VERSION:
        raise msgspec.DecodeError(f"It has version {version}, not {VERSION}.")
    parts = []
    for one in raw:
        try:
            parts.append(_part.decode(one))
        except msgspec.ValidationError:  # of a later version
            continue
    return Frame(boot, channel, number, parts)
