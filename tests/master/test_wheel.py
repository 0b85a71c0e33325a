# SPDX-License-Identifier: LGPL-2.1-or-later
"""A worker needs no checkout: the wheel alone, in an environment of its own, does the work."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from pipeline.ports.dock import docking
from pipeline.ports.log import Log
from tests.cheap import Cheap
from tests.remote import prepare_anvil
from tests.work import TOP

pytestmark = pytest.mark.slow
_TOPS = ("pipeline", "vmtests", "manifests")
_FILES = ("pyproject.toml", "README.md", "LICENSE", "master.cfg", "packages.txt")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a fresh environment over the locked packages; tells its ``bin``."""
    root = tmp_path_factory.mktemp("wheel")
    sources = root / "sources"
    sources.mkdir()
    for name in _TOPS:
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(TOP / name, sources / name, ignore=skipped)
    for name in _FILES:
        shutil.copy(TOP / name, sources / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    wheel = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(root / "wheels")]
    run(*pip, *wheel, str(sources))
    run(sys.executable, "-m", "venv", "--without-pip", str(root / "venv"))
    python = root / "venv" / "bin" / "python"
    (file,) = (root / "wheels").glob("ostci-*.whl")
    run(*pip, "--python", str(python), "install", "--quiet", "--no-deps", str(file))
    # What the locked packages are is another test's matter: here they are taken as they are.
    site = Path(run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
    (site / "locked.pth").write_text(sysconfig.get_path("purelib") + "\n")
    twistd = python.with_name("twistd")
    twistd.write_text(f"#!{python}\nfrom twisted.scripts.twistd import run\nrun()\n")
    twistd.chmod(0o755)
    return python.parent


def run(*argv: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=300, check=False, cwd="/", env=env
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


@pytest.mark.full
def test_what_the_wheel_has_is_all_that_a_worker_needs(installed: Path, tmp_path: Path) -> None:
    where = run(str(installed / "python"), "-c", "import pipeline; print(pipeline.__file__)")
    assert where.startswith(str(installed.parent))
    master = Cheap(tmp_path, one=0.0)
    master.ostci("resolve")
    workdir = master.house().workdir
    (version,) = workdir.versions()
    master.ostci("assign", "build", "one", "--run", version)
    home = prepare_anvil(tmp_path, "word")
    env = {
        "PATH": f"{installed}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(tmp_path),
        "OSTCI_WORKDIR": str(home.workdir.root),
    }
    offer = tmp_path / "offer.tar"
    job = ("build", "one", "--run", version)
    with docking(
        "127.0.0.1:0", workdir, passwords={"anvil": "word"}, certificate=None, log=Log()
    ) as url:
        run("/usr/bin/env", "ostci", "fetch", "--from", url, *job, env=env)
    run("/usr/bin/env", "ostci", *job, env=env)
    run("/usr/bin/env", "ostci", "offer", *job, "--into", str(offer), env=env)
    master.ostci("take", *job, "--file", str(offer), "--worker", "anvil", "--pool", "push")
    (part,) = workdir.root.glob("repo/refs/heads/cheap/components/one/*")
    assert part.name == "x86_64-runtime"


def test_the_wheel_brings_what_is_no_python(installed: Path) -> None:
    shared = installed.parent / "share" / "ostci"
    assert (shared / "master.cfg").is_file()
    assert "bubblewrap" in (shared / "packages.txt").read_text().split()
    packages = next(installed.parent.glob("lib/python*/site-packages"))
    told = subprocess.run(
        ["git", "ls-files", "pipeline", "vmtests"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = {name for name in told.stdout.split("\n") if name and not name.endswith(".md")}
    assert {name for name in wanted if not (packages / name).is_file()} == set()
