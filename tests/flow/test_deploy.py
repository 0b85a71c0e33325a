# SPDX-License-Identifier: LGPL-2.1-or-later
"""The units and the role that put ostci on a host, as far as they can be read."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.flow.test_keys import MANIFEST

TOP = Path(__file__).resolve().parents[2]
FILES = TOP / "ansible" / "roles" / "ostci" / "files"
UNITS = tuple(sorted(path.name for path in FILES.iterdir() if path.suffix != ".yml"))
needs_ansible = pytest.mark.skipif(
    shutil.which("ansible-playbook") is None, reason="there is no ansible (Debian: ansible-core)"
)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for name in UNITS:
        # It wants to see the program.
        text = (FILES / name).read_text().replace("/opt/ostci/bin/ostci", "/bin/true")
        (tmp_path / name).write_text(text)
    argv = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in UNITS)]
    env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=env)
    mine = [line for line in done.stderr.splitlines() if "ostci" in line]
    assert mine == []
    assert done.returncode == 0, done.stderr


def test_each_word_of_a_unit_is_one_of_ours() -> None:
    from pipeline.cli.verbs import build_parser

    told = set()
    for name in UNITS:
        for line in (FILES / name).read_text().splitlines():
            if line.startswith("ExecStart=/opt/"):
                argv = re.sub(r"\$\{[A-Z_]+\}", "7", line.removeprefix("ExecStart=")).split()
                assert argv[0] == "/opt/ostci/bin/ostci"
                build_parser("0").parse_args(argv[1:])
                told.add(argv[3] if argv[1] == "-C" else argv[1])
    assert told == {"up", "worker", "serve", "backup", "clean"}


def playbook(root: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Play the role on this machine, its paths below a directory."""
    wheel = root / "ostci-0-py3-none-any.whl"
    wheel.touch()
    (root / "venv" / "bin").mkdir(parents=True, exist_ok=True)
    ostci = root / "venv" / "bin" / "ostci"
    if not ostci.exists():
        ostci.symlink_to(Path(sys.executable).with_name("ostci"))
    (root / "manifests").mkdir(exist_ok=True)
    (root / "manifests" / "rootfs.tar").touch()
    (root / "manifests" / "os.yaml").write_text(json.dumps(MANIFEST))
    given = {
        "ansible_python_interpreter": "/usr/bin/python3",
        "ostci_backups": f"{root}/backups",
        "ostci_home": f"{root}/home",
        "ostci_manifest": "os.yaml",
        "ostci_manifests": f"{root}/manifests/",
        "ostci_secrets": {"hook-plain": "hush"},
        "ostci_units": f"{root}/units",
        "ostci_user": "root",
        "ostci_venv": f"{root}/venv",
        "ostci_worker_home": f"{root}/worker",
        "ostci_worker_user": "nobody",
        "ostci_wheel": str(wheel),
    }
    argv = ["ansible-playbook", "-c", "local", "-i", "localhost,", str(TOP / "ansible/site.yml")]
    env = {**os.environ, "ANSIBLE_LOCAL_TEMP": f"{root}/tmp", "ANSIBLE_NOCOLOR": "1"}
    env |= {"ANSIBLE_STDOUT_CALLBACK": "default", "LC_ALL": "C.UTF-8"}
    argv += ["-e", json.dumps(given), *options]
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=300, check=False, env=env, cwd=TOP
    )


@needs_ansible
def test_the_playbook_reads(tmp_path: Path) -> None:
    done = playbook(tmp_path, "--syntax-check")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_ansible
@pytest.mark.full
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to a user")
def test_the_role_makes_a_work_directory_and_the_second_time_changes_nothing(
    tmp_path: Path,
) -> None:
    first = playbook(tmp_path, "--skip-tags", "host")
    assert first.returncode == 0, first.stdout + first.stderr
    work = tmp_path / "home" / "work"
    said = tomllib.loads((work / "ostci.toml").read_text())["master"]
    assert (said["runs"], said["worker-user"]) == (4, "nobody")
    mine, given = work / "buildbot/master/secrets/worker-local", tmp_path / "worker/password"
    assert mine.read_text() == given.read_text() and len(mine.read_text()) == 32
    assert [path.stat().st_mode & 0o777 for path in (mine, given)] == [0o600, 0o600]
    secret = work / "buildbot" / "master" / "secrets" / "hook-plain"
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("hush", 0o600)
    assert "hush" not in first.stdout
    checked = subprocess.run(
        [tmp_path / "venv" / "bin" / "ostci", "-C", work, "check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    second = playbook(tmp_path, "--skip-tags", "host")
    assert "changed=0" in second.stdout, second.stdout
    dry = playbook(tmp_path, "--skip-tags", "host", "--check")
    assert dry.returncode == 0, dry.stdout + dry.stderr
