"""The path of the control socket, as the server and `chatctl` derive it from the same settings, and its peer's user."""

import os
import socket
import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path
from socket import gethostname
from tempfile import gettempdir
from typing import Any, Final
from urllib.parse import quote

from chatserver.settings import installation
from chatserver.settings.tables import Server
from chatserver.store.db.engine import parse_url
from chatserver.store.nodes.lease import names

AUTO: Final = "auto"
SYSTEMD: Final = Path("/run/chatserver")
"""The value of $RUNTIME_DIRECTORY under the unit that we ship: `chatctl` does not get it from systemd."""
TRIED: Final = 9
"""Maximum number of names of nodes on this host that `chatctl` tries."""
_CREDENTIALS: Final = struct.Struct("3i")
"""`struct ucred` of unix(7): process, user, group."""


class Unsafe(Exception):
    """Others could put a socket of theirs there. The text says what to do."""


def listened(server: Server, environ: Mapping[str, str]) -> Path | None:
    """Where a server with these settings listens; None: nowhere. Creates the directory if it is one of the user's own.
    Raises Unsafe, and OSError if that fails."""
    if not server.control:
        return None
    path = next(_candidates(server, environ))
    if path.parent in _own_directories(environ):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _check_own(path.parent)
    return path


def tried(server: Server, environ: Mapping[str, str]) -> list[Path]:
    """Where `chatctl` looks for that server, the likeliest first. Root also looks where the installed server listens
    if somebody has started it without systemd."""
    if not server.control:
        return []
    found = []
    user = installation.owner() if os.geteuid() == 0 else None
    for path in _candidates(server, environ, SYSTEMD, user=user):
        try:
            if path.parent in _own_directories(environ):
                _check_own(path.parent)
            elif user is not None and path.parent in _directories_of(user):
                _check_own(path.parent, user)
        except (Unsafe, OSError):
            continue
        found.append(path)
    return found


def database_mark(server: Server) -> str:
    """A hash that identifies the database of a server on this host, without its password."""
    url, file = parse_url(server.database), _database_file(server)
    name = url.database if file is None else os.path.realpath(file)
    where = (url.get_backend_name(), url.host, url.port, name, url.query.get("host"), url.query.get("service"))
    return sha256(repr(where).encode()).hexdigest()[:12]


def _candidates(server: Server, environ: Mapping[str, str], *further: Path, user: int | None = None) -> Iterator[Path]:
    """In the order of preference; `further` are directories to try besides the first one, as are those of `user`."""
    if server.control != AUTO:
        yield Path(server.control)
        return
    file = _database_file(server)
    if file is not None:
        yield Path(f"{file}.control")
        return
    # A node without a name has taken one of these: `chatctl` finds the first that is running.
    nodes = [server.node] if server.node else list(islice(names(gethostname()), TRIED))
    given = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    for node in (quote(node, safe="") for node in nodes):
        for directory in ([Path(given)] if given else []) + list(further):
            yield directory / f"{node}.control"
        for directory in _own_directories(environ) + ([] if user is None else _directories_of(user)):
            yield directory / f"{node}-{database_mark(server)}.control"


def _database_file(server: Server) -> Path | None:
    """None for PostgreSQL, for a database in memory, and for a `file:` URI."""
    url = parse_url(server.database)
    name = url.database
    if url.get_backend_name() != "sqlite" or not name or name == ":memory:" or url.query:
        return None
    return Path(name).absolute()


def _own_directories(environ: Mapping[str, str]) -> list[Path]:
    """Directories that only this user can use: the first one is the one for a new socket."""
    directories = [Path(gettempdir()) / f"chatserver-{os.geteuid()}"]
    runtime = environ.get("XDG_RUNTIME_DIR")
    with suppress(OSError):
        if runtime and Path(runtime).is_dir() and Path(runtime).stat().st_uid == os.geteuid():
            directories.insert(0, Path(runtime) / "chatserver")
    return directories


def _directories_of(user: int) -> list[Path]:
    """Those of another user, whose environment this process does not know."""
    return [Path(f"/run/user/{user}/chatserver"), Path(gettempdir()) / f"chatserver-{user}"]


def _check_own(directory: Path, user: int | None = None) -> None:
    """Raises Unsafe unless it belongs to this user, or the given one, alone; OSError if there is no such directory."""
    found = directory.lstat()
    owner = os.geteuid() if user is None else user
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or stat.S_IMODE(found.st_mode) & 0o077:
        raise Unsafe(f"{directory} is not a directory of your own with mode 700. Remove it, or set server.control.")


def uid_of(peer: Any) -> int:
    """The user whose process connected, or listens. Raises OSError."""
    found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[1])


def is_trusted(uid: int) -> bool:
    """Whether that user has the rights of this process: it is the same user, or root."""
    return uid in (0, os.geteuid())
