"""From the first line to being logged in."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from hmac import compare_digest

from twisted.logger import Logger

from chatserver import commands as c
from chatserver import encode
from chatserver.batcher import Batcher
from chatserver.config import Limits, Server
from chatserver.errors import ErrorWord, Refused, Unavailable
from chatserver.events import Done, HelpText, Log, Person, RoomStatus, Standing, Welcome
from chatserver.handlers.order import banned_text
from chatserver.handlers.outcome import Ask, HangUp, Outcome
from chatserver.handlers.people import ERASED, forget, token_hash
from chatserver.handlers.talk import status
from chatserver.ledger import Ledger
from chatserver.passwords import Hasher
from chatserver.presence import Presence
from chatserver.registry import Registry
from chatserver.session import Dialect, Rejected, Session, Stage
from chatserver.store import accounts, arrivals, messages, rooms, sessions
from chatserver.store.arrivals import Known
from chatserver.store.threads import Store
from chatserver.turns import Turn
from chatserver.wire import jsonl, text
from chatserver.wire.hygiene import password as clean_password

LOGINS = 100
"""At most so many are looked up at once."""
LINES_SHOWN = 10
NAMES_SHOWN = 6

_LOGINS: tuple[type[c.Command], ...] = (c.Login, c.Register, c.Guest)

ADMITTED: dict[Stage, tuple[type[c.Command], ...]] = {
    Stage.GREETING: (*_LOGINS, c.Help, c.Ping, c.Quit),
    Stage.IN: (c.Look, *(kind for kind in c.COMMANDS if kind not in _LOGINS)),
}
"""What is legal when. At the PASSWORD prompt a line is a password; while BUSY or ENDING nothing is read."""

Entrance = c.Login | c.Register | c.Guest

WRONG = Refused(ErrorWord.BAD_CREDENTIALS, "Name or password is wrong. Try again.")


def admit(stage: Stage, command: c.Command) -> None:
    """Raises Refused for a command that this stage does not admit."""
    if type(command) not in ADMITTED[stage]:
        if stage is Stage.IN:
            raise Refused(ErrorWord.BAD_COMMAND, "You are logged in already. Log out to be somebody else.")
        raise Refused(ErrorWord.LOGIN_REQUIRED, "Log in first, or register.")


class Handshake:
    """Logs sessions in. Its coroutines set `Session.stage`; the caller reads nothing of a session that is BUSY."""

    log = Logger()

    def __init__(
        self,
        store: Store,
        hasher: Hasher,
        registry: Registry,
        presence: Presence,
        ledger: Ledger,
        now: Callable[[], datetime],
        server: Server,
        limits: Limits,
        min_length: int,
        turn: Turn,
    ) -> None:
        self._store = store
        self._hasher = hasher
        self._registry = registry
        self._presence = presence
        self._ledger = ledger
        self._now = now
        self._server = server
        self._limits = limits
        self._min_length = min_length
        self._tokens = Batcher(self._find_tokens, LOGINS, turn)
        self._arrivals = Batcher(self._look_up, LOGINS, turn)

    async def _find_tokens(self, hashes: list[str]) -> list[tuple[int, Person] | None]:
        return await self._store.read(accounts.find_tokens, hashes)

    async def _look_up(self, arriving: list[tuple[Person, int]]) -> list[Known]:
        return await self._store.read(arrivals.look_up, arriving, self._now())

    def greeting(self) -> bytes:
        words = self._server.greeting or f"Welcome to {self._server.name}. Type your name to come in, or /help."
        return encode.notice(words)

    def line(self, session: Session, line: str) -> Awaitable[None] | None:
        """Takes a line of somebody who is not logged in. Where that needs time, gives what is to be awaited.

        Raises Undecodable as the grammars do.
        """
        if session.stage is Stage.PASSWORD:
            return self._password_typed(session, line)
        tag: c.Tag | None = None
        try:
            if session.dialect is Dialect.JSON:
                word: c.Command | str = jsonl.parse(line)
            elif not line.strip():
                return None
            else:
                word = text.parse_greeting(line)
            if isinstance(word, str):
                return self._name_typed(session, word)
            tag = word.tag
            admit(Stage.GREETING, word)
        except jsonl.Rejected as rejected:
            session.refuse(Rejected(rejected.refusal, rejected.tag))
            return None
        except Refused as refused:
            session.refuse(Rejected(refused, tag))
            return None
        if isinstance(word, (c.Login, c.Register, c.Guest)):
            return self._enter(session, word)
        about = word.about if isinstance(word, c.Help) else None
        session.write(encode.answer(session, tag, Done() if about is None else HelpText(about)))
        if isinstance(word, c.Quit):
            session.hang_up("", "")
        return None

    # A person at the prompts

    async def _name_typed(self, session: Session, name: str) -> None:
        session.stage = Stage.BUSY
        try:
            account = await self._store.read(accounts.find, name)
        except Unavailable as refused:
            session.stage = Stage.GREETING
            session.refuse(Rejected(refused))
            return
        if session.stage is not Stage.BUSY:
            return
        if account is None and self._server.registration != "open":
            session.stage = Stage.GREETING
            how = (
                "no new people are taken in here. Type another name."
                if self._server.registration == "closed"
                else "to register takes a code: /register NAME PASSWORD code=CODE"
            )
            session.refuse(Rejected(Refused(ErrorWord.CLOSED_REGISTRATION, f"Nobody is called so, and {how}")))
            return
        session.stage = Stage.PASSWORD
        session.typed_name = name
        session.write(encode.notice(
            f"Nobody is called {name} yet. Choose a password to register, or press Enter to pick another name."
            if account is None
            else f"Hello {account.name}. Type your password, or press Enter to pick another name."
        ))  # fmt: skip

    def _password_typed(self, session: Session, line: str) -> Awaitable[None] | None:
        if not line:
            session.stage = Stage.GREETING
            session.write(encode.notice("Type your name to come in."))
            return None
        try:
            password = clean_password(line)
        except Refused as refused:
            session.refuse(Rejected(refused))
            return None
        return self._known_or_new(session, session.typed_name, password)

    async def _known_or_new(self, session: Session, name: str, password: str) -> None:
        """The person at the prompt has chosen: who is known logs in, who is not registers."""
        session.stage = Stage.BUSY
        try:
            known = await self._store.read(accounts.find, name)
        except Unavailable as refused:
            session.stage = Stage.PASSWORD
            session.refuse(Rejected(refused))
            return
        if session.stage is Stage.BUSY:
            kind = c.Login if known else c.Register
            await self._enter(session, kind(name=name, password=password), Stage.PASSWORD)

    # Logging in

    async def _enter(self, session: Session, command: Entrance, again: Stage = Stage.GREETING) -> None:
        """Logs in or registers; where that fails, the session is back at the stage `again`."""
        session.stage = Stage.BUSY
        try:
            person, token_id = await self._admit(command)
            session.token_id = token_id
            if session.stage is Stage.BUSY:  # still there
                await self._welcome(session, person, command)
            return
        except Refused as refused:
            problem = refused
        except Exception:
            self.log.failure("A login failed.")
            problem = Unavailable("Something went wrong in the server; it is in its log. Try again.")
        if session.stage is not Stage.BUSY:
            return
        session.stage = again if problem.error is not ErrorWord.NAME_TAKEN else Stage.GREETING
        session.refuse(Rejected(problem, command.tag))
        if problem.error is ErrorWord.BAD_CREDENTIALS:
            session.failed_logins += 1
            if 0 < self._limits.failed_logins <= session.failed_logins:
                session.hang_up("failed-logins", "Too many failed logins. Connect again when you have the password.")

    async def _admit(self, command: Entrance) -> tuple[Person, int]:
        """Who comes in, and the id of the token that they came with, or 0. Raises Refused."""
        if isinstance(command, c.Guest):
            return await self._guest(), 0
        if isinstance(command, c.Register):
            return await self._register(command), 0
        if command.token:
            found = await self._tokens.ask(token_hash(command.token))
            if found is None:
                raise Refused(ErrorWord.BAD_CREDENTIALS, "That token is not known, or is revoked. Make a new one.")
            return found[1], found[0]
        account = await self._store.read(accounts.find, command.name)
        usable = account is not None and not account.disabled
        right = await self._hasher.verify(account.password_hash if account and usable else None, command.password)
        if account is None or not right:
            raise WRONG
        return account.person, 0

    async def _guest(self) -> Person:
        if not self._server.guests:
            raise Refused(ErrorWord.NOT_ALLOWED, "There are no guests here. Register, or log in.")
        person, joined = await self._store.write(rooms.register_guest, self._server.default_rooms, self._now())
        for facts, entries in joined:
            self._registry.publish(facts, entries)
        return person

    def _check_length(self, password: str) -> None:
        if len(password) < self._min_length:
            raise Refused(ErrorWord.BAD_PASSWORD, f"A password has {self._min_length} characters or more. Choose one.")

    async def _register(self, command: c.Register) -> Person:
        if self._server.registration == "closed":
            raise Refused(ErrorWord.CLOSED_REGISTRATION, "No new people are taken in here. Log in with a known name.")
        if self._server.registration == "code":
            wanted = self._server.registration_code
            if not compare_digest(command.code.encode(), wanted.encode()):
                raise Refused(
                    ErrorWord.CLOSED_REGISTRATION, "To register takes the right code. Ask those who run this."
                )
        self._check_length(command.password)
        if await self._store.read(accounts.find, command.name) is not None:
            raise accounts.name_taken(command.name)  # before the hash, which is dear
        hash = await self._hasher.hash(command.password)
        person, joined = await self._store.write(
            rooms.register, command.name, hash, self._server.default_rooms, self._now()
        )
        for facts, entries in joined:
            self._registry.publish(facts, entries)
        return person

    async def _welcome(self, session: Session, person: Person, command: Entrance) -> None:
        resume = {}
        if isinstance(command, c.Login) and command.resume:
            resume = {name.lower(): seq for name, seq in command.resume.items()}
        recent: list[Log] = []
        with self._registry.arriving(person.id) as arrival:
            while True:
                arrival.stale = False
                known = await self._arrivals.ask((person, session.token_id))
                if known.account.gone:  # since the password was read
                    raise WRONG
                if known.account.ban is not None:
                    raise Refused(ErrorWord.BANNED, banned_text(known.account.ban))
                current = self._current(known.standings)
                if session.dialect is Dialect.TEXT and current is not None:
                    entries, more = await self._store.read(
                        messages.before, current.facts.id, current.seq + 1, current.floor, LINES_SHOWN
                    )
                    recent = [Log(current.facts, entries, more)]
                if session.stage is not Stage.BUSY:
                    return
                if not arrival.stale:
                    break
            session.account_id, session.name, session.kind = person.id, person.name, known.account.kind
            session.stage = Stage.IN
            self._registry.arrive(session, known.standings, resume, known.apart)
        session.current = current.facts.label(person.id) if current else c.CURRENT
        if current is not None:
            session.has_read(current.facts.id, current.seq)  # its last lines are shown
        lines: list[RoomStatus] = [status(s.facts, person, s.seq, s.read, s.role) for s in known.standings]
        session.write(encode.answer(session, command.tag, Welcome(
            person.name, lines, isinstance(command, c.Register), session.current,
            self._names(session), recent[0] if recent else None, known.invitations,
        )))  # fmt: skip
        if self._server.motd:
            session.write(encode.notice(self._server.motd))
        self._ledger.add(
            sessions.Opened(session.id, person.id, self._server.node, session.address, self._now(), session.token_id)
        )
        self._presence.came(session)
        session.admitted()
        self._registry.catch_up(session)

    def _current(self, standings: list[Standing]) -> Standing | None:
        """The room that a person looks at first: a default room, else any."""
        for name in self._server.default_rooms:
            for standing in standings:
                if standing.facts.name == name:
                    return standing
        return standings[0] if standings else None

    def _names(self, session: Session) -> list[str]:
        """Some of those who are online in the current room."""
        room = session.room_called("")
        if session.dialect is Dialect.JSON or room is None:
            return []
        names = dict.fromkeys(other.name for other in room if other.account_id != session.account_id)
        return sorted(names)[:NAMES_SHOWN]

    async def change_password(self, session: Session, command: c.Password) -> Outcome:
        """The `password` command. Raises Refused where the old one is wrong."""
        self._check_length(command.new)
        await self._check_password(session, command.old)
        hash = await self._hasher.hash(command.new)
        await self._store.write(accounts.set_password, session.account_id, hash)
        gone = HangUp(session.account_id, "password", "Your password was changed. Log in with the new one.", spare=True)
        return Outcome(Done("Your password is changed."), effects=[gone] if command.others else [])

    async def forget(self, session: Session, command: c.Forget) -> Outcome:
        """The `forget` command. Raises Refused where the password is wrong."""
        await self._check_password(session, command.password)
        others = [other for other in self._registry.sessions(session.account_id) if other is not session]
        for other in others:
            other.hang_up(*ERASED)
        await self._registry.quiet(others)  # what they had still to say is said before, and erased too
        ask = Ask(session.person, self._now())
        return await self._store.write(forget, ask, messages=command.messages == "erase")

    async def _check_password(self, session: Session, password: str) -> None:
        account = await self._store.read(accounts.get, session.account_id)
        if account is None or not await self._hasher.verify(account.password_hash, password):
            raise Refused(ErrorWord.BAD_CREDENTIALS, "The password is wrong. Nothing was changed.")
