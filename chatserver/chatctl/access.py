"""Access of every command of `chatctl`: to the settings, and to the database that they name."""

import os
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import click
from msgspec import structs

from chatserver.chatctl import identity
from chatserver.settings import file as settingsfile
from chatserver.settings import installation
from chatserver.settings.tables import ConfigProblem, Settings
from chatserver.store import Connection, Engine, directory, names
from chatserver.store.db import database_clock
from chatserver.store.db.engine import absolute, open_present, parse_url, shown_url
from chatserver.store.db.transactions import transact, transact_with_retry
from chatserver.store.directory import AccountLine
from chatserver.store.visibility import RoomAccess, find_room
from chatserver.values.errors import Refused
from chatserver.values.events import GUEST, OPERATOR, Person
from chatserver.wire.hygiene.text import escaped, room_name

P = ParamSpec("P")
T = TypeVar("T")

HOST = Person(0, "", OPERATOR)
"""The author of acts of `chatctl`: the server itself, which can find every room."""


HERE: Final = "chatserver.db"
"""The database of a server without settings, in its current folder."""


class Problem(click.ClickException):
    """Ends the command with status 1 and one line that says what to do."""

    def show(self, file: object = None) -> None:
        click.echo(f"chatctl: {escaped(self.message)}", err=True)


class Access:
    """Reads the settings and opens the database when they are first needed.

    Its methods raise DatabaseProblem, Refused, Conflict and Unavailable.
    """

    def __init__(self, config: str | None, database: str | None) -> None:
        self._config = config
        self._database = database
        self._found = ""  # where a database was found that nobody has named
        self.acts: dict[str, dict[str, Any]] = {}
        """Commands that have changed something, with their parameters: for the audit log."""

    @cached_property
    def settings(self) -> Settings:
        """The settings of the server. Raises ConfigProblem.

        Where nobody names a settings file or a database, `chatctl` looks for them, and root becomes the server's user:
        see docs/operating.md.
        """
        if self._config or self._database or any(map(os.environ.get, ("CHATSERVER_CONFIG", "CHATSERVER_DATABASE"))):
            return settingsfile.chosen(self._config, self._database)
        installed = _installed()
        if installed is None:
            self._found = "in the current folder"
            return settingsfile.chosen(None, None)
        self._found = f"from {installation.FOLDER}"
        installation.adopt(installed)
        settings = settingsfile.chosen(None, None)
        identity.become_owner()
        database = absolute(settings.server.database, installation.STATE)
        return structs.replace(settings, server=structs.replace(settings.server, database=database))

    def changing(self) -> None:
        """Says which database is about to be changed, unless somebody has named it. Once is enough."""
        database = self.settings.server.database
        if self._found:
            shown = shown_url(parse_url(absolute(database, Path.cwd())))
            click.echo(f"chatctl: database {escaped(shown)}, {self._found}", err=True)
            self._found = ""

    @cached_property
    def _engine(self) -> Engine:
        return open_present(parse_url(self.settings.server.database))

    def read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `work`, which must only read. Makes no writer wait."""
        return transact(self._engine.execution_options(read_only=True), lambda db: work(db, *args, **kwargs))

    def write(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `work` in a transaction, which is committed when this returns. Retries once after a Conflict."""
        self.changing()
        result = transact_with_retry(self._engine, lambda db: work(db, *args, **kwargs))
        if (ctx := click.get_current_context(silent=True)) is not None:
            self.acts.setdefault(ctx.command_path, dict(ctx.params))
        return result

    def now(self) -> datetime:
        """The database's time: acts of `chatctl` and of servers stay in order, whatever the clock of this host says."""
        return self.read(database_clock.now)

    def close(self) -> None:
        if "_engine" in self.__dict__:
            self._engine.dispose()
        identity.return_to_caller()


def _installed() -> dict[str, str] | None:
    """The environment of the server that is installed on this machine, if it is the one to administer; None for the
    database in the current folder. Raises ConfigProblem."""
    here = os.access(HERE, os.F_OK)
    tree = installation.CHECKOUT
    if tree is not None and (here or Path.cwd().is_relative_to(tree)):
        return None
    try:
        return installation.environment(os.environ.get("CHATSERVER_NODE", ""))
    except PermissionError:
        if here:
            return None
        raise ConfigProblem(
            "Only root and its own user may administer the server that is installed here. Use sudo, or name another "
            "database: --database URL"
        ) from None


access = click.make_pass_decorator(Access)


def find_account(db: Connection, name: str) -> AccountLine:
    """The account with this name, disabled or not. Raises Problem, also if it is erased."""
    found = directory.account(db, name)
    if found is None:
        raise unknown(db, name)
    if found.erased:
        raise no_such_user(name)
    return found


def unknown(db: Connection, name: str) -> Problem:
    """The problem with a name that no account has; says so if one had it."""
    now = names.last_holder(db, name)
    return no_such_user(name) if now is None else Problem(f"There is no user {name}: it is called {now.name} now.")


def find_person(db: Connection, name: str) -> AccountLine:
    """As `find_account`. Also raises Problem for guests, who have nothing that lasts."""
    found = find_account(db, name)
    if found.kind == GUEST:
        raise Problem(f"{found.name} is a guest and cannot log in again. Name a registered user.")
    return found


def find_room_access(db: Connection, name: str) -> RoomAccess:
    """The room with this name, locked until the transaction ends. Raises Problem."""
    if name.startswith("@"):
        raise Problem("A direct room has no bans and cannot be deleted. Name another room.")
    try:
        return find_room(db, HOST, room_name(name), lock=True)
    except Refused:
        raise no_such_room(name) from None


def no_such_user(name: str) -> Problem:
    return Problem(f"There is no user {name}. See: chatctl user list")


def no_such_room(name: str) -> Problem:
    return Problem(f"There is no room {name}. See: chatctl room list")
