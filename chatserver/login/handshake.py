"""The handshake: everything between a client's first line and its login."""

from collections.abc import Awaitable

from twisted.logger import Logger

from chatserver.handlers.server_facts import server_facts
from chatserver.login.authentication import Authenticator, Guessed, Login, Proved
from chatserver.login.cleartext import Cleartext, remedy
from chatserver.login.cookies import Cookies
from chatserver.login.entrance import Entrance
from chatserver.login.parts import LoginParts
from chatserver.login.password_commands import Sensitive
from chatserver.login.prompts import Prompts
from chatserver.session.session import Session
from chatserver.values import commands as c
from chatserver.values.answers import Done, HelpText
from chatserver.values.errors import FAULT, FAULTY, ErrorWord, Note, Refused, Rejected, Sentence, Why
from chatserver.values.events import BOT, GUEST
from chatserver.values.stages import Event, Stage, misplaced


class Handshake:
    """Logs sessions in. While its coroutines run the session is BUSY, and the caller reads nothing from it."""

    log = Logger()

    def __init__(self, parts: LoginParts) -> None:
        self._settings = parts.settings
        self._server = parts.settings.server
        self._limits = parts.settings.limits
        self._guests = parts.guests
        self._cleartext = Cleartext(self._server)
        self.authenticator = Authenticator(parts)
        self.prompts = Prompts(parts.settings, self._cleartext)
        self._entrance = Entrance(parts, self.authenticator, self.prompts)
        self.cookies = Cookies(parts, self.authenticator)
        self.sensitive = Sensitive(parts, self.authenticator, self.prompts, self._cleartext)

    @property
    def passwords_waiting(self) -> int:
        """Number of passwords that wait for a hashing thread."""
        return self.authenticator.waiting

    @property
    def contact(self) -> str:
        """Contact for people who cannot log in; "" if there is none."""
        return self._server.contact

    @property
    def greeting(self) -> str | Sentence:
        """The server's first words."""
        return self._server.greeting or Sentence(Note.WELCOME, server=self._server.name)

    def greet(self, session: Session) -> None:
        """Sends the greeting and, where no password may be sent, a warning."""
        session.notice(self.greeting)
        if self._cleartext.forbids(session):
            session.notice(remedy(self._server, for_people=True).sentence)

    def receive(self, session: Session, parsed: c.Command | Rejected | None) -> Awaitable[None] | None:
        """Handles a line of a client that is not logged in. Returns what to await, if that takes time."""
        if parsed is None:
            self.prompts.ask(session)
            return None
        rejected = parsed if isinstance(parsed, Rejected) else misplaced(session.stage, parsed)
        if rejected is not None:
            self.prompts.refuse(session, rejected)
            return None
        assert isinstance(parsed, c.Command)
        try:
            self._cleartext.check(session, parsed)
        except Refused as refused:
            if session.stage is not Stage.GREETING:  # the setting has changed since it was asked for
                self.prompts.move(session, Event.CANCELLED)
            self.prompts.refuse(session, Rejected(refused, parsed.tag, parsed.cmd))
            return None
        match parsed:
            case c.TypedName(name=name):
                return self._check(session, self._name_typed(session, name), Event.RETURNED)
            case c.TypedAnswer(yes=yes):
                self.prompts.step(session, Event.CONFIRMED if yes else Event.CANCELLED)
            case c.TypedPassword(password=password):
                attempt = self.prompts.password(session, password)
                if attempt is not None:
                    return self._check(session, self._log_in(session, attempt[0]), attempt[1])
            case c.Login() | c.Register() | c.Guest():
                return self._check(session, self._log_in(session, parsed), Event.RETURNED, parsed)
            case c.Help(about=about):
                session.answer(parsed.tag, HelpText(about), parsed.cmd)
                if session.stage is not Stage.GREETING:
                    self.prompts.ask(session)
            case c.Server():
                session.answer(parsed.tag, server_facts(self._settings, session), parsed.cmd)
                self.prompts.ask(session)
            case _:
                session.answer(parsed.tag, Done(), parsed.cmd)
                if isinstance(parsed, c.Quit):
                    session.link.hang_up("")
        return None

    async def _check(
        self, session: Session, work: Awaitable[None], failed: Event, command: c.Command | None = None
    ) -> None:
        """Awaits the work, while nothing is read from the client. If it fails, `failed` leads back to the stage from
        which it can be tried again. `command`: what a program sent."""
        session.move(Event.CHECKING)
        try:
            await work
            return
        except Refused as refused:
            problem = refused
        except Exception:
            self.log.failure("A login failed with an unexpected error.")
            problem = FAULT
        if session.stage is Stage.IN:  # admitted but not answered: its state is unknown
            session.link.hang_up(*FAULTY)
        if session.stage is not Stage.BUSY:  # gone
            return
        taken = problem.error is ErrorWord.NAME_TAKEN  # another password does not help
        self.prompts.move(session, Event.RETURNED if taken else failed)
        if problem.error is ErrorWord.BAD_CREDENTIALS:
            problem = self.prompts.wrong(session, problem)
        rejected = Rejected(problem) if command is None else Rejected(problem, command.tag, command.cmd)
        session.link.refuse(rejected)
        if problem.error is ErrorWord.BAD_CREDENTIALS or isinstance(problem, Guessed):
            session.failed_logins += 1
            if 0 < self._limits.failed_logins <= session.failed_logins:
                remedy = self.prompts.remedy(session)
                ended = Sentence(Note.FAILED_LOGINS)
                session.link.hang_up("failed-logins", ended.then(remedy) if remedy else ended)
        self.prompts.ask(session)

    # A person at the prompts

    async def _name_typed(self, session: Session, name: str) -> None:
        proved = await self.authenticator.certified(session, name)
        if proved is not None:
            await self._enter(session, c.Login(name=name), proved)
            return
        account = await self.authenticator.named(session, name)
        if account is not None and account.kind == BOT:
            raise Refused(Why.BOT_NEEDS_TOKEN, name=account.name)
        if session.stage is Stage.BUSY:
            self.prompts.named(session, account.name if account else name, known=account is not None)

    # Logging in

    async def _log_in(self, session: Session, command: Login) -> None:
        """Logs in or registers. Raises Refused."""
        await self._enter(session, command, await self.authenticator.authenticate(session, command))

    async def _enter(self, session: Session, command: Login, proved: Proved) -> None:
        """Admits an authenticated person. Raises Refused."""
        person = proved.person
        try:
            if session.stage is Stage.BUSY:  # still there
                await self._entrance.admit(session, proved, command)
        finally:
            if person.kind == GUEST and session.who.account_id != person.id:
                self._guests.not_admitted(person)
