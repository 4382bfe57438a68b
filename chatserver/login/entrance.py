"""Turns an authenticated user into a logged-in session and sends the first screen; ends such a session."""

from collections.abc import Mapping

from msgspec import Struct, structs

from chatserver.delivery.pending_logins import PendingLogin
from chatserver.handlers.messages import last_of
from chatserver.handlers.server_facts import server_facts
from chatserver.handlers.unread import (
    EMPTY_SCREEN,
    Arriving,
    FirstScreen,
    first_screen,
    other_of,
    states,
    status,
    with_beside,
)
from chatserver.login.authentication import (
    MAX_LOGINS,
    WRONG,
    WRONG_CERTIFICATE,
    WRONG_SECRET,
    Authenticator,
    Login,
    Proved,
)
from chatserver.login.kept import Keeping
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
from chatserver.values.answer_size import Portion, absent_size, greeting_size, invited_size, status_size
from chatserver.values.answers import NAMES_SHOWN, Greeting, Preferences, RoomStatus, Unread, Welcome
from chatserver.values.errors import Note, Refused, Sentence, Why
from chatserver.values.events import GUEST, Membership, Person
from chatserver.values.seen import Seen
from chatserver.values.stages import Event, Stage

LINES_SHOWN = 10
MAX_STATES = 10
"""Maximum number of logins whose state is read in one batch."""


