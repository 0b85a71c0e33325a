# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines in a private network of their own, real ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports.gpg import Keyring
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.stages.test import TestRequest, run_suite
from pipeline.words.refs import RefName
from pipeline.words.verdict import Verdict
from tests import machines, spoilt

SUITES = Path(__file__).parent / "suites"


def request_of(suite: str, tmp: Path, log: Log) -> TestRequest:
    made = machines.tiny_disk(log)
    return TestRequest(
        run=machines.VERSION,
        tree=made.tree,
        # Two beside the one that every suite has.
        target=replace(made.target, memory=256 * 1024**2),
        disk=made.disk,
        suite=suite,
        into=tmp / "evidence",
        suites=SUITES,
    )


@pytest.mark.vm
@pytest.mark.slow
def test_machines_of_one_test_are_in_a_network_of_their_own(tmp_path: Path, log: Log) -> None:
    request = request_of("several", tmp_path, log)
    result = run_suite(request, cache=tmp_path / "cache", tmp=tmp_path / "tmp", log=log)
    bad = [one.log for one in result.tests if one.verdict is not Verdict.PASSED]
    assert (result.verdict, bad) == (Verdict.PASSED, [])
    assert not list((tmp_path / "tmp").glob("*/*"))


@pytest.mark.vm
@pytest.mark.slow
@pytest.mark.full
def test_a_guest_pulls_signed_commits_from_another(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    _repository(tmp_path / "served", log)
    monkeypatch.setenv("OSTCI_TEST_SERVED", str(tmp_path / "served"))
    request = spoilt.debian_request({}, tmp_path / "evidence", log=log)
    target = replace(request.target, memory=512 * 1024**2)
    request = replace(request, suite="pulls", suites=SUITES, target=target)
    result = run_suite(request, cache=tmp_path / "cache", tmp=tmp_path / "tmp", log=log)
    bad = [one.log for one in result.tests if one.verdict is not Verdict.PASSED]
    assert (result.verdict, bad) == (Verdict.PASSED, [])


def _repository(into: Path, log: Log) -> None:
    """Make a repository to be served: a signed commit on ``good``, and one that is not."""
    (into / "tree").mkdir(parents=True)
    (into / "tree/hello").write_text("hello\n")
    repo = Repo(into / "repo", log=log).create(Mode.ARCHIVE)
    keys = Keyring(into / "keys", log=log)
    fingerprint = keys.ensure("the server of a test")
    (into / "key.asc").write_bytes(keys.export())
    for name in ("good", "unsigned"):
        ref = RefName(name)
        commit = repo.commit_layers(
            [repo.commit_dir(into / "tree", subject=name)], subject=name, bind=[ref]
        )
        repo.set_ref(ref, commit)
        if name == "good":
            with keys.unlocked() as home:
                repo.run("gpg-sign", f"--gpg-homedir={home}", commit, fingerprint)
    repo.run("summary", "--update")
