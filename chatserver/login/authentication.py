"""Authentication by password, token, certificate and registration code, and of guests; limits on attempts."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from hmac import compare_digest
from typing import Any

from msgspec import Struct, structs

from chatserver.login.address_quotas import Inquiries, Registrations
from chatserver.login.guess_delays import Guesses, Kind
from chatserver.login.guests import GuestPlaces
from chatserver.login.hashing import FULL, HashPlaces, check_length
from chatserver.login.parts import LoginParts
from chatserver.session.session import Session
from chatserver.store import accounts, certificates, kept_sessions, rooms, sessions, tokens
from chatserver.store.accounts import Credentials
from chatserver.store.certificates import Owned
from chatserver.util import audit_log
from chatserver.util.fair_queue import FairQueue
from chatserver.util.rates import RateTable
from chatserver.util.waiting import Batcher, pause, turns
from chatserver.values import commands as c
from chatserver.values.errors import ErrorWord, Refused, Unavailable, Why
from chatserver.values.events import Entry, Person, RoomFacts
from chatserver.values.stages import Stage
from chatserver.wire.addresses import Listed, counted
from chatserver.wire.hygiene import lookalikes

MAX_LOGINS = 100
"""Maximum number of logins to look up in one batch."""

Joined = list[tuple[RoomFacts, list[Entry]]]
Login = c.Login | c.Register | c.Guest

WRONG = Refused(Why.WRONG_PASSWORD_OR_NAME)
WRONG_CERTIFICATE = Refused(Why.WRONG_CERTIFICATE)
WRONG_PASSWORD = Refused(Why.WRONG_PASSWORD)
WRONG_SECRET = Refused(Why.WRONG_SECRET)


class Guessed(Refused):
    """A failed login whose answer does not say so: a wrong registration code, or a wrong password for a name that was
    registered a moment ago. These count as failures, too; otherwise the code, and the password of a new account, could
    be guessed without limit."""


class Proved(Struct, frozen=True):
    """An authenticated person, and the token or certificate that was used. `proof`: of a password, see
    `store.change_rows.proof_of`; 0 for a new account, or another credential. `secret`: that of the kept session
    `token_id`; `by_cookie`: a browser has it, and it is not replaced."""

    person: Person
    token_id: int = 0
    certificate: Owned | None = None
    proof: int = 0
    secret: str = ""
    by_cookie: bool = False

    def __repr__(self) -> str:
        return f"Proved({self.person!r})"


class Authenticator:
    """Checks secrets. Each counts as a guess until it turns out right: see `guess_delays`. All methods raise
    Refused."""

    def __init__(self, parts: LoginParts) -> None:
        limits, passwords = parts.settings.limits, parts.settings.passwords
        self._passwords = passwords
        self._clock = clock = parts.clock
        self._now = parts.now
        self._server = parts.settings.server
        self._limits = limits
        self._store = parts.store
        self._hasher = parts.hasher
        self._registry = parts.registry
        self._guests = parts.guests
        self._reconciler = parts.reconciler
        self._exempt = Listed(lambda: limits.exempt)
        self._queue = FairQueue(HashPlaces(passwords), FULL)
        self._guesses = Guesses(clock, limits, Batcher(self._find_places, MAX_LOGINS, turns(clock)))
        self._inquiries = Inquiries(limits)
        self._registrations = Registrations(limits)
        self.guests = GuestPlaces(limits)
        self._tokens = Batcher(self._find_tokens, MAX_LOGINS, turns(clock))
        self._secrets = Batcher(self._find_sessions, MAX_LOGINS, turns(clock))
        self._certificates = Batcher(self._find_certificates, MAX_LOGINS, turns(clock))

    @property
    def shared(self) -> dict[str, RateTable[Any]]:
        """Counters that all nodes share, by name."""
        return {
            "failures": self._guesses.failures,
            "inquiries": self._inquiries.asked,
            "registrations": self._registrations.lately,
        }

    @property
    def waiting(self) -> int:
        """Number of passwords that wait for a hashing thread."""
        return len(self._queue)

    async def _find_tokens(self, hashes: list[str]) -> list[tuple[int, Person] | None]:
        return await self._store.read(tokens.find, hashes)

    async def _find_sessions(self, secrets: list[str]) -> list[kept_sessions.Found | None]:
        return await self._store.read(kept_sessions.find, secrets)

    async def _find_places(self, names: list[str]) -> list[frozenset[str]]:
        return await self._store.read(sessions.places, names)

    async def _find_certificates(self, sha256s: list[str]) -> list[Owned | None]:
        return await self._store.read(certificates.find, sha256s)

    async def authenticate(self, session: Session, command: Login) -> Proved:
        """Authenticates a login."""
        if isinstance(command, c.Guest):
            return Proved(await self._guest(session))
        if isinstance(command, c.Register):
            return Proved(await self._register(session, command))
        if command.token:
            return await self._token(session, command.token)
        if command.cookie:
            return await self._cookie(session)
        if command.secret:
            return await self.kept(session.address, command.secret)
        if not command.password:
            return await self._certificate(session, command.name)
        return await self._password(session, command)

    # Names

    async def named(self, session: Session, name: str) -> Credentials | None:
        """The account of a name typed at the prompt; None if it can be registered."""
        await self._inquire(session)
        if self._server.registration == "open":
            return await self._claimed(name)
        account: Credentials | None = await self._store.read(accounts.find, name)
        if account is None:
            closed = self._server.registration == "closed"
            raise Refused(Why.NO_SUCH_ACCOUNT_CLOSED if closed else Why.NO_SUCH_ACCOUNT_CODE)
        return account

    async def _claimed(self, name: str) -> Credentials | None:
        account = await self._store.read(accounts.claimed, name, self._now(), self._limits.former_name_days)
        if account is None:
            lookalikes.check_new(name, self._server.reserved_names)
        return account

    async def _inquire(self, session: Session) -> None:
        """Waits until the session may learn whether a name is registered."""
        if session.address not in self._exempt:
            wait, often = self._inquiries.ask(session.address, self._clock.seconds())
            if often:
                audit_log.login_failed(session.address, "", "name")
            if wait > 0:
                await pause(self._clock, wait)

    def _settled(self, session: Session) -> None:
        self._inquiries.settled(session.address, self._clock.seconds())

    # Logging in

    async def _password(self, session: Session, command: c.Login) -> Proved:
        account: Credentials | None = None

        async def right() -> bool:
            nonlocal account
            account = await self._store.read(accounts.find, command.name)
            usable = account is not None and not account.disabled
            # The hash is computed for every name, known or not: both take the same time.
            return await self._verify(session, account.password_hash if account and usable else None, command.password)

        if not await self._is_right(session, "password", command.name, right) or account is None:
            # A name that is not registered may be a password, typed in the wrong place.
            audit_log.login_failed(session.address, account.name if account else "", "password")
            raise WRONG
        if session.typed_name:
            self._settled(session)
        return Proved(account.person, proof=account.proof)

    async def certified(self, session: Session, name: str) -> Proved | None:
        """Authenticates by the certificate alone, if it belongs to the account of this name. Counts as no guess."""
        shown = session.peer.certificate()
        found = await self._certificates.ask(shown) if shown else None
        if found is None or found.person.name.lower() != name.lower():
            return None
        return Proved(found.person, certificate=found)

    async def _certificate(self, session: Session, name: str) -> Proved:
        if not session.peer.certificate():
            raise Refused(Why.NO_PASSWORD_NO_CERTIFICATE)
        proved = await self.certified(session, name)
        if proved is None:  # the answer does not say whether another account has it
            await self._guesses.failed("certificate", session.address)
            audit_log.login_failed(session.address, "", "certificate")
            raise WRONG_CERTIFICATE
        return proved

    async def _token(self, session: Session, token: str) -> Proved:
        """Looks a token up at once, despite failures before: it cannot be guessed, so it lets its owner in
        meanwhile."""
        found = await self._tokens.ask(tokens.token_hash(token))
        if found is None:
            await self._guesses.failed("token", session.address)
            audit_log.login_failed(session.address, "", "token")  # not if refused: delays bound the log
            raise Refused(Why.WRONG_TOKEN)
        token_id, person = found
        return Proved(person, token_id)

    async def _cookie(self, session: Session) -> Proved:
        """A wrong one counts as one guess, and none at all as no guess: the client does not know what its browser
        sends."""
        secret = session.peer.cookie()
        if not secret:
            raise WRONG_SECRET
        try:
            return structs.replace(await self.kept(session.address, secret), by_cookie=True)
        except Refused as refused:
            if refused.error is ErrorWord.BAD_CREDENTIALS:
                session.peer.drop_cookie()
            raise

    async def kept(self, address: str, secret: str) -> Proved:
        """Looks the secret of a kept session up at once, as a token. One that was replaced some time ago ends the
        session: see `store.kept_sessions`."""
        found = await self._secrets.ask(secret)
        if found is not None and not found.copied:
            return Proved(found.person, found.id, secret=secret)
        if found is not None and await self._store.write(kept_sessions.end_copied, secret, self._now()):
            audit_log.copied(address, found.person.name, found.id)
        await self._guesses.failed("secret", address)
        audit_log.login_failed(address, "" if found is None else found.person.name, "secret")
        raise WRONG_SECRET

    async def matching(self, session: Session, *passwords: str) -> int:
        """Returns which of these passwords, from 1, is that of the session's account; 0 for none."""

        async def right() -> int:
            account: Credentials | None = await self._store.read(accounts.get, session.who.account_id)
            for number, password in enumerate(passwords, 1):
                if await self._verify(session, account.password_hash if account else None, password):
                    return number
            return 0

        which = await self._guesses.check("password", session.address, session.who.name, right, _wanted(session))
        if not which:
            audit_log.login_failed(session.address, session.who.name, "password")
        return which

    async def _is_right(self, session: Session, kind: Kind, name: str, work: Callable[[], Awaitable[bool]]) -> bool:
        return await self._guesses.check(kind, session.address, name, work, _wanted(session))

    # Hashing

    async def hash(self, session: Session, password: str) -> str:
        work = partial(self._hasher.hash, password)
        return await self._queue.run(counted(session.address), work, _wanted(session))

    async def _verify(self, session: Session, hash: str | None, password: str) -> bool:
        work = partial(self._hasher.verify, hash, password)
        return await self._queue.run(counted(session.address), work, _wanted(session))

    # New accounts

    async def _guest(self, session: Session) -> Person:
        if not self._server.guests:
            raise Refused(Why.NO_GUESTS)
        self.guests.take(session)
        at = self._now()
        try:
            return await self._create(rooms.register_guest, at)
        except Unavailable:
            self._guests.lost(at)
            raise

    async def _create(
        self, work: Callable[..., tuple[Person, Joined]], at: datetime, *args: str, **more: Any
    ) -> Person:
        """Creates an account with a function of the store, and announces it in its rooms."""
        try:
            person, joined = await self._store.write(work, *args, self._server.default_rooms, at, **more)
        except Unavailable:
            self._reconciler.suspect(None)
            raise
        for facts, new in joined:
            if not self._registry.order.announce(facts, new):  # the account exists: its login goes on
                self._reconciler.suspect(person)
        return person

    async def _register(self, session: Session, command: c.Register) -> Person:
        if self._server.registration == "closed":
            raise Refused(Why.REGISTRATION_CLOSED)
        if self._server.registration == "code":
            await self._check_code(session, command.code)
        check_length(self._passwords, command.password)
        if command.name != session.typed_name:  # otherwise the inquiry is counted already
            await self._inquire(session)
        known = await self._claimed(command.name)
        if known is not None:  # before the hash, which is expensive
            return await self._register_again(session, command, known)
        try:
            person = await self._register_new(session, command)
        except Refused as refused:
            if refused.error is not ErrorWord.NAME_TAKEN:
                raise
            # It was registered meanwhile: by somebody else, or by an earlier attempt of this client.
            known = await self._store.read(accounts.find, command.name)
            person = await self._register_again(session, command, known)
        self._settled(session)
        return person

    async def _check_code(self, session: Session, code: str) -> None:
        if not code:
            raise Refused(Why.WRONG_CODE)

        async def right() -> bool:
            return compare_digest(code.encode(), self._server.registration_code.encode())

        if not await self._is_right(session, "code", "", right):
            audit_log.login_failed(session.address, "", "code")
            raise Guessed(Why.WRONG_CODE)

    async def _register_new(self, session: Session, command: c.Register) -> Person:
        at = self._clock.seconds()
        limited = session.address not in self._exempt
        if limited:  # at once, or many could register at the same time
            self._registrations.take(session.address, at)
        try:
            hash = await self.hash(session, command.password)
            person = await self._create(
                rooms.register, self._now(), command.name, hash, former_days=self._limits.former_name_days
            )
        except Exception:
            if limited:
                self._registrations.give_back(session.address, at)
            raise
        audit_log.registered(session.address, person.name)
        return person

    async def _register_again(self, session: Session, command: c.Register, known: Credentials | None) -> Person:
        """Logs in to an account that was registered a moment ago with the same password: this is a retry after a lost
        answer. Raises Refused(name-taken) for any other account, without looking at its password."""
        taken = accounts.name_taken(command.name)
        if known is None or known.disabled or known.created_at <= self._now() - accounts.RETRY_WINDOW:
            raise taken
        right = partial(self._verify, session, known.password_hash, command.password)
        if not await self._is_right(session, "password", known.name, right):
            audit_log.login_failed(session.address, known.name, "password")
            raise Guessed(Why.NAME_TAKEN_LOG_IN, name=command.name)
        return known.person


def _wanted(session: Session) -> Callable[[], bool]:
    """Whether the session's client still waits."""
    return lambda: session.stage is not Stage.ENDING
