# SPDX-License-Identifier: LGPL-2.1-or-later
"""The suite of external tests on a real machine: each executable has a result of its own."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports.checkpoint import Shelf
from pipeline.ports.log import ListSink, Log
from pipeline.stages.test import TestRequest, checkpoints, run_suite
from pipeline.words.errors import BadInput
from pipeline.words.external import SourceFile, read_externals
from pipeline.words.kept import slug
from pipeline.words.verdict import SuiteResult, Verdict
from tests.guests import guest_request

pytestmark = pytest.mark.vm
REBOOTS = """\
#!/bin/sh
## ostci:
##   reboots: 1
##   output: tap
. ./lib.sh
case "$AUTOPKGTEST_REBOOT_MARK" in
    "") echo 1..2; echo "ok 1 - $WORD"; echo kept >/var/tmp/note; autopkgtest-reboot "mark one" ;;
    "mark one") grep -q kept /var/tmp/note && test -x /tmp/autopkgtest-reboot && echo ok 2 ;;
esac
"""
FILES = {
    "again": "#!/bin/sh\nautopkgtest-reboot x\n",
    "crashes": "#!/bin/sh\nkill -SEGV $$\n",
    "fails": "#!/bin/sh\necho it broke >&2; exit 3\n",
    "forever": "#!/bin/sh\n## ostci:\n##   timeout: 1\nsleep 1000\n",
    "later": "#!/bin/sh\n## ostci:\n##   expected-to-fail: https://bugs/1\nexit 1\n",
    "leaves": "#!/bin/sh\necho >/var/tmp/trace\n",
    "lib.sh": "WORD=sourced\n",
    "malformed": "#!/bin/sh\n## ostci:\n##   timeuot: 5\n",
    "misses": "#!/bin/sh\n## ostci:\n##   needs: no-such-program\n",
    "panics": "#!/bin/sh\necho c >/proc/sysrq-trigger; sleep 100\n",
    "plain": '#!/bin/sh\n[ -z "$AUTOPKGTEST_REBOOT_MARK" ] && echo fine >"$AUTOPKGTEST_TMP/out"\n',
    "reboots": REBOOTS,
    "sees": "#!/bin/sh\ntest ! -e /var/tmp/trace\n",
    "skips": "#!/bin/sh\necho no bus; exit 77\n",
    "zmore": "#!/bin/sh\n## ostci:\n##   reboots: 1\nautopkgtest-reboot again\n",
}


@pytest.fixture(autouse=True)
def _no_memory_is_left(tmp_path: Path) -> Iterator[None]:
    """Remove the checkpoints, whose memory lies elsewhere."""
    yield
    shelf = Shelf(checkpoints(tmp_path / "cache"), log=Log())
    assert all(shelf.remove(name) for name in shelf.names())


def request_of(tmp: Path, log: Log, *names: str) -> TestRequest:
    files = [
        SourceFile(name=name, data=FILES[name].encode(), is_program=name != "lib.sh")
        for name in (*names, "lib.sh")
    ]
    found = guest_request({}, tmp / "evidence", log=log)
    return replace(
        found, suite="externals", externals=(read_externals("zlib", "1" * 40, files),), seed=7
    )


def run(request: TestRequest, tmp: Path, log: Log) -> SuiteResult:
    return run_suite(request, cache=tmp / "cache", tmp=tmp / "tmp", log=log)


def boots(sink: ListSink) -> int:
    """Count the boots."""
    return sum(1 for line in sink.texts() if ": boot done in" in line)


def test_each_external_test_has_its_own_result(tmp_path: Path, log: Log) -> None:
    names = ("again", "crashes", "fails", "forever", "later", "malformed", "misses", "plain")
    result = run(request_of(tmp_path, log, *names, "skips"), tmp_path, log)
    assert {one.name: (one.verdict, one.message) for one in result.tests} == {
        "zlib/again": (
            Verdict.FAILED,
            "ended with exit code 127: ./again: line 2: autopkgtest-reboot: not found",
        ),
        "zlib/crashes": (
            Verdict.FAILED,
            "was killed by SIGSEGV: Segmentation fault (core dumped)",
        ),
        "zlib/fails": (Verdict.FAILED, "ended with exit code 3: it broke"),
        "zlib/forever": (Verdict.FAILED, "did not end within 1 s, or was killed"),
        "zlib/later": (Verdict.SKIPPED, "known to fail: ended with exit code 1 (https://bugs/1)"),
        "zlib/malformed": (
            Verdict.FAILED,
            "zlib/malformed is malformed: line 3: unknown key timeuot, did you mean 'timeout'?",
        ),
        "zlib/misses": (
            Verdict.SKIPPED,
            "it needs no-such-program, which the tree does not have",
        ),
        "zlib/plain": (Verdict.PASSED, ""),
        "zlib/skips": (Verdict.SKIPPED, "no bus"),
    }
    [core] = (tmp_path / "evidence" / "tests").glob("*/core.gz")
    assert core.parent.name.startswith("zlib-crashes")
    assert result.ran is not None and result.ran.seed == 7
    with pytest.raises(BadInput, match=r"has no external test zlib/fail$") as caught:
        run(replace(request_of(tmp_path, log, "fails"), suite="externals/zlib/fail"), tmp_path, log)
    assert caught.value.hint == "did you mean externals/zlib/fails?"


def test_each_begins_where_the_boot_has_left_the_machine(
    tmp_path: Path, log: Log, sink: ListSink
) -> None:
    first = run(request_of(tmp_path, log, "leaves", "sees"), tmp_path, log)
    assert [one.verdict for one in first.tests] == [Verdict.PASSED, Verdict.PASSED]
    assert boots(sink) == 1
    assert (tmp_path / "evidence/tests" / slug("zlib/leaves") / "journal.txt").is_file()
    sink.lines.clear()
    again = run(request_of(tmp_path, log, "fails", "reboots"), tmp_path, log)
    found = {one.name: one.verdict for one in again.tests}
    assert found == {"zlib/fails": Verdict.FAILED, "zlib/reboots": Verdict.PASSED}
    assert boots(sink) == 1, "but for the reboot it wants, the checkpoint is there"


@pytest.mark.full
@pytest.mark.parametrize("forks", [True, False])
def test_what_reboots_too_often_or_not_at_all_leaves_a_machine_to_the_next(
    tmp_path: Path, log: Log, forks: bool
) -> None:
    request = request_of(tmp_path, log, "again", "panics", "plain", "zmore")
    result = run(replace(request, forks=forks), tmp_path, log)
    assert {one.name: (one.verdict, one.message) for one in result.tests} == {
        "zlib/again": (
            Verdict.FAILED,
            "ended with exit code 127: ./again: line 2: autopkgtest-reboot: not found",
        ),
        "zlib/panics": (Verdict.FAILED, "Kernel panic - not syncing: sysrq triggered crash"),
        "zlib/plain": (Verdict.PASSED, ""),
        "zlib/zmore": (
            Verdict.FAILED,
            "it wants to reboot more often than its header says: 1",
        ),
    }


def test_one_that_reboots_goes_on_where_it_was(tmp_path: Path, log: Log) -> None:
    result = run(request_of(tmp_path, log, "reboots"), tmp_path, log)
    assert [(one.name, one.verdict, one.message) for one in result.tests] == [
        ("zlib/reboots", Verdict.PASSED, "")
    ]
    log_of = next(one.log for one in result.tests if one.name == "zlib/reboots")
    assert "it reboots, with the mark mark one" in log_of
    assert "ok 1 - sourced" in log_of
