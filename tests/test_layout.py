"""The tree keeps to the layout that installing, twistd and alembic rely on."""

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import alembic
import pytest
import twisted
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

import chatserver

ROOT = Path(__file__).resolve().parent.parent


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
    """A new folder of chatserver/ must be named in setup.cfg, or the wheel lacks it."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    named = set(setup["options"]["packages"].split())
    there = {str(path.parent.relative_to(ROOT)).replace(os.sep, ".") for path in ROOT.glob("chatserver/**/__init__.py")}
    assert there <= named


def test_the_changelog_has_this_version() -> None:
    assert f"## {chatserver.__version__} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Checked as it is, but for the program, which need not be installed here."""
    text = (ROOT / "deploy" / "chatserver.service").read_text(encoding="utf-8")
    program = tmp_path / "twistd"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    unit = tmp_path / "chatserver.service"
    unit.write_text(text.replace("/opt/chatserver/bin/twistd", str(program)), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60.0,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
