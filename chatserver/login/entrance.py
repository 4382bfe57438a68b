"""Turns an authenticated user into a logged-in session and sends the first screen; ends such a session."""

from msgspec import structs

from chatserver.handlers.messages import last_of
from chatserver.handlers.unread import EMPTY_SCREEN, FirstScreen, first_screen, status
from chatserver.login.authentication import MAX_LOGINS, WRONG, WRONG_CERTIFICATE, Authenticator, Login, Proved
from chatserver.login.parts import LoginParts
from chatserver.login.prompts import Prompts
from chatserver.login.token_expiry import Expiry
from chatserver.session.session import Identity, Session
from chatserver.store import logins, names, sessions
from chatserver.store.db import epochs
from chatserver.store.logins import LoginFacts
from chatserver.store.members import by_label
from chatserver.sync.change_feed import ChangeFeed
from chatserver.util import audit_log
from chatserver.util.waiting import Batcher, turns
from chatserver.values import commands as c
from chatserver.values.answer_size import Portion, invited_size, status_size
from chatserver.values.answers import NAMES_SHOWN, Welcome
from chatserver.values.errors import Note, Refused, Sentence, Why
from chatserver.values.events import GUEST, Membership, Person
from chatserver.values.stages import Event, Stage

LINES_SHOWN = 10


