"""Presence over several nodes: each node publishes its accounts, and merges those of others into its roster.

Changes of accounts are published soon. A snapshot of all accounts of a node is published on request of a node that sees
it for the first time, whose bus has reconnected, or that misses a frame. Frames may be lost, doubled and reordered;
therefore each has the complete state of an account, under a version that only grows.

Each node keeps the away text of an account that has sessions at several nodes, under a number greater than all that the
node knew when the text was set: the greatest number is the newest text.
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
"""Interval between updates. Only the latest state is published."""
SLICE: Final = 100
"""Maximum number of accounts handled in one turn of the reactor: about a millisecond."""
TURN_SECONDS: Final = 0.003
"""Maximum time of a turn that merges accounts: for each one that goes, the sessions near it are looked up."""
ASK_SECONDS: Final = 0.5
"""How long to wait for a snapshot before requesting it again."""
SETTLE_SECONDS: Final = 2.0
"""How long after this node's start accounts in the first snapshots of others are no news: they were online before."""
GONE_SECONDS: Final = 60.0
"""How long departed accounts are remembered, for late frames."""
STORED_SECONDS: Final = 2.0
"""How long it takes at most to store the read marks of an account that went."""
MOST_ROOMS: Final = 300
"""Maximum number of rooms of an account in one part: their ids take up to 6,000 bytes."""
MOST_BYTES: Final = frames.MOST_BYTES - frames.HEADER_BYTES - 64
"""Maximum size of the accounts in one part."""

Text = tuple[int, str]
"""An away text, after its number."""
NO_TEXT: Final[Text] = (0, "")


class Known(Struct):
    """An account at another node. `snapshot`: the last one that contained it."""

    here: Here
    rooms: set[int]
    snapshot: int = 0


class Gone(Struct, frozen=True, gc=False):
    """An account that left a node at `at`. Its states up to `version` are outdated."""

    version: int
    at: float
    screens: bool


class Due(Struct):
    """An account whose state is to be merged. `news`: people near it are notified. `moving`: its clients are on the way
    from one node to another."""

    news: bool = False
    moving: bool = False


class RemoteNode:
    """The state that another process has published. `gone`: accounts that went, the latest ones last. `wanted`: a
    snapshot newer than `least` is needed. `silent`: it was there before this node."""

    __slots__ = ("accounts", "gone", "least", "parts", "requested_at", "silent", "snapshot", "total", "wanted")

    def __init__(self, *, silent: bool) -> None:
        self.accounts: dict[int, Known] = {}
        self.gone: dict[int, Gone] = {}
        self.silent = silent
        self.wanted = True
        self.least = 0
        self.requested_at = float("-inf")  # when a snapshot was requested, or a part of one came
        self.snapshot = 0  # the newest one of which a part has come
        self.parts: set[int] = set()
        self.total = 0  # its number of parts; 0: not known yet


