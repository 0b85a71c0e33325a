# SPDX-License-Identifier: LGPL-2.1-or-later
"""Commands that say nothing for too long: stopped by Buildbot, which is nobody's wish."""

from collections.abc import Iterator

import pytest

from pipeline.words.push import PushState
from tests.masters import FakeUp

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeUp]:
    with FakeUp(tmp_path_factory.mktemp("silent"), attempts=2, silent=4) as made:
        yield made


def test_a_silent_stage_is_trouble_and_tried_again(up: FakeUp) -> None:
    up.tell("compose", "hang")
    (done,) = up.wait_ended(up.push())
    assert (done.state, done.attempts, done.message) == (PushState.DONE, 2, "as it was told")
    up.wait(lambda: bool(up.builds()[-1]["complete"]), "the last build is over")
    first, second = up.builds()
    assert (first["word"], second["word"]) == ("exception", "success")
    assert "compose: stopped: it said nothing for 4 s" in first["state_string"]
    assert not any(call.startswith("cancel") for call in up.calls())


def test_a_silent_child_is_put_back_into_the_queue(up: FakeUp) -> None:
    up.tell("test", "hang")
    (done,) = up.wait_ended(up.push())
    assert (done.state, done.attempts) == (PushState.DONE, 1)
    suites = up.builds("suite/x86_64-runtime/smoke")
    assert [build["word"] for build in suites][-2:] == ["retry", "success"]


def test_what_is_always_silent_ends_as_trouble(up: FakeUp) -> None:
    up.tell("test", "hang", "hang", "hang", "hang")
    (done,) = up.wait_ended(up.push())
    up.tell("test")
    assert (done.state, done.attempts) == (PushState.TROUBLE, 2)
