"""The entry point of `chatctl`: options for all commands. Every failure ends in one line."""

import sys
from io import TextIOWrapper

import click
from click import Context

from chatserver import __version__
from chatserver.admin.access import Access, Problem
from chatserver.admin.ban import ban
from chatserver.admin.room import room
from chatserver.admin.token import token
from chatserver.admin.upkeep import check, migrate
from chatserver.admin.user import user
from chatserver.config import ConfigProblem
from chatserver.errors import Refused, Unavailable
from chatserver.store.database import DatabaseProblem
from chatserver.store.transactions import Conflict


class Commands(click.Group):
    def invoke(self, ctx: Context) -> object:
        try:
            return super().invoke(ctx)
        except Unavailable as problem:
            raise Problem(f"The database reports an error ({problem.__cause__}). Fix that, then try again.") from None
        except Refused as problem:
            raise Problem(problem.text) from None
        except (ConfigProblem, DatabaseProblem) as problem:
            raise Problem(str(problem)) from None
        except Conflict:
            raise Problem("Somebody else changed the same thing at the same moment. Try again.") from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", metavar="FILE", help="The settings file of the server. Default: $CHATSERVER_CONFIG.")
@click.option("--database", metavar="URL", help="The database of the server. Default: $CHATSERVER_DATABASE.")
@click.version_option(__version__, prog_name="chatctl", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: Context, config: str | None, database: str | None) -> None:
    """Administer a chat server: its users, rooms, bans, tokens and database.

    chatctl uses the same settings as the server and only talks to the database. Changes take effect in running servers
    within two seconds.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # do not fail in a locale that lacks a character
    ctx.obj = Access(config, database)
    ctx.call_on_close(ctx.obj.close)


for command in (user, room, ban, token, migrate, check):
    main.add_command(command)