class SharedPresence:
    """Publishes and merges accounts in slices, since there may be very many."""

    log = Logger()

    def __init__(self, clock: IReactorTime, outgoing: Outgoing, roster: Roster, presence: Presence) -> None:
        self._clock = clock
        self._outgoing = outgoing
        self._roster = roster
        self._presence = presence
        self._nodes: dict[str, RemoteNode] = {}  # by boot
        self._silent_until = 0.0
        self._texts: dict[int, Text] = {}  # by account, the newest one: the roster has it
        self._left: dict[int, Text] = {}  # by account, the text that it set at a node that it has left
        # What this node publishes
        self._version = 0
        self._versions: dict[int, int] = {}  # by account, the version last published
        self._dirty: dict[int, None] = {}
        self._published_at = float("-inf")
        self._publishing: IDelayedCall | None = None
        self._snapshots: IDelayedCall | None = None
        self._again = False  # another one is requested
        # Receiving
        self._due: dict[int, Due] = {}
        self._merging: IDelayedCall | None = None
        self._requesting: IDelayedCall | None = None

    def start(self) -> None:
        self._silent_until = self._clock.seconds() + SETTLE_SECONDS

    def stop(self) -> None:
        """Publishes the rest, and merges nothing more."""
        while self._dirty:
            self._publish()
        for call in (self._publishing, self._snapshots, self._merging, self._requesting):
            if call is not None and call.active():
                call.cancel()
        self._publishing = self._snapshots = self._merging = self._requesting = None

    def restarted(self) -> None:
        """This process serves anew, as another one."""
        self._silent_until = self._clock.seconds() + SETTLE_SECONDS

    # What this node publishes

    def changed(self, account_id: int) -> None:
        """Its sessions, names, rooms or away text have changed here."""
        self._note_text(account_id)
        self._republish(account_id)

    def _republish(self, account_id: int) -> None:
        if self._outgoing.open:
            self._dirty[account_id] = None
            if self._publishing is None:
                wait = self._published_at + PACE_SECONDS - self._clock.seconds()
                self._publishing = self._clock.callLater(max(wait, 0), self._publish)
        else:
            self._versions.pop(account_id, None)  # updates that another node received before are outdated

    def _publish(self) -> None:
        if self._publishing is not None and self._publishing.active():
            self._publishing.cancel()
        self._publishing = None
        self._published_at = self._clock.seconds()
        some = list(islice(self._dirty, SLICE))
        for account_id in some:
            del self._dirty[account_id]
        for people in _packed(self._heres(some, gone=True)):
            self._outgoing.part(frames.People(people))
        if self._dirty:
            self._publishing = self._clock.callLater(0, self._publish)

    def _heres(self, account_ids: list[int], *, gone: bool, new: bool = True) -> Iterator[Here]:
        """Presence records of these accounts, under a `new` version or the known one. `gone`: include accounts that
        have left."""
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
            # An account that stays at another node keeps its last text of this one.
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

    def requested(self) -> None:
        """Another node requests a snapshot."""
        if self._snapshots is None:
            self._snapshots = self._clock.callLater(0, self._snap, self._next_version(), None, 0)
        else:
            self._again = True

    def _snap(self, snapshot: int, left: list[int] | None, index: int) -> None:
        """Publishes the next slice of a snapshot."""
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

    # The other nodes, and the snapshots that are needed of them

    def peers(self, boots: set[str]) -> None:
        """These other processes are alive. Forgets the accounts of all others."""
        silent = self._clock.seconds() < self._silent_until
        for boot in self._nodes.keys() - boots:
            for account_id in self._nodes.pop(boot).accounts:
                self._touch(account_id, news=True, moving=True)
        for boot in boots - self._nodes.keys():
            self._nodes[boot] = RemoteNode(silent=silent)
        self._merge_soon()
        self._request()

    def want(self, boot: str) -> None:
        """Frames of this process may be missing; "": frames of any process."""
        for known, node in self._nodes.items():
            if boot in ("", known):
                node.wanted = True
                node.least = node.snapshot
        self._request()

    def _request(self) -> None:
        """Requests the snapshots that are wanted, and again those that do not come."""
        now = self._clock.seconds()
        for boot, node in self._nodes.items():
            if node.wanted and now - node.requested_at >= ASK_SECONDS:
                node.requested_at = now
                self._outgoing.part(AskPeople(boot))
        if self._requesting is None and any(node.wanted for node in self._nodes.values()):
            self._requesting = self._clock.callLater(ASK_SECONDS, self._request_again)

    def _request_again(self) -> None:
        self._requesting = None
        self._request()

    # Receiving

    def received(self, boot: str, part: frames.People) -> None:
        """Takes the updates of another process."""
        node = self._nodes.get(boot)
        if node is None:  # a snapshot is requested once it is known to be alive
            return
        now = self._clock.seconds()
        for here in part.people:
            self._take(node, here, part.snapshot, now)
        while node.gone and next(iter(node.gone.values())).at < now - GONE_SECONDS:
            del node.gone[next(iter(node.gone))]
        if part.snapshot >= node.snapshot and part.snapshot:
            self._take_snapshot(node, part, now)
        self._merge_soon()

    def _take(self, node: RemoteNode, here: Here, snapshot: int, now: float) -> None:
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
        self._touch(account_id, news=not (node.silent and snapshot), moving=here.moving)

    def _forget(self, node: RemoteNode, account_id: int, version: int, now: float) -> None:
        known = node.accounts.pop(account_id, None)
        node.gone.pop(account_id, None)
        node.gone[account_id] = Gone(version, now, known is not None and known.here.screens)

    def _take_snapshot(self, node: RemoteNode, part: frames.People, now: float) -> None:
        node.requested_at = now
        if part.snapshot > node.snapshot:
            node.snapshot, node.total = part.snapshot, 0
            node.parts.clear()
        node.parts.add(part.index)
        if part.last:
            node.total = part.index + 1
        if len(node.parts) != node.total:
            return
        old = {
            account_id: known
            for account_id, known in node.accounts.items()
            if known.snapshot < part.snapshot and known.here.version < part.snapshot
        }
        for account_id, known in old.items():
            self._forget(node, account_id, part.snapshot, now)
            told = not known.snapshot  # it came by an update, of which people were notified
            self._touch(account_id, news=told or not node.silent)
        if node.snapshot > node.least:
            node.wanted = node.silent = False

    def _touch(self, account_id: int, *, news: bool, moving: bool = False) -> None:
        due = self._due.setdefault(account_id, Due())
        due.news |= news
        due.moving |= moving

    def _merge_soon(self) -> None:
        if self._due and self._merging is None:
            self._merging = self._clock.callLater(0, self._merge_some)

    def _merge_some(self) -> None:
        """Merges some of the accounts that are due."""
        self._merging = None
        until = self._clock.seconds() + TURN_SECONDS
        for account_id in list(islice(self._due, SLICE)):
            due = self._due.pop(account_id)
            try:
                self._merge(account_id, due)
            except Exception:  # the others are merged all the same
                self.log.failure("What other nodes say of account {id} was not taken over.", id=account_id)
            if self._clock.seconds() > until:
                break
        self._merge_soon()

    def _merge(self, account_id: int, due: Due) -> None:
        """Merges the states of an account at all nodes."""
        known = self._known(account_id)
        online = [one for one in known if one.here.online]
        remote = None
        if online:
            newest = online[-1].here
            rooms = frozenset().union(*(one.rooms for one in online))
            remote = Remote(newest.name, newest.display, newest.bot, rooms)
        self._presence.elsewhere(account_id, remote, told=due.news, moving=due.moving)
        self._merge_texts(account_id, [(one.here.away_at, one.here.away) for one in online], news=due.news)

    def screens_at(self, account_id: int) -> set[str]:
        """The processes where an account has terminals, or had some just now. Read marks of these may not be stored
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

    def _merge_texts(self, account_id: int, texts: list[Text], *, news: bool) -> None:
        """Takes the newest away text of an account. `texts`: those at other nodes where it is online. If it has
        sessions here, this node keeps the text: they may be the last ones one day."""
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
        self._presence.away_elsewhere(account_id, newest[1], told=news)
        if is_here:
            self._republish(account_id)


def _packed(people: Iterator[Here]) -> Iterator[list[Here]]:
    """Divides presence records among parts that fit into a frame."""
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
