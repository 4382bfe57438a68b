"""The wheel works in an empty virtualenv, from any folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import pytest

from chatserver.chatctl.example import EXAMPLES
from tests.support.client import Raw
from tests.support.process import TWISTD, ChatServer, clean_environment

pytestmark = pytest.mark.slow  # building it takes ten seconds

ROOT = Path(__file__).resolve().parent.parent
LITTER = (".*", "__pycache__", "build", "dist", "*.egg-info", "*.db*", "dropin.cache", "tests", "bench", "docs")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def run(*command: str | Path, cwd: Path) -> str:
    """The whole output of a command, which must succeed without PYTHONPATH and settings from the environment."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={name: value for name, value in clean_environment().items() if name != "PYTHONPATH"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100.0,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def build(source: Path, private: Sequence[str] = ()) -> Path:
    """A wheel built from a copy of the tree: building leaves files behind."""
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*LITTER))
    for path in private:
        (source / path).chmod(0o600)
    run("env", f"PYTHON={sys.executable}", source / "tools" / "wheel", cwd=source)
    (built,) = (source / "dist").glob("chatserverd-*.whl")
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel") / "source")


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtualenv that has the wheel, and borrows all other packages from ours."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True, with_pip=False)
    interpreter = folder / "bin" / "python"
    run(*PIP, "--python", interpreter, "install", "--no-index", "--no-deps", wheel, cwd=folder)
    where = run(interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    # Paths only: Python does not follow the .pth files in them, such as that of our checkout, installed as editable.
    theirs = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (Path(where) / "borrowed.pth").write_text("".join(f"{path}\n" for path in theirs), encoding="utf-8")
    return interpreter


def test_it_is_the_same_wherever_it_is_built(wheel: Path, tmp_path: Path) -> None:
    """Neither the folder, nor the time, nor the umask of whoever builds it shows in a single byte."""
    before = os.umask(0o077)
    try:
        again = build(tmp_path / "elsewhere", private=["chatserver/tap.py"])
    finally:
        os.umask(before)
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_twistd_lists_it(python: Path, tmp_path: Path) -> None:
    """twistd finds the plugin, and it is the one from the wheel."""
    assert "chatserver" in run(python, TWISTD, "--help", cwd=tmp_path)
    where = run(python, "-c", "import chatserver; print(chatserver.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(python.parent.parent)


def test_it_knows_its_version(wheel: Path, python: Path, tmp_path: Path) -> None:
    """Built from a tree without git, and run where there is none."""
    version = wheel.name.split("-")[1]
    assert run(python, "-c", "import chatserver; print(chatserver.__version__)", cwd=tmp_path).strip() == version
    assert run(python.with_name("chatctl"), "--version", cwd=tmp_path).strip() == f"chatctl {version}"


def test_migrations_are_inside(python: Path, tmp_path: Path) -> None:
    """Every revision of the checkout is in the wheel, with the environment that runs it."""
    expected = {path.name for path in (ROOT / "alembic" / "versions").glob("*.py")}
    listing = "import importlib.resources as r; print(*(p.name for p in r.files({!r}).iterdir()), sep='\\n')"
    assert expected
    assert expected <= set(run(python, "-c", listing.format("chatserver.migrations.versions"), cwd=tmp_path).split())
    assert "env.py" in run(python, "-c", listing.format("chatserver.migrations"), cwd=tmp_path).split()


def test_examples_are_inside(python: Path, tmp_path: Path) -> None:
    """`chatctl example` prints from the wheel what is in deploy/."""
    for what, names in EXAMPLES.items():
        if len(names) == 1 and (ROOT / "deploy" / names[0]).exists():
            printed = run(python.with_name("chatctl"), "example", what, cwd=tmp_path)
            assert printed == (ROOT / "deploy" / names[0]).read_text(encoding="utf-8")


def test_the_page_is_inside(wheel: Path) -> None:
    """All files that a browser is sent are in the wheel."""
    pages = ROOT / "chatserver" / "web"
    expected = {f"chatserver/web/{path.relative_to(pages)}" for path in pages.rglob("*") if path.is_file()}
    with ZipFile(wheel) as archive:
        assert expected == {name for name in archive.namelist() if name.startswith("chatserver/web/")}


def test_other_packages_are_untouched(python: Path, tmp_path: Path) -> None:
    """The wheel's twisted/plugins hides nothing of Twisted."""
    where = run(python, "-c", "import twisted.plugins as t, alembic; print(t.__file__, alembic.__file__)", cwd=tmp_path)
    assert [Path(path).name for path in where.split()] == ["__init__.py", "__init__.py"]


def test_it_serves(python: Path, tmp_path: Path) -> None:
    """The wheel needs no file of the tree to create its database and greet."""
    with ChatServer(f"sqlite:///{tmp_path / 'chat.db'}", python=python) as server, Raw(server.address) as nc:
        assert nc.read_line().startswith(b"* ")
    assert (tmp_path / "chat.db").exists()
