# SPDX-License-Identifier: LGPL-2.1-or-later
"""A master with a ``nightly``: the night that it missed is a run, once."""

import time
from pathlib import Path

import pytest

from pipeline.words.nightly import HEAD
from pipeline.words.push import NIGHTLY, PushState, Via
from tests.masters import FakeUp

pytestmark = pytest.mark.slow


def test_a_night_that_was_missed_is_one_run(tmp_path: Path) -> None:
    # An hour ago: no other night comes while this one is looked at.
    hour = time.strftime("%H:00", time.gmtime(time.time() - 3600))
    up = FakeUp(tmp_path, nightly=hour, poll=3600)
    up.ledger.pushes.note_head(NIGHTLY, HEAD, "2026-01-01")
    sample = tmp_path / "sample" / "manifest.yaml"
    gate, night = "gates: {smoke: required", ", memory: nightly"
    assert gate in sample.read_text()
    sample.write_text(sample.read_text().replace(gate, gate + night))
    # What forks and boots come to is our business: it is told, and holds nothing back.
    up.tell("test-x86_64-runtime-pairs", 70)
    with up:
        up.wait(lambda: bool(up.ledger.pushes.newest(1)), "the night is taken up")
        (done,) = up.wait_ended(*up.ledger.pushes.newest(9))
        suites = [call.split()[3] for call in up.calls() if call.startswith("test ")]
        assert sorted(suites) == ["memory", "pairs", "smoke"]
        (build,) = up.builds("suite/x86_64-runtime/pairs")
        assert build["word"] == "exception"
        up.wait(lambda: up.builds()[-1]["complete"], "the run's build has ended")
        assert up.builds()[-1]["word"] == "warnings"
        assert (up.steps(up.builds()[-1])["promote"], done.attempts) == ("success", 1)
        assert (done.component, done.via, done.state) == (NIGHTLY, Via.NIGHTLY, PushState.DONE)
        assert done.note == f"the night of {done.after}" and done.before == "2026-01-01"
        change = up.get("changes?limit=1&order=-changeid")["changes"][0]
        assert (change["author"], change["project"]) == (NIGHTLY, NIGHTLY)
        assert "which the clock asks for" in change["comments"]
        up.kill("master")
        up.wait(up.is_up, "the master is up again")
        more = up.push()
        up.wait_ended(more)
        for suite, count in (("pairs", 1), ("memory", 1), ("smoke", 2)):
            assert len(up.builds(f"suite/x86_64-runtime/{suite}")) == count, suite
        assert [push.via for push in up.ledger.pushes.newest(9)] == [Via.NIGHTLY, more.via]
