"""`chatctl room export` and `import`: the log of a room as JSON Lines."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from time import sleep
from typing import IO

import click
from msgspec.structs import replace

from chatserver.chatctl.access import Access, Problem, access
from chatserver.chatctl.identity import opened
from chatserver.chatctl.output import PAGE, bars, json_option, output_option, plain, print_json, printing_to, say
from chatserver.chatctl.room import by_id, find_room_info, one_room
from chatserver.store import entries
from chatserver.store.copies import transfer
from chatserver.store.copies.backup import Told
from chatserver.store.copies.transfer import Authors, NameTaken, NoAccount
from chatserver.wire.hygiene.text import room_name
from chatserver.wire.jsonl import exported
from chatserver.wire.jsonl.entries import lines_of
from chatserver.wire.jsonl.exported import EntryRead, Head, WrongLine

STREAM = "-"
LONGEST_LINE = 1 << 20
"""Maximum length of a line in bytes, except the first one, which has the members."""


@click.command("export")
@one_room
@by_id
@output_option
@json_option
@access
def export_room(reach: Access, name: str | None, id: int | None, output: str | None, as_json: bool) -> None:
    """Print the log of a room as JSON Lines.

    First the room and its members, then every entry, messages with their ids. To make a room of it on this or another
    server: chatctl room import
    """
    found = find_room_info(reach, name, id)
    head = {
        "room": plain(found) | reach.read(transfer.extras, found.id),
        "members": reach.read(transfer.inside, found.id),
    }
    with printing_to(output), bars() as progress:
        told = progress(f"Exporting {found.name}", found.entries) if output or not sys.stdout.isatty() else _quiet
        print_json(head)
        seq, more = 0, True
        facts = replace(found.facts, id=0)  # the first line has it; the room that is made of this has another one
        while more:
            page, more = reach.read(entries.after, found.id, seq, PAGE)
            print_json(*[line for entry in page for line in lines_of(facts, [entry], entry.author_id)])
            told(len(page))
            seq = page[-1].seq if page else seq


def _quiet(_rows: int) -> None:
    """The entries themselves are on the terminal."""


@click.command("import")
@click.argument("file", metavar="FILE")
@click.option("--name", metavar="ROOM", help="The name of the new room. Default: the one in the file.")
@click.option(
    "--authors", type=click.Choice(["create", "refuse"]), default="create", show_default=True,
    help="Names that no account has: create accounts that nobody can use, or refuse the file.",
)  # fmt: skip
@click.option("--without-members", is_flag=True, help="Nobody is in the new room.")
@json_option
@access
def import_room(
    reach: Access, file: str, name: str | None, authors: Authors, without_members: bool, as_json: bool
) -> None:
    """Make a new room of an export.

    It has the numbers, times, authors and members of the export, by the names of their accounts. Either the whole file
    is imported or nothing. Servers can keep running; the room is there when the command ends. With - for FILE the
    export comes from standard input.
    """
    shown = "standard input" if file == STREAM else file
    with _opened(file) as lines, bars() as progress:
        work = _Import(reach, lines, authors)
        try:
            called = work.begin(name)
            if lines.seekable():
                work.check(progress("Checking the file", work.head.room.entries))
                lines.seek(0)
                work.begin(name)
            work.create(called)
            work.read(progress(f"Importing {called}", work.head.room.entries))
            work.end(with_members=not without_members)
        except WrongLine as wrong:
            work.undo()
            raise Problem(f"Line {work.number} of {shown}: {wrong}. Nothing was imported.") from None
        except NameTaken:
            work.undo()
            raise Problem("There is a room with this name. Choose another one: --name ROOM") from None
        except BaseException:
            work.undo()
            raise
    text = f"{called} has {work.added:,} entries. Accounts created: {len(work.created)}."
    value = {"room": called, "id": work.room_id, "entries": work.added, "accounts_created": len(work.created)}
    say(text, value, as_json)


class _Import:
    """`number`: of the line that was read last. `created`: the accounts that it created."""

    def __init__(self, reach: Access, lines: IO[bytes], authors: Authors) -> None:
        self._reach = reach
        self._lines = lines
        self._authors = authors
        self._ids: dict[str, int] = {}
        self._bots: set[str] = set()
        self._at = reach.now()
        self.number = 0
        self.head: Head
        self.room_id = 0
        self.added = 0
        self.created: list[int] = []

    def begin(self, name: str | None) -> str:
        """Reads the first line. Returns the name of the new room."""
        self.number = 1
        self.head = exported.head(self._lines.readline())
        room = self.head.room
        if name is None and room.kind == "direct":
            raise WrongLine("this is a direct room, which becomes a private one: give that a name with --name")
        called = room_name(name or room.name)
        if called.startswith("@"):
            raise Problem("A direct room cannot be imported. Choose another name: --name ROOM")
        return called

    def check(self, told: Told) -> None:
        """Reads everything, and finds the accounts: what is wrong with the file is found before anything is added."""
        names: dict[str, int] = {}
        added = 0
        for added, line, one in self._entries():  # noqa: B007
            names.setdefault(one.author, line)
            names.setdefault(one.target, line)
            self._note_kind(one)
            told(1)
        self._check_end(added)
        self._find(names)

    def create(self, name: str) -> None:
        """Creates the room, which nobody sees yet."""
        self._bots |= {one.name for one in self.head.members if one.bot}
        self._find(dict.fromkeys([self.head.room.created_by or "", *(one.name for one in self.head.members)], 1))
        self.room_id = self._reach.write(transfer.open_log, name, self.head, self._at)

    def read(self, told: Told) -> None:
        """Adds all entries."""
        entries = self._entries()
        while step := list(islice(entries, transfer.STEP)):
            names: dict[str, int] = {}
            for _, line, one in step:
                names.setdefault(one.author, line)
                names.setdefault(one.target, line)
                self._note_kind(one)
            self._find(names)
            self._reach.write(transfer.add, self.room_id, [one for *_, one in step], self._ids)
            self.added += len(step)
            told(len(step))
            sleep(transfer.PAUSE_SECONDS)
        self._check_end(self.added)

    def end(self, *, with_members: bool) -> None:
        """Shows the room."""
        at = self._reach.now()
        self._reach.write(transfer.appear, self.room_id, self.head, self._ids, at, with_members=with_members)

    def undo(self) -> None:
        """Removes what was added."""
        if self.room_id or self.created:
            while self._reach.write(transfer.undo, self.room_id, self.created):
                sleep(transfer.PAUSE_SECONDS)

    def _entries(self) -> Iterator[tuple[int, int, EntryRead]]:
        """The entries that follow in the file: the position of each, from 1, its line, and itself. Raises WrongLine."""
        expected, newest, place = self.head.room.first, None, 0
        while line := self._lines.readline(LONGEST_LINE):
            self.number += 1
            if not line.strip():
                continue
            found = exported.entry(line)
            if found.seq != expected:
                raise WrongLine(f"its number is {found.seq}, but {expected} comes next")
            if newest is not None and found.at < newest:
                raise WrongLine("its time is before that of the entry before it")
            expected, newest, place = found.seq + 1, found.at, place + 1
            yield place, self.number, found

    def _check_end(self, added: int) -> None:
        head = self.head
        if added < head.room.entries:
            raise WrongLine(f"the file ends after {added:,} of {head.room.entries:,} entries")
        last = head.room.first + added - 1
        if any(max(one.joined, one.read) > last for one in head.members):
            self.number = 1
            raise WrongLine("a member has joined with or read an entry that is not in the file")

    def _note_kind(self, one: EntryRead) -> None:
        if one.bot:
            self._bots.add(one.author)

    def _find(self, names: dict[str, int]) -> None:
        """Looks up, or creates, the accounts of these names. The numbers are those of the lines that have them."""
        new = [name for name in names if name and name not in self._ids]
        for first in range(0, len(new), transfer.STEP):
            part = new[first : first + transfer.STEP]
            try:
                found = self._reach.write(transfer.accounts_of, part, self._at, self._authors, self._bots)
            except NoAccount as missing:
                self.number = names[missing.name]
                raise
            self._ids |= {name: id for name, (id, _) in found.items()}
            self.created += [id for id, created in found.values() if created]


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file == STREAM:
        yield sys.stdin.buffer
        return
    try:
        with opened(file) as lines:
            yield lines
    except OSError as error:
        raise Problem(f"{file} cannot be read ({error.strerror}). Name an export of a room.") from None
