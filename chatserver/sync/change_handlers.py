"""Applies changes that other processes made in the database to the sessions here.

A change names what has changed; its present state is read from the store. So a change may arrive late, or twice.
"""

from msgspec import structs

from chatserver.background.session_rows import SessionRows
from chatserver.delivery.registry import Registry
from chatserver.handlers.accounts import ENDED, ERASED
from chatserver.handlers.cluster_notes import Blocks, Ignoring, Notifying, Preferring, Reset, Unreading, decoded
from chatserver.presence.roster import Roster
from chatserver.session.session import Session
from chatserver.store import accounts, change_rows, ignoring, members, people, preferences
from chatserver.store.change_rows import Change
from chatserver.store.db.threads import Store
from chatserver.store.kept_sessions import COPIED
from chatserver.sync.reconcile import Reconciler
from chatserver.values.answers import Preferences
from chatserver.values.errors import Note, Sentence
from chatserver.values.events import AS_SET
from chatserver.values.seen import Seen

TO_BE_ERASED = "erased"
"""The `detail` of a change of an account whose owner has it erased."""

REASONS = {TO_BE_ERASED: ERASED}
DISABLED = ("disabled", Sentence(Note.DISABLED))


REVOKED = ("token-revoked", Sentence(Note.TOKEN_WAS_REVOKED))


def _revoked(session: Session, detail: str | None) -> tuple[str, Sentence]:
    """Why the connections of a token or of a kept session end."""
    if not session.who.kept:
        return REVOKED
    return (ENDED[0], Sentence(Note.SESSION_WAS_COPIED)) if detail == COPIED else ENDED


