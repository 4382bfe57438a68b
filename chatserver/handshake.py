"""The handshake: everything between a client's first line and its login."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from hmac import compare_digest
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatserver import commands as c
from chatserver.answers import Done, HelpText, Log, RoomStatus, Welcome
from chatserver.batcher import Batcher
from chatserver.config import Settings
from chatserver.delivery.registry import Registry
from chatserver.errors import FAULT, FAULTY, ErrorWord, Refused, Rejected, Unavailable, banned_text
from chatserver.events import GUEST, Entry, Membership, Person, RoomFacts
from chatserver.handlers.accounts import ERASED, forget
from chatserver.handlers.messages import status
from chatserver.handlers.outcome import Ask, HangUp, Outcome
from chatserver.passwords import Hasher
from chatserver.presence import Presence
from chatserver.roster import Roster
from chatserver.session import Session
from chatserver.sessionlog import SessionLog
from chatserver.stages import Event, Stage
from chatserver.store import accounts, entries, logins, rooms, sessions, tokens
from chatserver.store.accounts import Credentials
from chatserver.store.logins import LoginFacts
from chatserver.store.threads import Store
from chatserver.turns import turns, until

MAX_LOGINS = 100
"""So many logins are looked up in one batch."""
LINES_SHOWN = 10
NAMES_SHOWN = 6

Joined = list[tuple[RoomFacts, list[Entry]]]
Login = c.Login | c.Register | c.Guest
_LOGINS: Final = (c.Login, c.Register, c.Guest)

LEGAL: Final[dict[Stage, frozenset[type[c.Command]]]] = {
    Stage.GREETING: frozenset({*_LOGINS, c.TypedName, c.Help, c.Ping, c.Quit}),
    Stage.PASSWORD: frozenset({c.TypedPassword}),
    Stage.IN: frozenset[type[c.Command]]({c.Look, *c.COMMANDS}).difference(_LOGINS),
}
"""The commands that each stage takes. At the others nothing is read."""

WRONG = Refused(ErrorWord.BAD_CREDENTIALS, "Wrong name or password. Try again.")
WRONG_PASSWORD = Refused(ErrorWord.BAD_CREDENTIALS, "The password is wrong. Nothing was changed.")


def misplaced(stage: Stage, command: c.Command) -> Rejected | None:
    """The refusal of a command that this stage does not take."""
    if type(command) in LEGAL[stage]:
        return None
    if stage is Stage.IN:
        refused = Refused(ErrorWord.BAD_COMMAND, "You are already logged in. Log out first to use another account.")
    else:
        refused = Refused(ErrorWord.LOGIN_REQUIRED, "Log in first, or register.")
    return Rejected(refused, command.tag)


class _Guessed(Refused):
    """Somebody registers a name that was registered a moment ago, with another password. For the client the name is
    taken; for the server it is a failed login, or the password of a new account could be guessed without limit."""


def _ignore(_: object) -> None:
    pass


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
        self._min_length = settings.passwords.min_length
        self._store = store
        self._hasher = hasher
        self._registry = registry
        self._roster = roster
        self._presence = presence
        self._session_log = session_log
        self._not_admitted = not_admitted
        self._guest_lost = guest_lost
        self._suspect = suspect
        self._tokens = Batcher(self._find_tokens, MAX_LOGINS, turns(clock))
        self._logins = Batcher(self._look_up, MAX_LOGINS, turns(clock))

    async def _find_tokens(self, hashes: list[str]) -> list[tuple[int, Person] | None]:
        return await self._store.read(tokens.find, hashes)

    async def _look_up(self, people: list[tuple[Person, int]]) -> list[LoginFacts]:
        return await self._store.read(logins.look_up, people)

    @property
    def greeting(self) -> str:
        """The server's first words."""
        return self._server.greeting or f"Welcome to {self._server.name}. Type your name to log in, or /help."

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
        if problem.error is ErrorWord.BAD_CREDENTIALS or isinstance(problem, _Guessed):
            session.failed_logins += 1
            if 0 < self._limits.failed_logins <= session.failed_logins:
                session.link.hang_up(
                    "failed-logins", "Too many failed logins. Connect again when you have the password."
                )

    # A person at the prompts

    async def _name_typed(self, session: Session, name: str) -> None:
        account = await self._store.read(accounts.find, name)
        if session.stage is not Stage.BUSY:
            return
        if account is None and self._server.registration != "open":
            how = (
                "registration is closed. Type another name."
                if self._server.registration == "closed"
                else "registration needs a code: /register NAME PASSWORD code=CODE"
            )
            raise Refused(ErrorWord.CLOSED_REGISTRATION, f"There is no such account, and {how}")
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
        person, session.token_id = await self._authenticate(command)
        try:
            if session.stage is Stage.BUSY:  # still there
                await self._welcome(session, person, command)
        finally:
            if person.kind == GUEST and session.account_id != person.id:
                self._not_admitted(person)

    async def _authenticate(self, command: Login) -> tuple[Person, int]:
        """Who logs in, and the id of the token used, or 0. Raises Refused."""
        if isinstance(command, c.Guest):
            return await self._guest(), 0
        if isinstance(command, c.Register):
            return await self._register(command), 0
        if command.token:
            found = await self._tokens.ask(tokens.token_hash(command.token))
            if found is None:
                raise Refused(ErrorWord.BAD_CREDENTIALS, "This token is unknown or revoked. Create a new one.")
            return found[1], found[0]
        account = await self._store.read(accounts.find, command.name)
        usable = account is not None and not account.disabled
        right = await self._hasher.verify(account.password_hash if account and usable else None, command.password)
        if account is None or not right:
            raise WRONG
        return account.person, 0

    async def _guest(self) -> Person:
        if not self._server.guests:
            raise Refused(ErrorWord.NOT_ALLOWED, "This server does not admit guests. Register, or log in.")
        at = self._now()
        try:
            return await self._create(rooms.register_guest, at)
        except Unavailable:
            self._guest_lost(at)
            raise

    async def _create(self, work: Callable[..., tuple[Person, Joined]], at: datetime, *args: str) -> Person:
        """Runs a function of the store that creates an account, and announces in which rooms it is."""
        try:
            person, joined = await self._store.write(work, *args, self._server.default_rooms, at)
        except Unavailable:
            self._suspect(None)
            raise
        for facts, new in joined:
            try:
                self._registry.announce(facts, new)
            except Exception:  # the account exists: its login goes on, and the room is read again
                self.log.failure("Entries of room {room} could not be announced.", room=facts.id)
                self._suspect(person)
        return person

    def _check_length(self, password: str) -> None:
        if len(password) < self._min_length:
            raise Refused(
                ErrorWord.BAD_PASSWORD, f"A password needs at least {self._min_length} characters. Choose a longer one."
            )

    async def _register(self, command: c.Register) -> Person:
        if self._server.registration == "closed":
            raise Refused(ErrorWord.CLOSED_REGISTRATION, "Registration is closed. Log in with an existing account.")
        if self._server.registration == "code":
            wanted = self._server.registration_code
            if not compare_digest(command.code.encode(), wanted.encode()):
                raise Refused(
                    ErrorWord.CLOSED_REGISTRATION,
                    "The registration code is missing or wrong. Ask the server's operators for it.",
                )
        self._check_length(command.password)
        known = await self._store.read(accounts.find, command.name)
        if known is not None:  # before the hash, which is expensive
            return await self._register_again(command, known)
        hash = await self._hasher.hash(command.password)
        try:
            return await self._create(rooms.register, self._now(), command.name, hash)
        except Refused as refused:
            if refused.error is not ErrorWord.NAME_TAKEN:
                raise
        # It was registered meanwhile: by somebody else, or by an earlier attempt of this client.
        return await self._register_again(command, await self._store.read(accounts.find, command.name))

    async def _register_again(self, command: c.Register, known: Credentials | None) -> Person:
        """Logs in to an account that was registered a moment ago with the same password: this is a retry, and the first
        answer was lost. Raises Refused(name-taken) for any other account, without looking at its password."""
        taken = accounts.name_taken(command.name)
        if known is None or known.disabled or known.created_at <= self._now() - accounts.RETRY_WINDOW:
            raise taken
        if not await self._hasher.verify(known.password_hash, command.password):
            raise _Guessed(taken.error, taken.text)
        return known.person

    async def _welcome(self, session: Session, person: Person, command: Login) -> None:
        resume = {}
        if isinstance(command, c.Login) and command.resume:
            resume = {name.lower(): seq for name, seq in command.resume.items()}
        recent: Log | None
        with self._registry.pending_login(person.id) as login:
            while True:
                login.stale, recent = False, None
                known = await self._logins.ask((person, session.token_id))
                if known.account.gone:  # since the password was checked
                    raise WRONG
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
            session.move(Event.ADMITTED)
            session.link.admitted()
            self._roster.add(session, known.apart)
            self._registry.subscribe(session, known.memberships, resume)
        if session.view is not None and current is not None:
            session.view.current = current.facts.label(person.id)
            session.has_read(current.facts.id, current.seq)  # its last lines are shown
        lines: list[RoomStatus] = [status(one.facts, person, one.seq, one.read, one.role) for one in known.memberships]
        names = self._names(session) if session.view is not None else []
        session.answer(command.tag, Welcome(person.name, lines, session.current, names, recent, known.invitations))
        if self._server.motd:
            session.notice(self._server.motd)
        self._session_log.add(
            sessions.Opened(session.id, person.id, self._server.node, session.address, self._now(), session.token_id)
        )
        self._presence.came(session)
        self._registry.catch_up(session)

    def _first_room(self, memberships: list[Membership]) -> Membership | None:
        """The room that a person looks at first: a default room, else any."""
        for name in self._server.default_rooms:
            for membership in memberships:
                if membership.facts.name == name:
                    return membership
        return memberships[0] if memberships else None

    def _names(self, session: Session) -> list[str]:
        """Some of those who are online in the current room."""
        room = session.room_called(c.CURRENT)
        names = dict.fromkeys(other.name for other in room or () if other.account_id != session.account_id)
        return sorted(names)[:NAMES_SHOWN]

    # Commands that need the password's hash

    async def change_password(self, session: Session, command: c.Password) -> Outcome:
        """The `password` command. Raises Refused where the old one is wrong."""
        self._check_length(command.new)
        account = await self._store.read(accounts.get, session.account_id)
        if await self._is_right(account, command.old):
            hash = await self._hasher.hash(command.new)
            await self._store.write(accounts.set_password, session.account_id, hash)
        elif not await self._is_right(account, command.new):  # else a retry: it was changed, and the answer was lost
            raise WRONG_PASSWORD
        gone = HangUp(session.account_id, "password", "Your password was changed. Log in with the new one.", spare=True)
        return Outcome(Done("You changed your password."), effects=[gone] if command.others else [])

    async def forget(self, session: Session, command: c.Forget) -> Outcome:
        """The `forget` command. Raises Refused where the password is wrong."""
        account = await self._store.read(accounts.get, session.account_id)
        if account is not None and account.erased:  # a retry: the answer was lost
            return Outcome(Done("Your account is erased."), effects=[HangUp(session.account_id, *ERASED)])
        if not await self._is_right(account, command.password):
            raise WRONG_PASSWORD
        others = [other for other in self._roster.sessions(session.account_id) if other is not session]
        for other in others:
            other.link.hang_up(*ERASED)
        await until(
            self._clock, lambda: not any(other.waiting for other in others)
        )  # what they sent before is stored first, and erased too
        ask = Ask(session.person, self._now())
        return await self._store.write(forget, ask, messages=command.messages == "erase")

    async def _is_right(self, account: Credentials | None, password: str) -> bool:
        return account is not None and await self._hasher.verify(account.password_hash, password)
