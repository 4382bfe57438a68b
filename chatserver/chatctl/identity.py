"""As which user `chatctl` works.

Root becomes the user of the installed server, so that PostgreSQL knows it, and that files of the database belong to the
server. Files that are named on the command line are the business of who typed it: `as_caller`.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from chatserver.settings import installation
from chatserver.settings.tables import ConfigProblem


def become_owner() -> None:
    """If this is root, continues as the user of the installed server. Raises ConfigProblem."""
    if os.geteuid() != 0:
        return
    uid = installation.owner()
    if uid is None:
        raise ConfigProblem(
            f"There is no {installation.STATE}, whose owner the installed server runs as. Create it for that user, or "
            "name the database: --database URL"
        )
    try:
        user = pwd.getpwuid(uid)
        os.initgroups(user.pw_name, user.pw_gid)
        os.setegid(user.pw_gid)
        os.seteuid(uid)
    except KeyError:
        raise ConfigProblem(f"The owner of {installation.STATE}, {uid}, is no user. Correct that.") from None
    except OSError as error:
        raise ConfigProblem(
            f"chatctl cannot become the user {uid} of the server ({error.strerror}). Run it as that user."
        ) from None
    for file in (os.__file__, __file__):  # modules are imported when they are needed
        if not os.access(file, os.R_OK, effective_ids=True):
            return_to_caller()
            raise ConfigProblem(
                f"The user {user.pw_name} of the installed server cannot read {file}, a part of this chatctl. Use the "
                "installed chatctl, or name the database: --database URL"
            )
    os.environ["HOME"] = user.pw_dir  # has .pgpass


@contextmanager
def as_caller() -> Iterator[None]:
    """A block that has the rights of who called `chatctl`."""
    user, group = os.geteuid(), os.getegid()
    return_to_caller()
    try:
        yield
    finally:
        os.setegid(group)
        os.seteuid(user)


def return_to_caller() -> None:
    """Gives up what `become_owner` did."""
    if os.geteuid() != os.getuid():
        os.seteuid(os.getuid())
        os.setegid(os.getgid())


def opened(path: str) -> IO[bytes]:
    """A file that is named on the command line, to read. Raises OSError."""
    with as_caller():
        return Path(path).open("rb")
