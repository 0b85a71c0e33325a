# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cheap views of a guest are right: nothing has to be started in it to tell how it is.

The smoke suite believes the journal about failed units and the kernel about the deployment. Here
systemctl and ostree are asked as well, in a Debian with units that fail.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.stages.disk import DiskRequest, make_disk
from pipeline.stages.test import TestRequest, run_suite
from pipeline.words.manifest import Target
from pipeline.words.refs import RefName
from pipeline.words.tree import Tree
from pipeline.words.verdict import Verdict
from tests import machines
from tests.layers import write_files

SUITES = Path(__file__).parent / "suites"
TARGET = Target(name="runtime", default_unit="multi-user.target", disk_size=2 * 1024**3)
_REF = RefName("views/compose/x86_64-runtime")
_UNITS = "usr/lib/systemd/system"
_ONCE = "[Service]\nType=oneshot\n"
Units = Mapping[str, tuple[str, str]]
"""Name → its text and what wants it."""
UNITS: Units = {
    # Before there is a journal: systemd says so to the kernel's log alone.
    "early.service": (
        "[Unit]\nDefaultDependencies=no\nBefore=systemd-journald.service\n"
        f"{_ONCE}ExecStart=/bin/false\n",
        "sysinit.target",
    ),
    "at-once.service": ("[Service]\nExecStart=/bin/false\n", "multi-user.target"),
    "reset.service": (f"{_ONCE}ExecStart=/bin/false\n", "multi-user.target"),
    "later.service": (f"{_ONCE}ExecStart=/bin/false\n", ""),
    "recovers.service": (
        "[Service]\nRestart=on-failure\nRestartSec=0.1\n"
        "ExecStart=/bin/sh -c 'test -e /run/tried && exec sleep 10000; : >/run/tried; exit 1'\n",
        "multi-user.target",
    ),
    "twice.service": (
        "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=10000\n"
        "[Service]\nRestart=on-failure\nRestartSec=0.1\nExecStart=/bin/false\n",
        "multi-user.target",
    ),
    # Its failure is no message that is kept.
    "silent.service": ("[Service]\nLogLevelMax=crit\nExecStart=/bin/false\n", "multi-user.target"),
    "run-broken.mount": (
        "[Mount]\nWhat=tmpfs\nWhere=/run/broken\nType=tmpfs\nOptions=nonsense=1\n",
        "multi-user.target",
    ),
}


@pytest.mark.vm
@pytest.mark.slow
def test_the_cheap_views_agree_with_systemctl_and_ostree(tmp_path: Path, log: Log) -> None:
    request = _request(tmp_path, UNITS, log)
    result = run_suite(request, cache=tmp_path, tmp=tmp_path, log=log)
    bad = [(one.name, one.message) for one in result.tests if one.verdict is not Verdict.PASSED]
    assert bad == []
    assert len(result.tests) == 5


@pytest.mark.vm
@pytest.mark.slow
def test_a_unit_that_fails_in_silence_fails_the_smoke_suite(tmp_path: Path, log: Log) -> None:
    request = _request(tmp_path, {"silent.service": UNITS["silent.service"]}, log)
    request = replace(request, suite="smoke", suites=None)
    result = run_suite(request, cache=tmp_path, tmp=tmp_path, log=log)
    assert (result.verdict, result.cause) == (Verdict.FAILED, "failed-unit")
    assert result.message == "test_no_unit_failed: failed units: silent.service"


def _request(tmp: Path, units: Units, log: Log) -> TestRequest:
    """Put the units over the base of the Debian sample, and that on a disk."""
    repo = Repo(tmp / "repo", log=log).create(Mode.BARE_USER)
    manifest = machines.sample("debian")
    _, variants = machines.import_sample(manifest, repo, variants=(("runtime",),), log=log)
    layer = repo.commit_dir(write_files(tmp / "layer", _files(units)), subject="units that fail")
    commit = repo.commit_layers([variants["runtime"], layer], subject="views", bind=[_REF])
    disk = make_disk(
        DiskRequest(osname="views", ref=_REF, commit=commit, target=TARGET),
        repo=repo.path,
        disks=tmp / "disks",
        log=log,
    )
    tree = Tree(
        name="x86_64-runtime",
        arch="x86_64",
        target=TARGET.name,
        commit=commit,
        content="",
        version=machines.VERSION,
        snapshot="",
    )
    return TestRequest(
        run=machines.VERSION,
        tree=tree,
        target=TARGET,
        disk=disk,
        suite="units",
        into=tmp / "evidence",
        suites=SUITES,
    )


def _files(units: Units) -> dict[str, str | bytes | None]:
    found: dict[str, str | bytes | None] = {}
    for name, (text, wanted_by) in units.items():
        found[f"{_UNITS}/{name}"] = text
        if wanted_by:
            found[f"{_UNITS}/{wanted_by}.wants/{name}"] = f"-> ../{name}"
    return found
