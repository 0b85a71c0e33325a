# SPDX-License-Identifier: LGPL-2.1-or-later
"""What Buildbot's pages call a run, where they lead to, and what *Rebuild* does."""

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.ports.master_settings import write_secret
from pipeline.words.push import Push, Via
from tests.masters import FakeUp

pytestmark = pytest.mark.slow
USERS = {"dora": "developer"}
LOGIN = {"user": "dora", "password": "opensesame"}
SUBJECT = "bring <b>joy</b>"
SERVED = "https://os.example.org/"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeUp]:
    made = FakeUp(tmp_path_factory.mktemp("pages"), users=USERS, served=SERVED)
    home = made.home / "master"
    home.mkdir(parents=True)
    write_secret(home, "user-dora", "opensesame")
    with made:
        yield made


@pytest.fixture(scope="module")
def failed(up: FakeUp) -> Push:
    """A push whose suite fails."""
    up.tell("test", 1)
    up.tell("end-ending", "failed")
    return done(up, up.push("hello", "b" * 40))


def done(up: FakeUp, push: Push) -> Push:
    """Wait until a push and all of its builds are over."""
    (ended,) = up.wait_ended(push)
    up.wait(lambda: not up.get("builds?complete=false")["builds"], "all builds are over")
    return ended


def build_of(up: FakeUp, push: Push, builder: str = "run") -> dict[str, Any]:
    return [one for one in up.builds(builder) if one["props"].get("push") == push.id][-1]


def urls_of(up: FakeUp, build: dict[str, Any]) -> dict[str, str]:
    """Tell the links of a build's steps."""
    steps = up.get(f"builds/{build['buildid']}/steps")["steps"]
    return {one["name"]: one["url"] for step in steps for one in step["urls"]}


def test_a_run_is_called_by_its_version_and_its_push_and_tells_its_reason_once(
    up: FakeUp, failed: Push
) -> None:
    build = build_of(up, failed)
    assert build["word"] == "failure"
    title = f"{failed.run} hello: {SUBJECT}"
    assert build["props"]["title"] == title
    assert build["state_string"] == f"{title}: as it was told"
    disk = build_of(up, failed, "disk/x86_64-runtime")
    assert (disk["state_string"], disk["props"]["run"]) == (title, failed.run)
    suite = build_of(up, failed, "suite/x86_64-runtime/smoke")
    assert suite["state_string"] == "test: failed: test was told to end with 1"
    assert suite["props"]["title"] == title


def test_links_lead_from_a_build_to_its_run_and_back(up: FakeUp, failed: Push) -> None:
    build = build_of(up, failed)
    run = up.work.house().workdir.run(str(failed.run))
    here = f"{SERVED}runs/{run.path.relative_to(up.root / 'runs')}/"
    urls = urls_of(up, build)
    assert urls[f"run {failed.run}"] == here
    assert urls["x86_64-runtime cccccccccccc"] == f"{here}trees.json"
    suite = build_of(up, failed, "suite/x86_64-runtime/smoke")
    evidence = f"{here}test/x86_64-runtime/smoke/"
    assert urls_of(up, suite) == {"evidence of smoke": evidence}
    component = build_of(up, failed, "component/hello")
    assert urls_of(up, component) == {"build of hello": f"{here}build/hello/"}
    page = f"{up.url}#/builders/{build['builderid']}/builds/{build['number']}"
    assert f"Buildbot {page}" in up.work.ostci("show", str(failed.run)).out
    assert up.work.json("show", str(failed.run))["builds"] == [page]


def test_rebuild_of_a_run_forces_its_push_again(up: FakeUp, failed: Push) -> None:
    build = build_of(up, failed)
    path = f"builders/{build['builderid']}/builds/{build['number']} rebuild"
    assert up.control(path)[0] == 403, "nobody in particular may not"
    code, answer = up.control(path, **LOGIN)
    assert code == 200, answer
    (push,) = up.ledger.pushes.newest(1)
    assert (push.component, push.after, push.via) == ("hello", "b" * 40, Via.FORCE)
    assert (push.note, push.wish.by) == (f"push {failed.id} again", "dora")
    done(up, push)
    again = build_of(up, push)
    assert [again["buildrequestid"]] == list(answer["result"][1].values())
    assert again["word"] == "success"
    assert push.run != failed.run


def test_rebuild_of_a_component_builds_that_in_any_case(up: FakeUp, failed: Push) -> None:
    build = build_of(up, failed, "component/hello-lib")["buildid"]
    assert up.control(f"builds/{build} rebuild", **LOGIN)[0] == 200
    (push,) = up.ledger.pushes.newest(1)
    assert (push.component, push.wish.rebuild) == ("hello", ("hello-lib",))
    done(up, push)


def test_rebuild_of_what_has_moved_on_is_refused_in_words(up: FakeUp, failed: Push) -> None:
    newer = done(up, up.push("hello", "d" * 40))
    code, answer = up.control(f"builds/{build_of(up, failed)['buildid']} rebuild", **LOGIN)
    assert code == 403
    told = answer["error"]["message"]
    assert told.startswith(f"hello has moved on with push {newer.id}, to dddddddddddd: rebuild")
    assert up.ledger.pushes.newest(1)[0].id == newer.id


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium")
def test_a_browser_shows_titles_as_text(up: FakeUp, failed: Push) -> None:
    build = build_of(up, failed)
    page = f"{up.url}#/builders/{build['builderid']}/builds/{build['number']}"
    argv = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    argv += [f"--user-data-dir={up.root.parent / 'chromium'}", "--virtual-time-budget=60000"]
    done = subprocess.run([*argv, page], capture_output=True, text=True, timeout=180, check=False)
    assert f"{failed.run} hello: bring &lt;b&gt;joy&lt;/b&gt;: as it was told" in done.stdout
    assert f">run {failed.run}</a>" in done.stdout