class ChangeHandlers:
    def __init__(
        self,
        store: Store,
        registry: Registry,
        roster: Roster,
        reconciler: Reconciler,
        session_rows: SessionRows,
    ) -> None:
        self._store = store
        self._registry = registry
        self._roster = roster
        self._reconciler = reconciler
        self._session_rows = session_rows
        self._ended: list[tuple[int, str, Session]] = []  # by changes with these ids
        self._left: list[Session] = []  # those that have left and whose last commands are still being served

    def left(self, session: Session) -> None:
        """A session has ended. Commands that it had sent may still be stored."""
        if session.waiting and self._registry.elsewhere.origin:
            self._left = [one for one in self._left if one.waiting] + [session]

    def unfinished(self) -> int | None:
        """The lowest id of a change that ended sessions whose last commands are not stored yet; None if there is
        none."""
        if not self._ended:
            return None
        unrecorded = self._session_rows.unrecorded()
        self._ended = [
            (id, name, session)
            for id, name, session in self._ended
            if session.waiting or unrecorded is None or name in unrecorded
        ]
        return min((id for id, _, _ in self._ended), default=None)

    async def follow(self, change: Change) -> None:
        subject = change.subject
        if change.kind in ("membership", "effect"):
            self._registry.logins.doubt(subject)
        else:
            self._registry.logins.doubt()
        match change.kind:
            case "membership" if not self._hears(subject, change.detail):
                self._reconciler.entered(subject)
            case "effect":
                match decoded(change.detail):
                    case Reset(reason, text):
                        await self._reset(change, reason, Sentence(Note.AS_WRITTEN, text=text))
                    case Blocks(other):
                        await self._block(subject, other)
                    case Ignoring():
                        await self._ignore(subject)
                    case Preferring():
                        await self._prefer(subject)
                    case Notifying(room_id):
                        await self._notify(subject, room_id)
                    case Unreading(room_id, mark, era):
                        self._roster.unsaw(subject, room_id, Seen(mark, (), era))
            case "room":
                room = self._registry.rooms.find(subject)
                if room is not None:
                    self._registry.order.doubt(room, told=True)
            case "token":
                for session in self._roster.all_sessions():
                    if session.who.token_id == subject:
                        session.link.hang_up(*_revoked(session, change.detail))
            case "certificate":
                for session in self._roster.all_sessions():
                    if session.who.certificate_id == subject:
                        session.link.hang_up(
                            "certificate-removed",
                            Sentence(Note.CERTIFICATE_WAS_REMOVED),
                        )
            case "account":
                await self._account(change)

    def _hears(self, account_id: int, room_id: str | None) -> bool:
        """Whether all sessions of an account here subscribe to this room already, or there are none."""
        id = int(room_id or 0)
        sessions = [session for session in self._roster.sessions(account_id) if session.hears(id)]
        room = self._registry.rooms.find(id) if sessions else None
        return not sessions or (room is not None and all(session in room for session in sessions))

    async def _account(self, change: Change) -> None:
        account_id = change.subject
        self._ended += [(change.id, "", session) for session in self._left if session.who.account_id == account_id]
        if not self._roster.sessions(account_id):
            return
        (account,) = await self._store.read(change_rows.accounts, [(account_id, 0)])
        limits = (await self._store.read(accounts.limits_of, [account_id])).get(account_id, AS_SET)
        for session in self._roster.sessions(account_id):
            named_at = account.named_at
            if named_at is not None and session.who.named_at != named_at and not account.gone:
                self._registry.names.renamed(
                    account_id, session.who.name, account.name, account.display or "", named_at
                )
            session.who = structs.replace(session.who, kind=account.kind, limits=limits)
            if account.ban is not None:
                self._end(change, session, "banned", Sentence(Note.YOU_ARE_BANNED, reason=account.ban))
            elif account.gone:
                self._end(change, session, *REASONS.get(change.detail or "", DISABLED))

    def _end(self, change: Change, session: Session, reason: str, sentence: Sentence) -> None:
        if self._registry.elsewhere.origin:
            self._ended.append((change.id, session.id, session))
        session.link.hang_up(reason, sentence)

    async def _reset(self, change: Change, reason: str, sentence: Sentence) -> None:
        """Ends the sessions of an account whose password or certificate is no longer valid; sessions that logged in
        with the new password stay. Tokens have changes of their own."""
        sessions = self._roster.sessions(change.subject)
        if not sessions:
            return
        certificate_ids = {session.who.certificate_id for session in sessions} - {0}
        valid = await self._store.read(change_rows.proofs, change.subject, certificate_ids)
        for session in sessions:
            if session.who.certificate_id:
                stays = session.who.certificate_id in valid.certificates
            else:
                stays = bool(session.who.token_id) or session.who.proof == valid.password
            if not stays and self._roster.has(session):
                self._end(change, session, reason, sentence)

    async def _block(self, one: int, other: int) -> None:
        self._registry.logins.doubt(other)
        if not (self._roster.sessions(one) or self._roster.sessions(other)):
            return
        with self._registry.logins.begin(one) as mine, self._registry.logins.begin(other) as theirs:
            while True:
                mine.stale = theirs.stale = False
                apart = (await self._store.read(people.blocks, [one]))[one]
                if not (mine.stale or theirs.stale):
                    break
            self._roster.set_apart(one, other, apart=other in apart)

    async def _ignore(self, account_id: int) -> None:
        if not self._roster.sessions(account_id):
            return
        with self._registry.logins.begin(account_id) as login:
            while True:
                login.stale = False
                found = await self._store.read(ignoring.find, [account_id])
                if not login.stale:
                    break
            for session in self._roster.sessions(account_id):
                session.ignore(found.get(account_id, frozenset()))

    async def _prefer(self, account_id: int) -> None:
        if not self._roster.sessions(account_id):
            return
        with self._registry.logins.begin(account_id) as login:
            while True:
                login.stale = False
                found = await self._store.read(preferences.find, [account_id])
                if not login.stale:
                    break
            for session in self._roster.sessions(account_id):
                session.prefer(found.get(account_id, Preferences()))

    async def _notify(self, account_id: int, room_id: int) -> None:
        if not self._roster.sessions(account_id):
            return
        with self._registry.logins.begin(account_id) as login:
            while True:
                login.stale = False
                found = await self._store.read(members.notify, account_id, room_id)
                if not login.stale:
                    break
            self._registry.subscriptions.notify(account_id, room_id, found)
