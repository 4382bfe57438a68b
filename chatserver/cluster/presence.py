"""Who is at which node: each node tells the others of its accounts, and what they tell goes to the roster and to
presence.

What has changed about accounts is told soon; all accounts of a node are told, as a snapshot, to whoever asks for them:
a node that sees another one for the first time, whose bus connected anew, or that misses a frame. Frames may be lost,
doubled and reordered, therefore each says of an account all that there is to say, under a version that only grows.

The away text of an account that has sessions at several nodes is kept by each of them, under a number that is greater
than all that its node knew: the greatest one is the newest.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec
from msgspec import Struct
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatserver.cluster import frames
from chatserver.cluster.frames import AskPeople, Here
from chatserver.cluster.outgoing import Outgoing
from chatserver.presence.roster import Remote, Roster
from chatserver.presence.telling import Presence

PACE_SECONDS: Final = 0.02
"""Between two times of telling what has changed: of what changes often the latest state is told."""
SLICE: Final = 100
"""Accounts that are looked at in one turn of the reactor: about a millisecond."""
TURN_SECONDS: Final = 0.003
"""Longer than that, no turn takes over what was told: of each account that goes, those near it are looked up."""
ASK_SECONDS: Final = 0.5
"""A node is asked for a snapshot again if none has come for so long."""
SETTLE_SECONDS: Final = 2.0
"""Whom others have in their first snapshot so soon after this node's start was there before: that is no news."""
GONE_SECONDS: Final = 60.0
"""For so long it is remembered who went, for frames that come late."""
STORED_SECONDS: Final = 2.0
"""By then it is stored what the terminals of somebody who went have shown."""
MOST_ROOMS: Final = 300
"""Of an account in one part: their ids take up to 6,000 bytes."""
MOST_BYTES: Final = frames.MOST_BYTES - frames.HEADER_BYTES - 64
"""Of the accounts in one part."""

Text = tuple[int, str]
"""An away text, under its number."""
NO_TEXT: Final[Text] = (0, "")


class Known(Struct):
    """An account at another node. `snapshot`: the last one in which it was."""

    here: Here
    rooms: set[int]
    snapshot: int = 0


class Gone(Struct, frozen=True, gc=False):
    """An account that is not there any more since `at`. What is said of it up to `version` is old."""

    version: int
    at: float
    screens: bool


class Node:
    """What another process has told. `gone`: accounts that went, those that did so lately come last. `wanted`: a
    snapshot newer than `least` is. `silent`: it was there before this node."""

    __slots__ = ("accounts", "asked_at", "gone", "least", "parts", "silent", "snapshot", "total", "wanted")

    def __init__(self, *, silent: bool) -> None:
        self.accounts: dict[int, Known] = {}
        self.gone: dict[int, Gone] = {}
        self.silent = silent
        self.wanted = True
        self.least = 0
        self.asked_at = float("-inf")  # or when a part of a snapshot came
        self.snapshot = 0  # the newest one of which something has come
        self.parts: set[int] = set()
        self.total = 0  # how many parts it has; 0: not known yet


