"""`make cluster`: several nodes to try by hand."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.client import TextClient
from tests.support.process import clean_environment, die_with_parent

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    """One for temporary files, which another user can enter, too: PostgreSQL does not run as root."""
    with tempfile.TemporaryDirectory(prefix="chatserver-try-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_two_nodes_by_hand(folder: Path) -> None:
    """It prints a command for each node; what is said at one is heard at the other; Ctrl-C leaves no process and no
    file behind."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.cluster", "2"], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        env=clean_environment({"TMPDIR": str(folder)}), start_new_session=True,
        preexec_fn=die_with_parent(signal.SIGTERM),
    )  # fmt: skip
    assert process.stdout is not None
    try:
        said = [process.stdout.readline() for _ in range(4)]
        assert said[0].startswith("chatctl --database postgresql+psycopg2://")
        assert said[3] == "Ctrl-C ends all.\n"
        a, b = (("127.0.0.1", int(port)) for port in re.findall(r"^nc 127\.0\.0\.1 (\d+)", "".join(said), re.M))
        with TextClient(a) as ana, TextClient(b) as bob:
            ana.register("ana")
            bob.register("bob")
            ana.type("hello over there")
            bob.expect("ana: hello over there")
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 3
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, which spares sessions of their own
        assert process.wait(30) == 0
        assert psutil.wait_procs(children, 5)[1] == []
        assert list(folder.iterdir()) == []
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)
        process.stdout.close()
