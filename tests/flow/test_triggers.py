# SPDX-License-Identifier: LGPL-2.1-or-later
"""The house's triggers with the programs that they are for, on a tree that has them all."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.cli.house import init
from pipeline.ports.git_commands import IDENTITY
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from tests.work import TOP, run_ostci

pytestmark = [pytest.mark.full]
DATA = TOP / "tests" / "data"
_LIBRARIES = "/usr/lib/x86_64-linux-gnu"
WRITTEN = {
    "/usr/etc/ld.so.cache": b"libgtk-3.so.0",
    "/usr/share/mime/mime.cache": b"application/x-ostci-desk",
    "/usr/etc/dconf/db/site": b"hello from the database",
    "/usr/share/glib-2.0/schemas/gschemas.compiled": b"org.ostci.desk",
    f"{_LIBRARIES}/gdk-pixbuf-2.0/2.10.0/loaders.cache": b"libpixbufloader-svg.so",
    f"{_LIBRARIES}/gtk-3.0/3.0.0/immodules.cache": b"im-wayland.so",
    "/usr/lib/udev/hwdb.bin": b"90-desk.hwdb",
    "/usr/share/icons/hicolor/icon-theme.cache": b"desk",
    "/usr/share/applications/mimeinfo.cache": b"application/x-ostci-desk=desk.desktop",
}
"""What each trigger wrote, and what of our component or of its packages is in there."""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    shutil.copytree(DATA / "desk", tmp_path / "desk")
    shutil.copy(DATA / "desk.yaml", tmp_path / "os.yaml")
    for argv in (["init", "-q", "-b", "master"], ["add", "-A"], ["commit", "-q", "-m", "desk"]):
        subprocess.run(["git", *argv], cwd=tmp_path / "desk", env={**IDENTITY}, check=True)
    init(tmp_path / "work", tmp_path / "os.yaml")
    return tmp_path / "work"


def test_each_trigger_writes_what_its_program_makes_of_the_tree(work: Path) -> None:
    for verb in ("base", "resolve", "build", "compose"):
        run_ostci(work, verb)
    repo = Repo(work / "repo", log=Log())
    (commit,) = (one for ref, one in repo.refs().items() if "/compose/" in ref)
    for path, inside in WRITTEN.items():
        content = subprocess.run(
            ["ostree", f"--repo={repo.path}", "cat", commit, path], capture_output=True, check=True
        )
        assert inside in content.stdout, path
    repo.fsck()
