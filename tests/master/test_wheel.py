# SPDX-License-Identifier: LGPL-2.1-or-later
"""A worker needs no checkout: the wheel alone, in an environment of its own, does the work."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from pipeline.ports.dock import docking
from pipeline.ports.log import Log
from tests.cheap import Cheap
from tests.masters import Up
from tests.remote import RemoteProcess, names, prepare_anvil, prepare_secrets, remote_settings
from tests.wheels import make_wheel, run
from tests.work import TOP

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a fresh environment over the locked packages; tells its ``bin``."""
    root = tmp_path_factory.mktemp("wheel")
    file = make_wheel(root)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(sys.executable, "-m", "venv", "--without-pip", str(root / "venv"))
    python = root / "venv" / "bin" / "python"
    run(*pip, "--python", str(python), "install", "--quiet", "--no-deps", str(file))
    # What the locked packages are is another test's matter: here they are taken as they are.
    site = Path(run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
    (site / "locked.pth").write_text(sysconfig.get_path("purelib") + "\n")
    twistd = python.with_name("twistd")
    twistd.write_text(f"#!{python}\nfrom twisted.scripts.twistd import run\nrun()\n")
    twistd.chmod(0o755)
    return python.parent


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


@pytest.mark.full
def test_a_worker_of_the_wheel_alone_builds_what_was_pushed(
    installed: Path, tmp_path: Path
) -> None:
    settings = remote_settings(anvil={"pool": "push", "slots": 1})
    work = Cheap(tmp_path, one=0.0)
    up = Up(tmp_path, work=work, poll=1, reconcile=1, slots=1, runs=1, remote=settings)
    prepare_secrets(up, "anvil", tls=True)
    python, ca = str(installed / "python"), tmp_path / "ca.pem"
    with up, RemoteProcess(up, "anvil", settings, ca=ca, python=python) as anvil:
        anvil.wait_connected()
        assert not anvil.facts()["paused"], anvil.facts()
        up.wait(lambda: up.seen() > 0, "the repository was seen")
        work.change("one")
        up.wait(lambda: bool(up.ledger.pushes.newest(1)), "the push was seen")
        (done,) = up.wait_ended(*up.ledger.pushes.newest(1))
        (build,) = up.builds("component/one")
        told = up.logs(build)
        assert names([build]) == ["away-anvil-1"] and build["word"] == "success", told
    assert work.line() == [done.run]
    # What it ran was the wheel's, not these sources.
    logs = "".join(path.read_text() for path in anvil.home.rglob("log.txt"))
    assert str(installed.parent) in logs and str(TOP) not in logs
