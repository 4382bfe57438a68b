"""A database with something in every table, also what is hard to carry over."""

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, insert, update

from chatserver.store import accounts, entries, erasure, messages, pins, reactions, rooms, search
from chatserver.store.db import epochs
from chatserver.store.db.schema import (
    AccountRow,
    BanRow,
    BlockRow,
    CertificateRow,
    ChangeRow,
    ErasureRow,
    FormerNameRow,
    IgnoreRow,
    InvitationRow,
    NodeRow,
    PreferenceRow,
    RoomRow,
    SessionRow,
    TokenRow,
    UnscannedRow,
)
from chatserver.store.messages import Draft
from chatserver.store.visibility import RoomAccess, find_room
from chatserver.values.events import OPERATOR, PERSON, PRIVATE, PUBLIC, AccountKind, Person

AT: Final = datetime(2026, 3, 2, 10, 2, 0, 123000, tzinfo=UTC)

PLANES: Final = "".join(chr(code) for code in range(1, 0x110000, 97) if not 0xD800 <= code < 0xE000)
HOSTILE: Final = (
    "",
    "\\N",
    "\\.",
    "a\tb\nc\rd\\te \\\\ 'f' \"g\" %s :h ?",
    "\x01\x1b]0;x\x07\x7f\x80\x85\u2028\u202e\ufeff\ufffe\U0010ffff",
    "e\u0301 ﷺ 👩‍👩‍👧 \u0645\u0631\u062d\u0628\u0627 नमस्ते 漢字",
    PLANES,
    "long " * 1600,
)


def fill(db: Connection) -> None:
    """Fills an empty, migrated database. Everything in it is as servers leave it, open sessions included."""
    search.tune(db)
    kinds: dict[str, AccountKind] = {"ana": PERSON, "Bob_1": PERSON, "op": OPERATOR, "gone": PERSON}
    people = [
        Person(accounts.create(db, name, f"$hash$\\{name}", AT, kind), name, kind) for name, kind in kinds.items()
    ]
    ana, bob, op, gone = people
    guest = accounts.create_guest(db, AT)
    rooms.ensure(db, ["general", "empty"], AT)
    for who in (*people, guest):
        rooms.enter_default(db, who, ["general"], AT)
    rooms.create(db, ana, "books", PRIVATE, HOSTILE[4], AT)
    rooms.create(db, bob, "old", PUBLIC, "", AT)
    rooms.delete(db, bob, find_room(db, bob, "old", lock=True), AT)
    rooms.create(db, bob, "old", PUBLIC, "again", AT)
    general, books = find_room(db, ana, "general"), find_room(db, ana, "books")
    direct = rooms.open_direct(db, ana, find_room(db, ana, "@Bob_1"), AT)
    say(db, general, *[(ana, text, f"id-{n}") for n, text in enumerate(HOSTILE)])
    say(db, general, (bob, "one", None), (bob, "two words", None), (guest, "hello", None), (gone, "secret word", "s"))
    say(db, RoomAccess(direct), (ana, "only you", "d1"), (bob, "déjà vu", None))
    say(db, books, (ana, "private words", None))
    messages.edit(db, bob, find_room(db, bob, "general", lock=True), 15, "two other words", AT)
    messages.erase(db, bob, find_room(db, bob, "general", lock=True), 14, AT)
    rooms.set_topic(db, ana, find_room(db, ana, "general", lock=True), HOSTILE[5], AT)
    rooms.configure(db, ana, find_room(db, ana, "books", lock=True), "open", "moderators", 30, AT)
    entries.append_event(db, books.facts.id, "muted", ana, AT, "2030-01-01T00:00:00.000Z", target=bob)
    entries.append_event(db, books.facts.id, "kicked", ana, AT, HOSTILE[3], target=bob)
    rooms.leave(db, bob, "general", AT + timedelta(microseconds=1000))
    erasure.erase(db, gone, AT, messages=True)
    while (places := erasure.places(db, gone.id)) is not None:
        erasure.step(db, gone.id, places, AT)
    answer(db, ana, bob, direct.id)
    rest(db, ana, bob, op, books.facts.id)


