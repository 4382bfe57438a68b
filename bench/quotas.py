"""Shares of CPU for processes, by control groups of either version, where this machine lets us make them."""

import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD_MICROSECONDS = 20_000


class Quota:
    """A control group whose processes together get this share of one CPU. Raises OSError where that is not allowed."""

    def __init__(self, name: str, share: float) -> None:
        limit = str(round(share * PERIOD_MICROSECONDS))
        if (ROOT / "cpu" / "cpu.cfs_quota_us").exists():
            self._folder = ROOT / "cpu" / name
            self._folder.mkdir()
            values = {"cpu.cfs_period_us": str(PERIOD_MICROSECONDS), "cpu.cfs_quota_us": limit}
        else:
            self._folder = ROOT / name
            self._folder.mkdir()
            values = {"cpu.max": f"{limit} {PERIOD_MICROSECONDS}"}
        try:
            for file, value in values.items():
                (self._folder / file).write_text(value)
        except OSError:
            self._folder.rmdir()
            raise

    def add(self, pid: int) -> None:
        (self._folder / "cgroup.procs").write_text(str(pid))

    def close(self) -> None:
        """Its processes must have ended."""
        self._folder.rmdir()


def missing() -> str:
    """Why there can be no quotas here; empty if there can."""
    try:
        Quota(f"chatserver-bench-{os.getpid()}", 1).close()
    except OSError as error:
        return f"control groups cannot be made here ({error.strerror})"
    return ""
