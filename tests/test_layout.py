"""The tree has the layout that installation, twistd and alembic rely on, and its version is in the changelog."""

import configparser
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import alembic
import pytest
import twisted
from packaging.version import Version
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

import chatserver

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = {"chatserver.migrations", "chatserver.migrations.versions", "chatserver.examples"}
"""Packages that exist only when installed: their files are in alembic/ and deploy/."""


@pytest.mark.parametrize("folder", ["twisted", "twisted/plugins", "alembic", "alembic/versions"])
def test_no_package_of_ours_hides_a_library(folder: str) -> None:
    """An __init__.py there would be imported instead of the real twisted or alembic."""
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("library", [twisted, alembic])
def test_the_real_library_is_imported(library: object) -> None:
    """With the tree first on sys.path, as under pytest."""
    assert "site-packages" in str(getattr(library, "__file__", ""))


def test_twistd_finds_the_plugin() -> None:
    found = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "chatserver"]
    assert [getattr(plugin, "module", "") for plugin in found] == ["chatserver.tap"]


def test_every_package_is_installed() -> None:
    """The wheel has only those folders of chatserver/ that setup.cfg names, and building fails on one that is gone."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    named = set(setup["options"]["packages"].split())
    there = {str(path.parent.relative_to(ROOT)).replace(os.sep, ".") for path in ROOT.glob("chatserver/**/__init__.py")}
    assert {name for name in named if name.partition(".")[0] == "chatserver"} - ELSEWHERE == there


def test_the_changelog_has_this_version() -> None:
    """Its section if it is a release, `Unreleased` if it is on the way to one."""
    version = Version(chatserver.__version__)
    assert ("Unreleased" if version.is_devrelease else version.public) in sections()


def test_the_next_version_is_not_released_yet() -> None:
    """A tree without tags has the version of the next release: raise it when you add `Unreleased` after a release."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    next_one = Version(settings["tool"]["setuptools_scm"]["fallback_version"])
    assert next_one.is_devrelease
    assert "Unreleased" not in sections() or next_one.base_version not in sections()


def sections() -> list[str]:
    """The versions in the changelog, newest first: `## 1.2.0 (2026-05-01)` is 1.2.0."""
    return re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.fixture
def verify(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Has systemd check the text of a unit; skips the test where systemd cannot check any unit."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")

    def run(text: str) -> subprocess.CompletedProcess[str]:
        unit = tmp_path / "chatserver.service"
        unit.write_text(text, encoding="utf-8")
        return subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(unit)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60.0,
            check=False,
        )

    # In a container without /run/systemd, for example, it cannot start unless it is root.
    done = run("[Service]\nExecStart=/bin/sh\n")
    if (done.returncode, done.stdout) != (0, ""):
        pytest.skip(f"systemd-analyze does not work here: {done.stdout.strip()}")
    return run


def test_systemd_accepts_the_unit(verify: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """Checked as it is, except for the path of the program, which need not be installed here."""
    program = tmp_path / "twistd"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    text = (ROOT / "deploy" / "chatserver.service").read_text(encoding="utf-8")
    done = verify(text.replace("/opt/chatserver/bin/twistd", str(program)))
    assert (done.returncode, done.stdout) == (0, "")
