"""Wall clocks that can be stepped, by libfaketime."""

from pathlib import Path

FOLDERS = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/lib64/faketime", "/usr/local/lib/faketime")


def library() -> Path | None:
    found = [path for folder in FOLDERS for path in Path("/").glob(f"{folder[1:]}/libfaketimeMT.so.1")]
    return found[0] if found else None


class WallClock:
    """The wall clock of a server, in whose environment are the variables `env`. The monotonic clock is the real one."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "faketime"
        self.step(0)
        self.env = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, seconds: int) -> None:
        """Sets the clock this many seconds before or after the right time."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n", encoding="utf-8")
        new.replace(self._file)
