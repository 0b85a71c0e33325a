# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whose fault a failure is, on real machines: chance, the change, or what was there before."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.attempts import BASELINE, Attempts, Promoted
from pipeline.ports.log import Line, ListSink, Log, plain_text
from pipeline.stages.disking.boot_files import boot_files
from pipeline.stages.test import TestRequest
from pipeline.words.attempts import ELSEWHERE
from pipeline.words.verdict import Verdict
from tests.guests import fault, guest_disk, guest_repo, guest_request

pytestmark = pytest.mark.vm
BROKEN = fault("services() { unit_failed broken.service exit-code; }")


def attempts(tmp: Path, log: Log, promoted: Promoted = lambda _: None) -> Attempts:
    return Attempts(cache=tmp / "cache", tmp=tmp / "tmp", log=log, promoted=promoted)


class Mend:
    """Give a disk the options of a boot back once its first attempt has failed."""

    def __init__(self, record: Path, options: str) -> None:
        self.record, self.options = record, options

    def write(self, line: Line) -> None:
        if "failed: once more" in plain_text(line):
            value = {**json.loads(self.record.read_bytes()), "options": self.options}
            self.record.write_text(json.dumps(value))


def test_what_fails_once_and_passes_then_is_flaky_and_both_are_kept(
    tmp_path: Path, log: Log
) -> None:
    request = guest_request({}, tmp_path / "evidence", log=log)
    # A disk of its own: what is spoilt here no other test boots, nor one after a kill.
    own = guest_disk(request.tree.commit, log=log, disks=tmp_path / "disks")
    request = replace(request, disk=own)
    record = boot_files(Path(request.disk.path))[0]
    good = json.loads(record.read_bytes())
    options = good["options"]
    bad = options.replace("root=", "root=LABEL=elsewhere ignored=") + " rootdelay=1"
    record.write_text(json.dumps({**good, "options": bad}))
    with log.also(Mend(record, options)):
        result = attempts(tmp_path, log).hear(request)
    assert (result.verdict, result.attempts) == (Verdict.FLAKY, 2)
    assert result.message.startswith("passed when repeated: ostci-initramfs: root LABEL=elsewhere")
    first = json.loads((request.into / "attempt-1" / "report.json").read_bytes())
    assert first["cause"] == "initramfs"
    assert json.loads((request.into / "report.json").read_bytes())["cause"] == ""


def test_what_the_promoted_tree_shows_too_is_of_elsewhere(
    tmp_path: Path, log: Log, sink: ListSink
) -> None:
    layer = {**BROKEN, "/usr/lib/guest/new": "of the push"}
    request = guest_request(layer, tmp_path / "evidence", log=log)
    before = guest_request(BROKEN, tmp_path / "unused", log=log)

    def promoted(_: object) -> tuple[object, object]:
        return replace(before.tree, version="20260101.0"), before.disk

    result = attempts(tmp_path, log, promoted).hear(request)  # type: ignore[arg-type]
    assert (result.verdict, result.cause) == (Verdict.FAILED, ELSEWHERE)
    wanted = "fails on 20260101.0, promoted last, as well: broken.service: Failed with result"
    assert result.message.startswith(wanted)
    assert (request.into / BASELINE / "report.json").is_file()
    assert result.message in "\n".join(sink.texts())


def test_what_the_promoted_tree_does_not_show_is_the_changes_own(tmp_path: Path, log: Log) -> None:
    request = guest_request(BROKEN, tmp_path / "evidence", log=log)
    good: TestRequest = guest_request({}, tmp_path / "unused", log=log)
    result = attempts(tmp_path, log, lambda _: (good.tree, good.disk)).hear(request)
    assert (result.verdict, result.cause) == (Verdict.FAILED, "failed-unit")
    assert result.attempts == 2


def test_what_fails_in_forks_alone_is_no_failure_of_the_commit(tmp_path: Path, log: Log) -> None:
    # A machine that goes on from a checkpoint has what tells it the time.
    layer = {
        "/usr/share/installed-tests/guest/cold.test": "[Test]\nExec=/usr/libexec/cold\n",
        "/usr/libexec/cold": "#!/bin/sh\ntest ! -e /run/ostci-shell/wake\n",
    }
    found = guest_request(layer, tmp_path / "evidence", log=log)
    request = replace(found, suite="installed", repo=guest_repo(log))
    result = attempts(tmp_path, log).hear(request)
    assert (result.verdict, result.attempts) == (Verdict.FLAKY, 3)
    (test,) = result.tests
    assert (test.attempts, test.failures) == (3, 2)
    assert (request.into / "attempt-2").is_dir()
