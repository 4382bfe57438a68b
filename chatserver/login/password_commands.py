"""Commands about the account that ask for the password again, or concern its kept sessions."""

from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec

from chatserver.handlers.accounts import ERASED, change_password, forget, log_out, rename, sessions, token
from chatserver.handlers.cluster_notes import written
from chatserver.handlers.outcome import Ask, End, HangUp, Outcome
from chatserver.handlers.rights import forbid_bot, forbid_guest
from chatserver.login.authentication import WRONG_PASSWORD, Authenticator
from chatserver.login.cleartext import Cleartext
from chatserver.login.hashing import check_length
from chatserver.login.parts import LoginParts
from chatserver.login.prompts import Prompts
from chatserver.pipeline.parts import SlowHandlers
from chatserver.session.session import Session
from chatserver.store import Connection, accounts, change_rows, erasure
from chatserver.sync.change_handlers import TO_BE_ERASED
from chatserver.util.waiting import pause, until
from chatserver.values import commands as c
from chatserver.values.answers import Done
from chatserver.values.errors import Note, Refused, Sentence, Why

P = ParamSpec("P")

ELSEWHERE_SECONDS: Final = 10.0
"""How long other nodes have to store what an account has sent before it is erased: longer than a lease lasts."""
ASK_SECONDS: Final = 0.1
"""Interval between checks whether they have stored it."""


class Sensitive:
    """Changes passwords and names, creates tokens, erases accounts, ends kept sessions."""

    def __init__(self, parts: LoginParts, authenticator: Authenticator, prompts: Prompts, cleartext: Cleartext) -> None:
        self._clock = parts.clock
        self._now = parts.now
        self._limits = parts.settings.limits
        self._server = parts.settings.server
        self._passwords = parts.settings.passwords
        self._store = parts.store
        self._registry = parts.registry
        self._roster = parts.roster
        self._authenticator = authenticator
        self._prompts = prompts
        self._cleartext = cleartext

    @property
    def handlers(self) -> SlowHandlers:
        """The functions of these commands."""
        return {
            c.Password: self.change_password, c.Token: self.token, c.Forget: self.forget, c.Rename: self.rename,
            c.Sessions: self.sessions, c.Logout: self.logout,
        }  # fmt: skip

    async def change_password(self, session: Session, command: c.Password) -> Outcome:
        """The `password` command. Raises Refused where the old one is wrong."""
        forbid_bot(session.who.person)
        self._cleartext.check(session, command)
        check_length(self._passwords, command.new)
        which = await self._authenticator.matching(session, command.old, command.new)
        if not which:
            raise self._wrong(session)
        # If it is the new one, this is a retry: it was changed, and the answer was lost.
        hash = await self._authenticator.hash(session, command.new) if which == 1 else None
        ask = Ask(session.who.person, self._now())
        return await self._write(change_password, ask, hash, others=command.others, current=_kept(session))

    async def token(self, session: Session, command: c.Token) -> Outcome:
        """The `token` command. Raises Refused where one is to be created and the password is wrong."""
        try:
            self._cleartext.check(session, command)
        except Refused:
            if session.view is not None:
                session.view.cancel()
            raise
        forbid_guest(session.who.person)
        if command.label is not None:
            forbid_bot(session.who.person)
            if not command.password:  # the person's next line is taken for it: see `View`
                return Outcome(Done(Sentence(Note.ASK_PASSWORD_FOR_TOKEN)))
            if not await self._authenticator.matching(session, command.password):
                raise self._wrong(session)
        ask = Ask(session.who.person, self._now(), limits=self._limits)
        return await self._write(token, ask, command)

    async def rename(self, session: Session, command: c.Rename) -> Outcome:
        """The `rename` command. Raises Refused where the session is kept and the password is wrong or missing."""
        self._cleartext.check(session, command)
        if session.who.kept or command.password is not None:
            forbid_bot(session.who.person)
            if command.password is None:
                raise Refused(Why.FIELD_MISSING, field="password")
            if not await self._authenticator.matching(session, command.password):
                raise self._wrong(session)
        reserved = self._server.reserved_names
        ask = Ask(session.who.person, self._now(), limits=self._limits, reserved=reserved)
        return await self._write(rename, ask, command)

    async def sessions(self, session: Session, command: c.Sessions) -> Outcome:
        """The `sessions` command."""
        ask, current = Ask(session.who.person, self._now()), _kept(session)
        if command.end is None:
            return await self._store.read(sessions, ask, command, current)
        return await self._write(sessions, ask, command, current)

    async def logout(self, session: Session, command: c.Logout) -> Outcome:
        """The `logout` command, which needs the store only in a kept session."""
        if session.who.kept:
            return await self._write(log_out, Ask(session.who.person, self._now()), _kept(session))
        return Outcome(Done(), effects=[End("logout", Sentence(Note.LOGGED_OUT))])

    async def forget(self, session: Session, command: c.Forget) -> Outcome:
        """The `forget` command. Raises Refused where the password is wrong."""
        forbid_bot(session.who.person)
        self._cleartext.check(session, command)
        account = await self._store.read(accounts.get, session.who.account_id)
        if account is not None and account.erased:  # a retry: the answer was lost
            return Outcome(Done(Sentence(Note.ERASED)), effects=[HangUp(session.who.account_id, *ERASED)])
        if not await self._authenticator.matching(session, command.password):
            raise self._wrong(session)
        others = [other for other in self._roster.sessions(session.who.account_id) if other is not session]
        for other in others:
            other.link.hang_up(*ERASED)
        await until(
            self._clock, lambda: not any(other.waiting for other in others)
        )  # what they have sent is stored first, and erased, too
        ask, messages = Ask(session.who.person, self._now()), command.messages == "erase"
        if self._registry.elsewhere.origin:
            await self._disable(ask, messages=messages)
        return await self._write(forget, ask, messages=messages)

    async def _disable(self, ask: Ask, *, messages: bool) -> None:
        """Disables an account that is about to be erased, and waits until other nodes have ended its sessions and
        stored their messages, so that these are erased, too. Does not wait for dead or late nodes."""
        origin = self._registry.elsewhere.origin
        change = await self._store.write(erasure.begin, ask.who, ask.at, origin, messages=messages, detail=TO_BE_ERASED)
        self._registry.logins.doubt(ask.who.id)
        self._registry.elsewhere.changed()
        begun = self._clock.seconds()
        while self._clock.seconds() - begun < ELSEWHERE_SECONDS:
            if not await self._store.read(change_rows.behind, change, origin):
                break
            await pause(self._clock, ASK_SECONDS)

    async def _write(
        self, work: Callable[Concatenate[Connection, Ask, P], Outcome], ask: Ask, *args: P.args, **kwargs: P.kwargs
    ) -> Outcome:
        """Runs a command in a transaction that also notes its part for other nodes."""
        return await written(self._store, self._registry.elsewhere.origin, work, ask, *args, **kwargs)

    def _wrong(self, session: Session) -> Refused:
        return self._prompts.wrong(session, WRONG_PASSWORD)


def _kept(session: Session) -> int:
    """The id of the kept session that a session is of, or 0."""
    return session.who.token_id if session.who.kept else 0
