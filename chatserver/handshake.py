"""The handshake: everything between a client's first line and its login."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver import audit, plaintext
from chatserver import commands as c
from chatserver.answers import Done, HelpText, Log, Welcome
from chatserver.authentication import (
    MAX_LOGINS,
    WRONG,
    WRONG_CERTIFICATE,
    WRONG_PASSWORD,
    Authenticator,
    Guessed,
    Login,
    Proved,
)
from chatserver.batcher import Batcher
from chatserver.config import Settings
from chatserver.delivery.registry import Registry
from chatserver.errors import FAULT, FAULTY, ErrorWord, Refused, Rejected, banned_text
from chatserver.events import GUEST, Membership, Person
from chatserver.expiry import Expiry
from chatserver.handlers.accounts import ERASED, change_password, forget, token
from chatserver.handlers.messages import last_of, status
from chatserver.handlers.outcome import Ask, HangUp, Outcome
from chatserver.handlers.rights import forbid_guest
from chatserver.passwords import Hasher
from chatserver.portion import Portion, invited_size, status_size
from chatserver.presence import Presence
from chatserver.roster import Roster
from chatserver.session import Session
from chatserver.sessionlog import SessionLog
from chatserver.stages import Event, Stage
from chatserver.store import accounts, entries, logins, sessions
from chatserver.store.logins import LoginFacts
from chatserver.store.members import by_label
from chatserver.store.threads import Store
from chatserver.turns import turns, until

LINES_SHOWN = 10
NAMES_SHOWN = 6

_LOGINS: Final = (c.Login, c.Register, c.Guest)

LEGAL: Final[dict[Stage, frozenset[type[c.Command]]]] = {
    Stage.GREETING: frozenset({*_LOGINS, c.TypedName, c.Help, c.Ping, c.Quit}),
    Stage.PASSWORD: frozenset({c.TypedPassword}),
    Stage.IN: frozenset[type[c.Command]]({c.Look, *c.COMMANDS}).difference(_LOGINS),
}
"""The commands that each stage takes. At the others nothing is read."""


def misplaced(stage: Stage, command: c.Command) -> Rejected | None:
    """The refusal of a command that this stage does not take."""
    if type(command) in LEGAL[stage]:
        return None
    if stage is Stage.IN:
        refused = Refused(ErrorWord.BAD_COMMAND, "You are already logged in. Log out first to use another account.")
    else:
        refused = Refused(ErrorWord.LOGIN_REQUIRED, "Log in first, or register.")
    return Rejected(refused, command.tag)


def _ignore(_: object) -> None:
    pass


def _how(command: Login, proved: Proved) -> str:
    if proved.certificate is not None:
        return "certificate"
    if proved.token_id:
        return "token"
    return "guest" if isinstance(command, c.Guest) else "password"


class Handshake:
    """Logs sessions in. While its coroutines run the session is BUSY, and the caller reads nothing from it.

    `not_admitted` is given each guest whose account was created and who was not logged in, and `guest_lost` the time at
    which a guest was created, if it is unknown whether that was committed. `suspect` is called when the fate of any
    write is unknown, with the account that it was for, or None if that is unknown too.
    """

    log = Logger()

    def __init__(
        self,
        settings: Settings,
        clock: IReactorTime,
        now: Callable[[], datetime],
        store: Store,
        hasher: Hasher,
        registry: Registry,
        roster: Roster,
        presence: Presence,
        session_log: SessionLog,
        not_admitted: Callable[[Person], None] = _ignore,
        guest_lost: Callable[[datetime], None] = _ignore,
        suspect: Callable[[Person | None], None] = _ignore,
    ) -> None:
        self._clock = clock
        self._now = now
        self._server = settings.server
        self._limits = settings.limits
        self._store = store
        self._registry = registry
        self._roster = roster
        self._presence = presence
        self._session_log = session_log
        self._not_admitted = not_admitted
        self._authenticator = Authenticator(settings, clock, now, store, hasher, registry, guest_lost, suspect)
        self._expiry = Expiry(clock, store, roster)
        self._logins = Batcher(self._look_up, MAX_LOGINS, turns(clock))

    @property
    def passwords_waiting(self) -> int:
        """How many passwords wait for a thread that hashes them."""
        return self._authenticator.waiting

    async def _look_up(self, people: list[tuple[Person, int]]) -> list[LoginFacts]:
        return await self._store.read(logins.look_up, people)

    @property
    def greeting(self) -> str:
        """The server's first words."""
        return self._server.greeting or f"Welcome to {self._server.name}. Type your name to log in, or /help."

    def greet(self, session: Session) -> None:
        """Speaks first. Whoever should send no password is told so before anything else."""
        session.notice(self.greeting)
        if self._is_plain(session):
            session.notice(plaintext.remedy(self._server, for_people=True).text)

    def _is_plain(self, session: Session) -> bool:
        """Whether passwords are refused on this connection."""
        return not self._server.plaintext_login and session.link.exposed()

    def _guard(self, session: Session, command: c.Command) -> None:
        """Raises Refused for a command that carries a secret, where somebody could read it on the way."""
        if plaintext.carries_secret(command) and self._is_plain(session):
            raise plaintext.remedy(self._server, for_people=session.dialect.for_people)

    def receive(self, session: Session, parsed: c.Command | Rejected | None) -> Awaitable[None] | None:
        """Takes a parsed line of a client that is not logged in. Where that needs time, returns what to await."""
        if parsed is None:
            return None
        if isinstance(parsed, Rejected):
            session.link.refuse(parsed)
            return None
        rejected = misplaced(session.stage, parsed)
        if rejected is not None:
            session.link.refuse(rejected)
            return None
        try:
            self._guard(session, parsed)
        except Refused as refused:
            if session.stage is Stage.PASSWORD:  # the setting has changed since it was asked for
                session.move(Event.CANCELLED)
            session.link.refuse(Rejected(refused, parsed.tag))
            return None
        match parsed:
            case c.TypedName(name=name):
                return self._check(session, self._name_typed(session, name), Event.RETURNED)
            case c.TypedPassword(password=""):
                session.move(Event.CANCELLED)
                session.notice("Type your name to log in.")
            case c.TypedPassword(password=password):
                return self._check(session, self._password_typed(session, password), Event.RETRIED)
            case c.Login() | c.Register() | c.Guest():
                return self._check(session, self._log_in(session, parsed), Event.RETURNED, parsed.tag)
            case c.Help(about=about):
                session.answer(parsed.tag, HelpText(about))
            case _:
                session.answer(parsed.tag, Done())
                if isinstance(parsed, c.Quit):
                    session.link.hang_up("", "")
        return None

    async def _check(self, session: Session, work: Awaitable[None], failed: Event, tag: c.Tag | None = None) -> None:
        """Reads nothing from the client until the work is done. If it fails, `failed` leads back to the stage from
        which it can be tried again."""
        session.move(Event.CHECKING)
        try:
            await work
            return
        except Refused as refused:
            problem = refused
        except Exception:
            self.log.failure("A login failed with an unexpected error.")
            problem = FAULT
        if session.stage is Stage.IN:  # it was admitted, and is not answered: nobody knows what it lacks
            session.link.hang_up(*FAULTY)
        if session.stage is not Stage.BUSY:  # gone
            return
        taken = problem.error is ErrorWord.NAME_TAKEN  # another password does not help
        session.move(Event.RETURNED if taken else failed)
        session.link.refuse(Rejected(problem, tag))
        if problem.error is ErrorWord.BAD_CREDENTIALS or isinstance(problem, Guessed):
            session.failed_logins += 1
            if 0 < self._limits.failed_logins <= session.failed_logins:
                session.link.hang_up(
                    "failed-logins", "Too many failed logins. Connect again when you have the password."
                )

    # A person at the prompts

    async def _name_typed(self, session: Session, name: str) -> None:
        proved = await self._authenticator.certified(session, name)
        if proved is not None:
            await self._enter(session, c.Login(name=name), proved)
            return
        account = await self._authenticator.named(session, name)
        if session.stage is not Stage.BUSY:
            return
        session.move(Event.NAMED)
        session.typed_name = name
        session.notice(
            f"{name} is not registered yet. Choose a password to register, or press Enter to pick another name."
            if account is None
            else f"Hello {account.name}. Type your password, or press Enter to pick another name."
        )

    async def _password_typed(self, session: Session, password: str) -> None:
        """Logs a known account in, and registers a new one."""
        known = await self._store.read(accounts.find, session.typed_name)
        if session.stage is Stage.BUSY:
            kind = c.Login if known else c.Register
            await self._log_in(session, kind(name=session.typed_name, password=password))

    # Logging in

    async def _log_in(self, session: Session, command: Login) -> None:
        """Logs in or registers. Raises Refused."""
        await self._enter(session, command, await self._authenticator.authenticate(session, command))

    async def _enter(self, session: Session, command: Login, proved: Proved) -> None:
        """Admits somebody who is known now. Raises Refused."""
        person, session.token_id = proved.person, proved.token_id
        session.certificate_id = proved.certificate.id if proved.certificate else 0
        try:
            if session.stage is Stage.BUSY:  # still there
                await self._welcome(session, proved, command)
        finally:
            if person.kind == GUEST and session.account_id != person.id:
                self._not_admitted(person)

    async def _welcome(self, session: Session, proved: Proved, command: Login) -> None:
        person, resume = proved.person, {}
        if isinstance(command, c.Login) and command.resume:
            resume = {name.lower(): seq for name, seq in command.resume.items()}
        recent: Log | None
        with self._registry.pending_login(person.id) as login:
            while True:
                login.stale, recent = False, None
                known = await self._logins.ask((person, session.token_id))
                session.scope = known.scope
                if known.account.gone:  # since the password was checked
                    raise WRONG
                if proved.certificate and await self._authenticator.certified(session, person.name) != proved:
                    raise WRONG_CERTIFICATE  # removed meanwhile
                if known.account.ban is not None:
                    raise Refused(ErrorWord.BANNED, banned_text(known.account.ban))
                current = self._first_room(known.memberships)
                if session.view is not None and current is not None:
                    found, more = await self._store.read(
                        entries.before, current.facts.id, current.seq + 1, current.floor, LINES_SHOWN
                    )
                    recent = Log(current.facts, found, more)
                if session.stage is not Stage.BUSY:
                    return
                if not login.stale:
                    break
            session.account_id, session.name, session.kind = person.id, person.name, known.account.kind
            session.limits = known.limits
            session.move(Event.ADMITTED)
            session.link.admitted()
            self._roster.add(session, known.apart)
            self._registry.subscribe(session, known.memberships, resume)
            if known.scope is not None and known.scope.seconds is not None:
                self._expiry.add(session.token_id, known.scope.seconds)
        audit.logged_in(session.address, person.name, _how(command, proved))
        if session.view is not None and current is not None:
            session.view.current = current.facts.label(person.id)
            session.has_read(current.facts.id, current.seq)  # its last lines are shown
        names = self._names(session) if session.view is not None else []
        if proved.certificate is not None and session.view is not None:
            session.notice(f"You need no password: your certificate {proved.certificate.label} logs you in.")
        session.answer(command.tag, self._greeted(person, known, session.current, names, recent))
        if self._server.motd:
            session.notice(self._server.motd)
        proof = (session.token_id, session.certificate_id)
        self._session_log.add(
            sessions.Opened(session.id, person.id, self._server.node, session.address, self._now(), *proof)
        )
        self._presence.came(session)
        self._registry.catch_up(session)

    def _greeted(
        self, person: Person, known: LoginFacts, current: str, names: list[str], recent: Log | None
    ) -> Welcome:
        """The answer to a login. Somebody may be in thousands of rooms: those that do not fit are counted."""
        lines = [status(one, person) for one in known.memberships]
        lines.sort(key=lambda line: by_label(line.room))
        portion = Portion(self._limits.answer_bytes)
        invitations = portion.head(known.invitations, invited_size)
        if recent is not None:
            recent = last_of(portion, recent, person.id)
        rooms = portion.head(lines, status_size)
        return Welcome(person.name, rooms, current, names, recent, invitations, len(lines) - len(rooms))

    def _first_room(self, memberships: list[Membership]) -> Membership | None:
        """The room that a person looks at first: a default room, else any."""
        for name in self._server.default_rooms:
            for membership in memberships:
                if membership.facts.name == name:
                    return membership
        return memberships[0] if memberships else None

    def _names(self, session: Session) -> list[str]:
        """Some of those who are online in the current room, as far as this person may know."""
        return sorted(self._roster.names(session.room_called(c.CURRENT) or (), session))[:NAMES_SHOWN]

    # Commands that need the password's hash

    async def change_password(self, session: Session, command: c.Password) -> Outcome:
        """The `password` command. Raises Refused where the old one is wrong."""
        self._guard(session, command)
        self._authenticator.check_length(command.new)
        which = await self._authenticator.matching(session, command.old, command.new)
        if not which:
            raise WRONG_PASSWORD
        # If it is the new one, this is a retry: it was changed, and the answer was lost.
        hash = await self._authenticator.hash(session, command.new) if which == 1 else None
        ask = Ask(session.person, self._now())
        return await self._store.write(change_password, ask, hash, others=command.others)

    async def token(self, session: Session, command: c.Token) -> Outcome:
        """The `token` command. Raises Refused where one is to be created and the password is wrong."""
        try:
            self._guard(session, command)
        except Refused:
            if session.view is not None:
                session.view.cancel()
            raise
        forbid_guest(session.person)
        if command.label is not None:
            if not command.password:  # what a person types next is taken for it: see `View`
                return Outcome(Done("Type your password to create the token, or press Enter to leave it."))
            if not await self._authenticator.matching(session, command.password):
                raise WRONG_PASSWORD
        ask = Ask(session.person, self._now(), limits=self._limits)
        return await self._store.write(token, ask, command)

    async def forget(self, session: Session, command: c.Forget) -> Outcome:
        """The `forget` command. Raises Refused where the password is wrong."""
        self._guard(session, command)
        account = await self._store.read(accounts.get, session.account_id)
        if account is not None and account.erased:  # a retry: the answer was lost
            return Outcome(Done("Your account is erased."), effects=[HangUp(session.account_id, *ERASED)])
        if not await self._authenticator.matching(session, command.password):
            raise WRONG_PASSWORD
        others = [other for other in self._roster.sessions(session.account_id) if other is not session]
        for other in others:
            other.link.hang_up(*ERASED)
        await until(
            self._clock, lambda: not any(other.waiting for other in others)
        )  # what they sent before is stored first, and erased too
        ask = Ask(session.person, self._now())
        return await self._store.write(forget, ask, messages=command.messages == "erase")
