"""What every command of `chatctl` works with: the settings, and the database they name."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import Concatenate, ParamSpec, TypeVar

import click

from chatserver import config
from chatserver.config import Settings
from chatserver.errors import Refused
from chatserver.events import Person
from chatserver.store import Connection, Engine, directory
from chatserver.store.database import open_present, parse_url
from chatserver.store.directory import AccountLine
from chatserver.store.places import OPERATOR, Place, find_room
from chatserver.store.transactions import Conflict, transact
from chatserver.wire.hygiene import escaped, room_name

P = ParamSpec("P")
T = TypeVar("T")

HOST = Person(0, "", OPERATOR)
"""Who does what `chatctl` does: the server itself, to whom every room is known."""


class Problem(click.ClickException):
    """Ends the command with status 1, and one line that says what to do."""

    def show(self, file: object = None) -> None:
        click.echo(f"chatctl: {escaped(self.message)}", err=True)


class Access:
    """Opens nothing before it is needed. Its methods raise DatabaseProblem, Refused and Conflict."""

    def __init__(self, config: str | None, database: str | None) -> None:
        self._config = config
        self._database = database

    @cached_property
    def settings(self) -> Settings:
        """As the server has them. Raises ConfigProblem."""
        return config.chosen(self._config, self._database)

    @cached_property
    def _engine(self) -> Engine:
        return open_present(parse_url(self.settings.server.database))

    def read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `work`, which changes nothing and keeps no writer waiting."""
        return transact(self._engine.execution_options(read_only=True), lambda db: work(db, *args, **kwargs))

    def write(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `work` in a transaction, which is committed when this returns."""
        try:
            return transact(self._engine, lambda db: work(db, *args, **kwargs))
        except Conflict:  # another one did it at the same moment: now it is seen
            return transact(self._engine, lambda db: work(db, *args, **kwargs))

    def close(self) -> None:
        if "_engine" in self.__dict__:
            self._engine.dispose()


access = click.make_pass_decorator(Access)


def now() -> datetime:
    """In UTC and in whole milliseconds, as the server keeps times."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def find_account(db: Connection, name: str) -> AccountLine:
    """Who is called so, disabled or not. Raises Problem; also for who is erased."""
    found = directory.account(db, name)
    if found is None or found.erased:
        raise Problem(f"Nobody is called {name}. See: chatctl user list")
    return found


def find_person(db: Connection, name: str) -> AccountLine:
    """The same for who is to be no guest: they have nothing that lasts."""
    found = find_account(db, name)
    if found.kind == "guest":
        raise Problem(f"{found.name} is a guest, who has no account to come back to. Name somebody who registered.")
    return found


def find_place(db: Connection, name: str, at: datetime) -> Place:
    """The room that is called so, locked until the end of the transaction. Raises Problem."""
    if name.startswith("@"):
        raise Problem("A direct conversation has no bans and is never deleted. Name another room.")
    try:
        return find_room(db, HOST, room_name(name), at, lock=True)
    except Refused:
        raise no_such_room(name) from None


def no_such_room(name: str) -> Problem:
    return Problem(f"There is no room {name}. See: chatctl room list")
