"""The JavaScript below the views, tested by Node: what it does is in the files beside this one."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "core"
FILES = sorted(FOLDER.glob("*.test.mjs"))
PATIENCE_S = 300


def node() -> str:
    """The path of Node; without it the test is skipped, or fails where the browser is required."""
    path = shutil.which("node")
    if path is None:
        if os.environ.get("CHATSERVER_REQUIRE_BROWSER") == "1":
            pytest.fail("node is not installed, and CHATSERVER_REQUIRE_BROWSER=1 requires it")
        pytest.skip("node is not installed")
    return path


def test_all_files_are_tested() -> None:
    """There are tests of the core, so that a wrong path does not pass for success."""
    assert len(FILES) >= 4


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".test.mjs"))
def test_core(file: Path) -> None:
    """What each file says in the names of its tests holds."""
    done = subprocess.run([node(), "--test", str(file)], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