class People:
    """`tell` and `hear` are done in slices: there may be very many people."""

    log = Logger()

    def __init__(self, clock: IReactorTime, outgoing: Outgoing, roster: Roster, presence: Presence) -> None:
        self._clock = clock
        self._outgoing = outgoing
        self._roster = roster
        self._presence = presence
        self._nodes: dict[str, Node] = {}  # by boot
        self._silent_until = 0.0
        self._texts: dict[int, Text] = {}  # by account, the newest one: the roster has it
        self._left: dict[int, Text] = {}  # likewise, what they have said at a node where they are not any more
        # What this node tells
        self._version = 0
        self._versions: dict[int, int] = {}  # by account, under which version the others were told
        self._dirty: dict[int, None] = {}
        self._told_at = float("-inf")
        self._telling: IDelayedCall | None = None
        self._snapshots: IDelayedCall | None = None
        self._again = False  # another one is asked for
        # What it hears
        # Accounts whose state is to be taken over: whether that is news, and whether their clients are moving.
        self._due: dict[int, tuple[bool, bool]] = {}
        self._hearing: IDelayedCall | None = None
        self._asking: IDelayedCall | None = None

    def start(self) -> None:
        self._silent_until = self._clock.seconds() + SETTLE_SECONDS

    def stop(self) -> None:
        """Tells what is left to tell, and hears nothing more."""
        while self._dirty:
            self._tell()
        for call in (self._telling, self._snapshots, self._hearing, self._asking):
            if call is not None and call.active():
                call.cancel()
        self._telling = self._snapshots = self._hearing = self._asking = None

    def restarted(self) -> None:
        """This process serves anew, as another one."""
        self._silent_until = self._clock.seconds() + SETTLE_SECONDS

    # What this node tells

    def changed(self, account_id: int) -> None:
        """Its sessions, names, rooms or away text have changed here."""
        self._note_text(account_id)
        self._retell(account_id)

    def _retell(self, account_id: int) -> None:
        if self._outgoing.open:
            self._dirty[account_id] = None
            if self._telling is None:
                wait = self._told_at + PACE_SECONDS - self._clock.seconds()
                self._telling = self._clock.callLater(max(wait, 0), self._tell)
        else:
            self._versions.pop(account_id, None)  # what another node may have heard before is old

    def _tell(self) -> None:
        if self._telling is not None and self._telling.active():
            self._telling.cancel()
        self._telling = None
        self._told_at = self._clock.seconds()
        some = list(islice(self._dirty, SLICE))
        for account_id in some:
            del self._dirty[account_id]
        for people in _packed(self._heres(some, gone=True)):
            self._outgoing.part(frames.People(people))
        if self._dirty:
            self._telling = self._clock.callLater(0, self._tell)

    def _heres(self, account_ids: list[int], *, gone: bool, new: bool = True) -> Iterator[Here]:
        """What there is to say of accounts, under a `new` version or the known one. `gone`: also of those that are not
        here any more."""
        for account_id in account_ids:
            if not gone and not self._roster.sessions(account_id):
                continue
            version = self._versions.get(account_id)
            if version is None or new or account_id in self._dirty:
                self._dirty.pop(account_id, None)
                version = self._versions[account_id] = self._next_version()
            yield from self._here(account_id, version)

    def _next_version(self) -> int:
        self._version += 1
        return self._version

    def _here(self, account_id: int, version: int) -> Iterator[Here]:
        sessions = self._roster.sessions(account_id)
        if not sessions:
            # An account that stays elsewhere keeps what it has said here last.
            at, text = self._texts.get(account_id, NO_TEXT)
            self._versions.pop(account_id, None)
            yield Here(
                account_id, "", "", False, text, version=version, away_at=at, moving=self._roster.nodes.now.moving
            )  # fmt: skip
            return
        heard = [session for session in sessions if not session.quiet]
        rooms = sorted({room.facts.id for session in heard for room in session.rooms.values()})
        name, display, bot = self._roster.called(account_id)
        at, text = self._texts.get(account_id, NO_TEXT)
        for start in range(0, len(rooms) or 1, MOST_ROOMS):
            some = tuple(rooms[start : start + MOST_ROOMS])
            yield Here(
                account_id, name, display, bool(heard), text, bot, some, version, len(sessions), at,
                any(session.view is not None for session in heard),
            )  # fmt: skip

    # Snapshots

    def asked(self) -> None:
        """Another node asks for all accounts."""
        if self._snapshots is None:
            self._snapshots = self._clock.callLater(0, self._snap, self._next_version(), None, 0)
        else:
            self._again = True

    def _snap(self, snapshot: int, left: list[int] | None, index: int) -> None:
        """Tells the next slice of a snapshot."""
        self._snapshots = None
        if left is None:
            self._again = False
            left = self._roster.account_ids()
        some, left = left[:SLICE], left[SLICE:]
        parts = list(_packed(self._heres(some, gone=False, new=False)))
        if not parts and not left:
            parts = [[]]
        for number, people in enumerate(parts, 1):
            last = not left and number == len(parts)
            self._outgoing.part(frames.People(people, snapshot, index, last))
            index += 1
        if left:
            self._snapshots = self._clock.callLater(0, self._snap, snapshot, left, index)
        elif self._again:
            self._snapshots = self._clock.callLater(ASK_SECONDS / 2, self._snap_again)

    def _snap_again(self) -> None:
        self._snap(self._next_version(), None, 0)

    # Which nodes there are, and what is missing of them

    def peers(self, boots: set[str]) -> None:
        """These other processes are alive. What others have said is forgotten."""
        silent = self._clock.seconds() < self._silent_until
        for boot in self._nodes.keys() - boots:
            for account_id in self._nodes.pop(boot).accounts:
                self._touch(account_id, told=True, moving=True)
        for boot in boots - self._nodes.keys():
            self._nodes[boot] = Node(silent=silent)
        self._hear_soon()
        self._ask()

    def want(self, boot: str) -> None:
        """Something that this process told may be missing; "": something that any of them told."""
        for known, node in self._nodes.items():
            if boot in ("", known):
                node.wanted = True
                node.least = node.snapshot
        self._ask()

    def _ask(self) -> None:
        """Asks for the snapshots that are wanted and do not come, now and then."""
        now = self._clock.seconds()
        for boot, node in self._nodes.items():
            if node.wanted and now - node.asked_at >= ASK_SECONDS:
                node.asked_at = now
                self._outgoing.part(AskPeople(boot))
        if self._asking is None and any(node.wanted for node in self._nodes.values()):
            self._asking = self._clock.callLater(ASK_SECONDS, self._ask_again)

    def _ask_again(self) -> None:
        self._asking = None
        self._ask()

    # What others tell

    def heard(self, boot: str, part: frames.People) -> None:
        """Another process says this."""
        node = self._nodes.get(boot)
        if node is None:  # it is asked again once it is known to be alive
            return
        now = self._clock.seconds()
        for here in part.people:
            self._take(node, here, part.snapshot, now)
        while node.gone and next(iter(node.gone.values())).at < now - GONE_SECONDS:
            del node.gone[next(iter(node.gone))]
        if part.snapshot >= node.snapshot and part.snapshot:
            self._take_snapshot(node, part, now)
        self._hear_soon()

    def _take(self, node: Node, here: Here, snapshot: int, now: float) -> None:
        account_id = here.account_id
        known = node.accounts.get(account_id)
        gone = node.gone.get(account_id)
        if (known is not None and here.version < known.here.version) or (gone and here.version <= gone.version):
            return
        if known is not None and known.here.version == here.version:
            known.snapshot = max(known.snapshot, snapshot)
            if known.rooms.issuperset(here.rooms):
                return
            known.rooms.update(here.rooms)
        elif here.sessions:
            node.accounts[account_id] = Known(here, set(here.rooms), snapshot)
            node.gone.pop(account_id, None)
        else:
            self._forget(node, account_id, here.version, now)
        if not here.online and here.away_at:
            self._left[account_id] = max((here.away_at, here.away), self._left.get(account_id, NO_TEXT))
        self._touch(account_id, told=not (node.silent and snapshot), moving=here.moving)

    def _forget(self, node: Node, account_id: int, version: int, now: float) -> None:
        known = node.accounts.pop(account_id, None)
        node.gone.pop(account_id, None)
        node.gone[account_id] = Gone(version, now, known is not None and known.here.screens)

    def _take_snapshot(self, node: Node, part: frames.People, now: float) -> None:
        node.asked_at = now
        if part.snapshot > node.snapshot:
            node.snapshot, node.total = part.snapshot, 0
            node.parts.clear()
        node.parts.add(part.index)
        if part.last:
            node.total = part.index + 1
        if len(node.parts) != node.total:
            return
        old = [
            account_id
            for account_id, known in node.accounts.items()
            if known.snapshot < part.snapshot and known.here.version < part.snapshot
        ]
        for account_id in old:
            self._forget(node, account_id, part.snapshot, now)
            self._touch(account_id, told=not node.silent)
        if node.snapshot > node.least:
            node.wanted = node.silent = False

    def _touch(self, account_id: int, *, told: bool, moving: bool = False) -> None:
        before = self._due.get(account_id, (False, False))
        self._due[account_id] = told or before[0], moving or before[1]

    def _hear_soon(self) -> None:
        if self._due and self._hearing is None:
            self._hearing = self._clock.callLater(0, self._hear)

    def _hear(self) -> None:
        """Takes over what was told of some accounts."""
        self._hearing = None
        until = self._clock.seconds() + TURN_SECONDS
        for account_id in list(islice(self._due, SLICE)):
            told, moving = self._due.pop(account_id)
            try:
                self._merge(account_id, told=told, moving=moving)
            except Exception:  # the others are to be heard of all the same
                self.log.failure("What other nodes say of account {id} was not taken over.", id=account_id)
            if self._clock.seconds() > until:
                break
        self._hear_soon()

    def _merge(self, account_id: int, *, told: bool, moving: bool) -> None:
        """What all nodes say of an account together."""
        known = self._known(account_id)
        online = [one for one in known if one.here.online]
        remote = None
        if online:
            newest = online[-1].here
            rooms = frozenset().union(*(one.rooms for one in online))
            remote = Remote(newest.name, newest.display, newest.bot, rooms)
        sessions = sum(one.here.sessions for one in known)
        self._presence.elsewhere(account_id, remote, sessions, told=told, moving=moving)
        self._merge_texts(account_id, [(one.here.away_at, one.here.away) for one in online], told=told)

    def screens_at(self, account_id: int) -> set[str]:
        """The processes where an account has terminals, or has had some just now: what was seen there may not be stored
        yet."""
        since = self._clock.seconds() - STORED_SECONDS
        return {
            boot
            for boot, node in self._nodes.items()
            if ((known := node.accounts.get(account_id)) is not None and known.here.screens)
            or ((gone := node.gone.get(account_id)) is not None and gone.screens and gone.at > since)
        }

    def _known(self, account_id: int) -> list[Known]:
        return [node.accounts[account_id] for node in self._nodes.values() if account_id in node.accounts]

    # Away texts

    def _note_text(self, account_id: int) -> None:
        """Notes an away text that was set here."""
        if not self._roster.is_online(account_id):
            self._texts.pop(account_id, None)
            return
        text, known = self._roster.away_text(account_id), self._texts.get(account_id, NO_TEXT)
        if text != known[1]:
            newest = max([known, *((one.here.away_at, one.here.away) for one in self._known(account_id))])
            self._texts[account_id] = newest[0] + 1, text

    def _merge_texts(self, account_id: int, texts: list[Text], *, told: bool) -> None:
        """Takes over the newest away text of an account; `texts`: those at other nodes where it is online. Where it has
        sessions here, it keeps that: they may be the last ones some time."""
        known, left = self._texts.get(account_id, NO_TEXT), self._left.pop(account_id, NO_TEXT)
        is_here = bool(self._roster.sessions(account_id))
        if not self._roster.is_online(account_id):
            newest = NO_TEXT
        else:
            newest = max([*texts, known, left]) if is_here else max(texts)
        if newest == known:
            return
        if newest == NO_TEXT:
            del self._texts[account_id]
        else:
            self._texts[account_id] = newest
        self._presence.away_elsewhere(account_id, newest[1], told=told)
        if is_here:
            self._retell(account_id)


def _packed(people: Iterator[Here]) -> Iterator[list[Here]]:
    """Divides what is said of accounts among parts that fit into a frame."""
    some: list[Here] = []
    size = 0
    for here in people:
        length = len(msgspec.json.encode(here)) + 1
        if some and size + length > MOST_BYTES:
            yield some
            some, size = [], 0
        some.append(here)
        size += length
    if some:
        yield some