class Entrance:
    """Logs authenticated people in."""

    def __init__(self, parts: LoginParts, authenticator: Authenticator, prompts: Prompts) -> None:
        self._now = parts.now
        self._server = parts.settings.server
        self._limits = parts.settings.limits
        self._store = parts.store
        self._registry = parts.registry
        self._roster = parts.roster
        self._presence = parts.presence
        self._session_rows = parts.session_rows
        self._marks = parts.marks
        self._epochs = parts.epochs
        self._authenticator = authenticator
        self._prompts = prompts
        self._expiry = Expiry(parts.clock, parts.store, parts.roster)
        self._logins = Batcher(self._look_up, MAX_LOGINS, turns(parts.clock))

    async def _look_up(self, people: list[tuple[Person, int]]) -> list[LoginFacts]:
        return await self._store.read(logins.look_up, people)

    async def admit(self, session: Session, proved: Proved, command: Login) -> None:
        """Logs an authenticated person in, unless the client has gone meanwhile. Raises Refused."""
        person, resume, common = proved.person, {}, {}
        if isinstance(command, c.Login) and command.resume:
            resume = {name.lower(): seq for name, seq in command.resume.items()}
        quiet = self._is_quiet(session, command)
        with self._registry.logins.begin(person.id) as login:
            while True:
                login.stale, screen = False, EMPTY_SCREEN
                await self._epochs.settled()
                seen = await self._marks.known_everywhere(person.id)  # what is stored meanwhile is read
                known = await self._logins.ask((person, proved.token_id))
                if known.account.gone:  # since the password was checked
                    raise WRONG
                if proved.proof and known.account.proof not in (0, proved.proof):  # changed meanwhile
                    raise WRONG
                if proved.certificate and await self._authenticator.certified(session, person.name) != proved:
                    raise WRONG_CERTIFICATE  # removed meanwhile
                if known.account.ban is not None:
                    raise Refused(Why.BANNED, reason=known.account.ban)
                current = self._first_room(known.memberships)
                rooms = [one.with_seen(seen.get(one.facts.id)) for one in known.memberships]
                if session.view is not None and current is not None and not quiet:
                    screen = await self._store.read(first_screen, person, rooms, current.facts.id, LINES_SHOWN)
                if isinstance(command, c.Login) and resume:
                    resume = await self._with_present_labels(person, known.memberships, resume)
                    common = await self._common(person, known.memberships, resume, command.epoch)
                if session.stage is not Stage.BUSY:
                    return
                if self._registry.logins.is_current(login, known.memberships) and not self._epochs.beginning:
                    break
            account = known.account
            person = Person(person.id, account.name or person.name, account.kind, account.display or "")
            session.who = Identity(
                person.id, person.name, person.display, account.named_at, person.kind, known.limits, proved.token_id,
                proved.certificate.id if proved.certificate else 0, proved.proof, known.scope,
            )  # fmt: skip
            if session.view is not None:
                session.view.ignored = known.ignored
            if known.preferences is not None:
                session.prefer(known.preferences)
            self._prompts.move(session, Event.ADMITTED)
            session.quiet = quiet
            session.link.admitted()
            self._roster.add(session, known.apart)
            held = {label.lower(): seq for label, seq in common.items()}
            self._registry.subscriptions.subscribe(session, rooms, resume | held)
            if known.scope is not None and known.scope.seconds is not None:
                self._expiry.add(session.who.token_id, known.scope.seconds)
        audit_log.logged_in(session.address, person.name, _how(command, proved))
        if session.view is not None and current is not None:
            session.view.current = current.facts.label(person.id)
        names = self._names(session) if session.view is not None and not quiet else []
        if proved.certificate is not None and session.view is not None and not quiet:
            session.notice(Sentence(Note.CERTIFICATE_LOGS_IN, label=proved.certificate.label))
        welcome = self._greeted(person, known, rooms, session.current, names, screen)
        session.answer(command.tag, structs.replace(welcome, epoch=self._epochs.token, common=common))
        if self._server.motd and not quiet:
            session.notice(self._server.motd)
        proof = (session.who.token_id, session.who.certificate_id)
        self._session_rows.add(
            sessions.Opened(session.id, person.id, self._server.node, session.address, self._now(), *proof)
        )
        self._presence.came(session)
        self._registry.subscriptions.catch_up(session)

    def _greeted(
        self,
        person: Person,
        known: LoginFacts,
        inside: list[Membership],
        current: str,
        names: list[str],
        screen: FirstScreen,
    ) -> Welcome:
        """The answer to a login. Rooms that do not fit are counted: somebody may be in thousands."""
        lines = [status(one, person, screen.unread.get(one.facts.id)) for one in inside]
        lines.sort(key=lambda line: by_label(line.room))
        portion = Portion(self._limits.answer_bytes)
        invitations = portion.head(known.invitations, invited_size)
        recent = None if screen.recent is None else last_of(portion, screen.recent, person.id)
        rooms = portion.head(lines, status_size)
        return Welcome(person.name, rooms, current, names, recent, invitations, len(lines) - len(rooms))

    def _is_quiet(self, session: Session, command: Login) -> bool:
        """Whether a script logs in: it says so or, at a terminal, uses a token or has sent everything already."""
        if isinstance(command, c.Login) and command.quiet:
            return True
        by_token = isinstance(command, c.Login) and bool(command.token)
        return session.view is not None and (by_token or session.peer.has_sent_all())

    async def _with_present_labels(
        self, person: Person, memberships: list[Membership], resume: dict[str, int]
    ) -> dict[str, int]:
        """Positions to resume from, by the present labels of direct rooms: the other account may have been renamed
        since."""
        labels = {one.facts.label(person.id).lower() for one in memberships} if resume else set()
        lost = {label[1:]: seq for label, seq in resume.items() if label.startswith("@") and label not in labels}
        found = await self._store.read(names.heirs, list(lost)) if lost else {}
        return {f"@{name}": lost[former] for former, name in found.items()} | resume

    async def _common(
        self, person: Person, memberships: list[Membership], resume: dict[str, int], epoch: str | None
    ) -> dict[str, int]:
        """By label, the last number that still holds, for each room that is resumed behind a later one."""
        labelled = {one.facts.label(person.id): one for one in memberships}
        resumed = {label: one for label, one in labelled.items() if label.lower() in resume}
        ids = [one.facts.id for one in resumed.values()]
        known = await self._store.read(epochs.common, epoch, ids) if epoch else {}
        last = {label: min(known.get(one.facts.id, one.seq), one.seq) for label, one in resumed.items()}
        return {label: seq for label, seq in last.items() if seq < resume[label.lower()]}

    def _first_room(self, memberships: list[Membership]) -> Membership | None:
        """The room to show first: a default room, else any."""
        for name in self._server.default_rooms:
            for membership in memberships:
                if membership.facts.name == name:
                    return membership
        return memberships[0] if memberships else None

    def _names(self, session: Session) -> list[str]:
        """Some of the people who are online in the current room, as far as this person may know."""
        room = session.room_called(c.CURRENT)
        return [] if room is None else sorted(self._roster.names(room, session))[:NAMES_SHOWN]


def _how(command: Login, proved: Proved) -> str:
    if proved.certificate is not None:
        return "certificate"
    if proved.token_id:
        return "token"
    return "guest" if isinstance(command, c.Guest) else "password"


class Departures:
    """Removes ended sessions from all parts that know them, and records their end."""

    def __init__(self, parts: LoginParts, change_feed: ChangeFeed) -> None:
        self._parts = parts
        self._change_feed = change_feed

    def left(self, session: Session, reason: str, *, announced: bool) -> None:
        """Call this once for each session that was logged in, while it is still registered. `announced`: notify others
        in its rooms, unless the server is stopping and nobody is left."""
        if announced:
            self._parts.presence.going(session)
        self._parts.registry.subscriptions.remove(session)
        self._parts.roster.remove(session)
        self._change_feed.left(session)
        self._parts.marks.ended(session)
        self._parts.session_rows.add(sessions.Closed(session.id, session.who.account_id, self._parts.now(), reason))
        if session.who.kind == GUEST:
            self._parts.guests.dismiss(session)
