"""Settings under which what was acknowledged may be lost, and what to do about them."""

import re
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from chatserver.store.db.database_file import watched_file

NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "davfs",
        "fuse.ceph",
        "fuse.davfs2",
        "fuse.glusterfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb2",
        "smb3",
        "smbfs",
    }
)
"""File systems, as the kernel names them, whose locks and syncs SQLite cannot rely on."""

POSTGRES_SETTINGS: Final = ("fsync", "synchronous_commit", "full_page_writes", "synchronous_standby_names")
SQLITE_SETTINGS: Final = ("journal_mode", "synchronous")
SYNCHRONOUS: Final = {"0": "off", "1": "normal", "2": "full", "3": "extra"}
"""SQLite's numbers of its setting `synchronous`."""

ESCAPED: Final = re.compile(r"\\([0-7]{3})")
"""How the kernel writes a space in the name of a folder."""


def durability(engine: Engine) -> dict[str, str]:
    """The settings that durability depends on, with their values; for SQLite also `file_system`."""
    postgres = engine.dialect.name == "postgresql"
    ask = "SHOW" if postgres else "PRAGMA"
    with engine.connect() as db:
        found = {
            name: str(db.exec_driver_sql(f"{ask} {name}").scalar())
            for name in (POSTGRES_SETTINGS if postgres else SQLITE_SETTINGS)
        }
    if not postgres:
        found["synchronous"] = SYNCHRONOUS.get(found["synchronous"], found["synchronous"])
        file = watched_file(engine)
        found["file_system"] = file_system(file.path) if file is not None else ""
    return found


def durability_warnings(engine: Engine) -> list[str]:
    """A warning for each setting under which an acknowledged message may be lost in a crash or a failover."""
    return warnings(durability(engine))


def warnings(found: dict[str, str]) -> list[str]:
    """The warnings about these settings (see `durability`)."""
    return _postgres_warnings(found) if "fsync" in found else _sqlite_warnings(found)


def _postgres_warnings(found: dict[str, str]) -> list[str]:
    texts = [
        f"PostgreSQL runs with {name}=off: acknowledged messages can be lost in a crash. Turn it on."
        for name in ("fsync", "synchronous_commit")
        if found[name] == "off"
    ]
    if found["full_page_writes"] == "off":
        texts.append("PostgreSQL runs with full_page_writes=off: a crash can damage the database. Turn it on.")
    if found["synchronous_standby_names"]:
        if found["synchronous_commit"] == "local":
            texts.append(
                "PostgreSQL runs with synchronous_commit=local, which does not wait for the standbys in "
                "synchronous_standby_names: acknowledged messages can be lost in a failover. Set it to on."
            )
        elif found["synchronous_commit"] == "remote_write":
            texts.append(
                "PostgreSQL runs with synchronous_commit=remote_write, which does not wait until standbys have synced: "
                "acknowledged messages can be lost in a failover to a standby that has crashed. Set it to on."
            )
    return texts


def _sqlite_warnings(found: dict[str, str]) -> list[str]:
    texts = []
    if found["synchronous"] in ("off", "normal"):
        texts.append(
            f"SQLite runs with synchronous={found['synchronous']}: acknowledged messages can be lost in a crash. "
            "Set it to full."
        )
    if found["journal_mode"] != "wal":
        texts.append(
            f"SQLite runs with journal_mode={found['journal_mode']}: readers and writers wait for each other. "
            "Move the file to a local file system, where it can use a write-ahead log."
        )
    if found["file_system"] in NETWORK:
        texts.append(
            f"The database file is on a network file system ({found['file_system']}), where SQLite's locks and syncs "
            "are not reliable: acknowledged messages can be lost, and the file damaged. Move it to a local one, or use "
            "PostgreSQL."
        )
    return texts


def file_system(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The type of the file system that a path is on, as the kernel names it; empty if it cannot be found out."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    real = path.resolve()
    best, kind = -1, ""
    for line in lines:
        # proc_pid_mountinfo(5): the mount point is the fifth field; the type is the first one after a lone hyphen.
        before, _, after = line.partition(" - ")
        point = ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), before.split(" ")[4])
        if real.is_relative_to(point) and len(point) >= best:  # of several mounts, the last one is on top
            best, kind = len(point), after.split(" ")[0]
    return kind
