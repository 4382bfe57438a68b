"""The entry point of `chatctl`: options for all commands. Every failure ends in one line."""

import errno
import sys
from io import TextIOWrapper

import click
from click import Context

from chatserver import __version__
from chatserver.chatctl.access import Access, Problem
from chatserver.chatctl.backup import backup, copy, restore
from chatserver.chatctl.ban import ban
from chatserver.chatctl.cert import cert
from chatserver.chatctl.control import report
from chatserver.chatctl.example import example
from chatserver.chatctl.node import node
from chatserver.chatctl.room import room
from chatserver.chatctl.session import announce, session
from chatserver.chatctl.stats import reload, stats
from chatserver.chatctl.token import token
from chatserver.chatctl.transfer import export_room, import_room
from chatserver.chatctl.upkeep import check, migrate, verify
from chatserver.chatctl.user import user
from chatserver.settings.tables import ConfigProblem
from chatserver.store.db.engine import DatabaseProblem
from chatserver.store.db.faults import Conflict
from chatserver.values.errors import Refused, Unavailable
from chatserver.wire.sentences import english


class Commands(click.Group):
    def invoke(self, ctx: Context) -> object:
        failed = True
        try:
            result = self._invoke(ctx)
            failed = False
        finally:
            if ctx.obj is not None:
                report(ctx.obj, failed=failed)
        return result

    def _invoke(self, ctx: Context) -> object:
        try:
            return super().invoke(ctx)
        except Unavailable as problem:
            raise Problem(f"The database reports an error ({problem.__cause__}). Fix that, then try again.") from None
        except Refused as problem:
            raise Problem(english(problem.sentence)) from None
        except (ConfigProblem, DatabaseProblem) as problem:
            raise Problem(str(problem)) from None
        except UnicodeEncodeError:  # bytes of the command line that Python could not decode
            raise Problem("An argument is not text in UTF-8. Type it again, in a UTF-8 locale.") from None
        except OSError as error:  # the disk is full, perhaps
            if error.errno == errno.EPIPE:
                raise  # who reads the output has seen enough
            where = f"{error.filename}: " if error.filename else ""
            raise Problem(f"{where}{error.strerror or error}. Correct that, then try again.") from None
        except Conflict:
            raise Problem("Somebody else changed the same thing at the same moment. Try again.") from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", metavar="FILE", help="The settings file of the server; also $CHATSERVER_CONFIG.")
@click.option("--database", metavar="URL", help="The database of the server; also $CHATSERVER_DATABASE.")
@click.version_option(__version__, prog_name="chatctl", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: Context, config: str | None, database: str | None) -> None:
    """Administer a chat server: its users, rooms, bans, tokens and database.

    chatctl uses the same settings as the server. If you name neither, it works on the server that is installed on this
    machine, as its user, or else on chatserver.db in the current folder. Most commands only talk to the database, and
    what they change takes effect in running servers within two seconds. announce, reload, session and stats ask the
    server that is running on this machine.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # do not fail in a locale that lacks a character
    ctx.obj = Access(config, database)
    ctx.call_on_close(ctx.obj.close)


for command in (
    user,
    room,
    ban,
    token,
    cert,
    session,
    node,
    announce,
    stats,
    reload,
    migrate,
    check,
    backup,
    restore,
    verify,
    copy,
    example,
):
    main.add_command(command)
for part in (export_room, import_room):
    room.add_command(part)