class Known(Struct, frozen=True):
    """What a login has read. With its state: the first rooms by label, and what is unread in each."""

    facts: LoginFacts
    page: list[Membership] | None = None
    unread: list[Unread] = []


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
        self._keeping = Keeping(parts)
        self._expiry = Expiry(parts.clock, parts.store, parts.roster)
        self._settings = parts.settings
        self._logins = Batcher(self._look_up, MAX_LOGINS, turns(parts.clock))
        self._states = Batcher(self._look_up_states, MAX_STATES, turns(parts.clock))

    async def _look_up(self, people: list[tuple[Person, int]]) -> list[LoginFacts]:
        return await self._store.read(logins.look_up, people)

    async def _look_up_states(self, arriving: list[Arriving]) -> list[Known]:
        return [Known(*one) for one in await self._store.read_at_once(states, arriving)]

    async def _known(self, command: Login, person: Person, token_id: int, seen: Mapping[int, Seen]) -> Known:
        if command.state:
            return await self._states.ask(Arriving(person, token_id, seen))
        return Known(await self._logins.ask((person, token_id)))

    async def admit(self, session: Session, proved: Proved, command: Login) -> None:
        """Logs an authenticated person in, unless the client has gone meanwhile. Raises Refused."""
        person, common, secret = proved.person, {}, ""
        given = {label.lower(): _stretch(one) for label, one in (_resumed(command) or {}).items()}
        quiet = self._is_quiet(session, command)
        with self._registry.logins.begin(person.id) as login:
            while True:
                login.stale, screen = False, EMPTY_SCREEN
                await self._epochs.settled()
                seen = await self._marks.known_everywhere(person.id)  # what is stored meanwhile is read
                read = await self._known(command, person, proved.token_id, seen)
                known = read.facts
                if known.account.gone:  # since the password was checked
                    raise WRONG_SECRET if proved.secret else WRONG
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
                wanted, absent = await self._with_present_labels(person, known.memberships, given)
                resume = {label: one.seq for label, one in wanted.items()}
                if isinstance(command, c.Login) and resume:
                    common = await self._common(person, known.memberships, resume, command.epoch)
                if session.stage is not Stage.BUSY:
                    return
                if not self._is_current(login, known):
                    continue
                if secret or not self._keeping.concerns(command, proved):
                    break
                kept_id, secret = await self._keeping.secret(session, command, proved)
                proved = structs.replace(proved, token_id=kept_id)  # if that ends meanwhile, the account is "gone"
                if session.stage is not Stage.BUSY:
                    return
                if self._is_current(login, known):
                    break
            account = known.account
            person = Person(person.id, account.name or person.name, account.kind, account.display or "")
            session.who = Identity(
                person.id, person.name, person.display, account.named_at, person.kind, known.limits, proved.token_id,
                proved.certificate.id if proved.certificate else 0, proved.proof, known.scope, bool(secret),
            )  # fmt: skip
            session.ignore(known.ignored)
            if command.quotes:
                session.quote()
            session.asked_for_typing, session.asked_for_state = command.typing, command.state
            if known.preferences is not None:
                session.prefer(known.preferences)
            self._prompts.move(session, Event.ADMITTED)
            session.quiet = quiet
            session.link.admitted()
            self._roster.add(session, known.apart)
            held = {label.lower(): seq for label, seq in common.items()}
            most = {label: one.most for label, one in wanted.items()}
            skipped = self._registry.subscriptions.subscribe(session, rooms, resume | held, most)
            if known.scope is not None and known.scope.seconds is not None:
                self._expiry.add(session.who.token_id, known.scope.seconds)
            if secret:
                self._keeping.came()
        audit_log.logged_in(session.address, person.name, _how(command, proved))
        if session.view is not None and current is not None:
            session.view.current = current.facts.label(person.id)
        names = self._names(session) if session.view is not None and not quiet else []
        if proved.certificate is not None and session.view is not None and not quiet:
            session.notice(Sentence(Note.CERTIFICATE_LOGS_IN, label=proved.certificate.label))
        greeting = self._greeting(session, known) if command.state else None
        welcome = self._greeted(person, read, rooms, session.current, names, screen, greeting, absent)
        welcome = structs.replace(
            welcome, epoch=self._epochs.token, common=common, secret="" if proved.by_cookie else secret
        )
        session.answer(command.tag, welcome, command.cmd)
        for one in skipped:
            session.tell(one)
        if self._server.motd and not quiet:
            session.notice(self._server.motd)
        proof = (session.who.token_id, session.who.certificate_id)
        self._session_rows.add(
            sessions.Opened(session.id, person.id, self._server.node, session.address, self._now(), *proof)
        )
        self._presence.came(session)
        self._registry.subscriptions.catch_up(session)

    def _lines(self, person: Person, inside: list[Membership], screen: FirstScreen, read: Known) -> list[RoomStatus]:
        """The rooms of the answer, by label; with their state, no more than fit on a page."""
        if read.page is None:
            lines = [status(one, person, screen.unread.get(one.facts.id)) for one in inside]
            return sorted(lines, key=lambda line: by_label(line.room))
        return [
            self._state(person, one, status(one, person, unread))
            for one, unread in zip(read.page, read.unread, strict=True)
        ]

    def _state(self, person: Person, one: Membership, line: RoomStatus) -> RoomStatus:
        other = other_of(one.facts, person)
        if other is None:
            return line
        online, away = self._roster.shown_to(person.id, other[0])
        return with_beside(line, one, person, online=online, away=away)

    def _is_current(self, login: PendingLogin, known: LoginFacts) -> bool:
        """Whether what the login has read still holds."""
        return self._registry.logins.is_current(login, known.memberships) and not self._epochs.beginning

    def _greeted(
        self,
        person: Person,
        read: Known,
        inside: list[Membership],
        current: str,
        names: list[str],
        screen: FirstScreen,
        greeting: Greeting | None,
        absent: list[str],
    ) -> Welcome:
        """The answer to a login. Rooms that do not fit are counted: somebody may be in thousands."""
        lines = self._lines(person, inside, screen, read)
        portion = Portion(self._limits.answer_bytes)
        absent = portion.head(absent, absent_size)
        if greeting is not None:
            portion.head([greeting], greeting_size)
        invitations = portion.head(read.facts.invitations, invited_size)
        recent = None if screen.recent is None else last_of(portion, screen.recent, person.id)
        rooms = portion.head(lines, status_size)
        more = len(inside) - len(rooms)
        return Welcome(person.name, rooms, current, names, recent, invitations, more, greeting=greeting, absent=absent)

    def _greeting(self, session: Session, known: LoginFacts) -> Greeting:
        preferences = known.preferences or Preferences()
        return Greeting(session.who.display, preferences, server_facts(self._settings, session))

    def _is_quiet(self, session: Session, command: Login) -> bool:
        """Whether a script logs in: it says so or, at a terminal, uses a token or has sent everything already."""
        if isinstance(command, c.Login) and command.quiet:
            return True
        by_token = isinstance(command, c.Login) and bool(command.token)
        return session.view is not None and (by_token or session.peer.has_sent_all())

    async def _with_present_labels(
        self, person: Person, memberships: list[Membership], resume: dict[str, c.Stretch]
    ) -> tuple[dict[str, c.Stretch], list[str]]:
        """What to resume, by the present labels of direct rooms: the other account may have been renamed since. And
        the labels of rooms that the person is not in."""
        labels = {one.facts.label(person.id).lower() for one in memberships} if resume else set()
        lost = {label[1:]: one for label, one in resume.items() if label.startswith("@") and label not in labels}
        found = await self._store.read(names.heirs, list(lost)) if lost else {}
        present = {f"@{former}": f"@{name}" for former, name in found.items()}
        absent = [label for label in resume if label not in labels and present.get(label) not in labels]
        return {now: resume[former] for former, now in present.items()} | resume, absent

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


def _resumed(command: Login) -> dict[str, int | c.Stretch] | None:
    return command.resume if isinstance(command, c.Login) else None


def _stretch(given: int | c.Stretch) -> c.Stretch:
    return c.Stretch(seq=given) if isinstance(given, int) else given


def _how(command: Login, proved: Proved) -> str:
    if proved.certificate is not None:
        return "certificate"
    if proved.secret:
        return "session"
    if proved.token_id and isinstance(command, c.Login) and command.token:
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