def answer(db: Connection, ana: Person, bob: Person, room_id: int) -> None:
    """A reply, reactions and pins in the direct room of two people."""
    direct = find_room(db, ana, "@Bob_1", lock=True)
    [reply] = messages.append(db, [Draft(room_id, bob.id, "to that", "r1", 1)], AT)
    for who, seq, word in ((ana, 2, "+1"), (bob, 2, "+1"), (bob, 2, HOSTILE[5][:9]), (ana, 1, "-1")):
        [message] = entries.before(db, room_id, seq + 1, seq, 1)[0]
        assert reactions.add(db, who, direct, message, word, AT) is not None
    [message] = entries.before(db, room_id, 2, 1, 1)[0]
    assert reactions.take_back(db, ana, direct, message, "-1", AT) is not None
    for seq in (1, reply.seq):
        pins.pin(db, ana, direct, seq, AT)
    pins.unpin(db, bob, direct, 1, AT)


def rest(db: Connection, ana: Person, bob: Person, op: Person, room_id: int) -> None:
    """The rows that people leave without saying anything."""
    session = {"node": "main", "address": "::1", "connected_at": AT}
    token = {"label": HOSTILE[3][:20], "created_at": AT}
    for table, values in (
        (SessionRow, {"id": "0a" * 16, "account_id": ana.id, **session}),
        (SessionRow, {"id": "f0" * 16, "account_id": bob.id, **session, "disconnected_at": AT, "reason": HOSTILE[3]}),
        (TokenRow, {"account_id": ana.id, "sha256": "a" * 64, **token, "room_id": room_id, "read_only": True}),
        (TokenRow, {"account_id": bob.id, "sha256": "b" * 64, **token, "expires_at": AT}),
        (CertificateRow, {"account_id": ana.id, "label": "é", "sha256": "c" * 64, "created_at": AT}),
        (InvitationRow, {"account_id": bob.id, "room_id": room_id, "invited_by": ana.id, "at": AT}),
        (BlockRow, {"account_id": ana.id, "blocked_id": bob.id, "at": AT}),
        (IgnoreRow, {"account_id": bob.id, "ignored_id": ana.id, "at": AT}),
        (PreferenceRow, {"account_id": ana.id, "name": "timezone", "value": "Europe/Berlin"}),
        (FormerNameRow, {"account_id": ana.id, "name": "Anita", "name_key": "anita", "display_name": "é", "until": AT}),
        (BanRow, {"account_id": bob.id, "room_id": room_id, "reason": HOSTILE[1], "by": op.id, "at": AT}),
        (BanRow, {"network": "192.0.2.0/24", "until": AT, "at": AT}),
        (ErasureRow, {"account_id": op.id, "messages": False}),
        (UnscannedRow, {"room_id": room_id, "first_seq": 1, "last_seq": 2}),
        (ChangeRow, {"kind": "room", "subject": room_id, "at": AT}),
        (NodeRow, {"name": "main", "boot": "", "host": "h", "machine": "m", "pid": 1, "started": 1, "beat": 7,
                   "acquired_at": AT, "heartbeat_at": AT}),
    ):  # fmt: skip
        db.execute(insert(table).values(values))
    epochs.begin(db)
    db.execute(update(AccountRow).where(AccountRow.id == bob.id).values(commands_per_second=0.1, connections=3))
    db.execute(update(RoomRow).where(RoomRow.id == room_id).values(keep_days=30, keep_entries=2**40))


def say(db: Connection, access: RoomAccess, *said: tuple[Person, str, str | None]) -> None:
    """Stores messages as a server does, in this transaction."""
    drafts = [Draft(access.facts.id, who.id, text, id) for who, text, id in said]
    assert {one.outcome for one in messages.append(db, drafts, AT)} == {"stored"}
