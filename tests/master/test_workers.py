# SPDX-License-Identifier: LGPL-2.1-or-later
"""Workers on other machines: here processes with homes of their own, over TLS, with real builds."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.ports.worker_book import WorkerBook
from pipeline.words.push import Push
from tests.cheap import Cheap
from tests.master.test_real import small_tiny
from tests.masters import Up
from tests.remote import (
    RemoteProcess,
    liar,
    make_certificate,
    names,
    prepare_secrets,
    remote_settings,
)
from tests.work import run_ostci

pytestmark = pytest.mark.slow
_LONG_S = 400.0


class Yard:
    """A master with workers that tests bring up; ``settings`` are those of ``[master.remote]``."""

    def __init__(self, root: Path) -> None:
        self.work = Cheap(root, one=0.0, two=0.0)
        workers = {"anvil": "push", "bench": "push", "liar": "push", "old": "push", "attic": "try"}
        told = {name: {"pool": pool, "slots": 1} for name, pool in workers.items()}
        told["twins"] = {"pool": "push", "slots": 2}
        self.settings: dict[str, Any] = {**remote_settings(**told), "sample": 1}
        self.up = Up(
            root, work=self.work, poll=1, reconcile=1, slots=1, runs=1, remote=self.settings
        )
        prepare_secrets(self.up, *told, tls=True)
        self.ca = root / "ca.pem"

    def worker(self, name: str, *more: str, **kwargs: Any) -> RemoteProcess:
        return RemoteProcess(self.up, name, self.settings, *more, **{"ca": self.ca, **kwargs})

    def push(self, after_s: float = 0.0) -> Push:
        """Change a component and wait until that was seen."""
        known = len(self.up.ledger.pushes.newest(99))
        self.work.change("one", after_s)
        self.up.wait(lambda: len(self.up.ledger.pushes.newest(99)) > known, "the push was seen")
        return self.up.ledger.pushes.newest(1)[0]

    def ended(self, push: Push) -> Push:
        (done,) = self.up.wait_ended(push, within_s=_LONG_S)
        self.up.wait(lambda: self.up.get("builds?complete=false")["builds"] == [], "all is over")
        return done

    def builds(self, push: Push, component: str = "one") -> list[dict[str, Any]]:
        """List the builds of a component for a push."""
        run = self.up.ledger.pushes.get(push.id).run
        found = self.up.builds(f"component/{component}")
        return [build for build in found if build["props"].get("run") == run]


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    made = Yard(tmp_path_factory.mktemp("workers"))
    with made.up:
        made.up.wait(
            lambda: any(url.endswith("/two") for url, _ in made.up.ledger.pushes.heads()),
            "all repositories were seen",
        )
        yield made


def test_a_component_is_built_on_another_machine_and_taken(yard: Yard) -> None:
    with yard.worker("anvil") as anvil, yard.worker("attic") as attic:
        anvil.wait_connected()
        attic.wait_connected()
        assert not anvil.facts()["paused"], anvil.facts()
        push = yard.push()
        done = yard.ended(push)
        builds = yard.builds(push)
    told = "\n".join(yard.up.logs(build) for build in builds)
    assert [build["word"] for build in builds] == ["success"], told
    assert names(builds) == ["away-anvil-1"]
    (build,) = builds
    assert build["props"]["arch"] and build["props"]["pool"] == "push"
    house = yard.work.house()
    house.repo.fsck()
    (made,) = WorkerBook(house.workdir).read("anvil").made
    assert (made.component, made.run) == ("one", done.run)
    assert house.artifacts.by_key(made.key) is not None
    (sample,) = yard.up.builds("sample/one")
    assert (sample["word"], sample["props"]["made-by"]) == ("success", "anvil")
    # Its composed tree has what was built there, and its log is here.
    assert yard.work.line()[-1] == done.run
    assert (house.workdir.run(str(done.run)).component("one") / "log.txt").is_file()
    assert "built on worker anvil" in yard.work.log_of(str(done.run))


def aside(worker: RemoteProcess) -> bool:
    return bool(worker.facts()["paused"])


def test_what_is_not_fit_is_set_aside_and_says_why(yard: Yard) -> None:
    old = yard.worker("old", version="0.0.1")
    full = yard.worker("bench", "--room", "1000000", "--again", "1")
    with old, full:
        for worker in (old, full):
            worker.wait_connected()
            yard.up.wait(partial(aside, worker), "it is set aside")
        assert "it has ostci 0.0.1, the master" in old.facts()["pause_reason"]
        assert "too little disk" in full.facts()["pause_reason"]


def test_a_master_whose_authority_is_not_trusted_is_told_nothing(
    yard: Yard, tmp_path: Path
) -> None:
    make_certificate(tmp_path, tmp_path)
    assert (tmp_path / "ca.pem").read_bytes() != yard.ca.read_bytes()
    with yard.worker("bench", ca=tmp_path / "ca.pem") as bench:
        log = yard.up.root.parent / "bench.log"
        yard.up.wait(
            lambda: "is not to be trusted: unable to get local issuer" in log.read_text(),
            "it says whom it does not trust",
        )
        began = bench.home / "twistd.log"
        yard.up.wait(
            lambda: began.is_file() and "Scheduling retry" in began.read_text(),
            "it has tried to connect",
        )
        assert not bench.facts()["connected_to"]
        words = ("fetch", "--from", f"https://{yard.settings['dock']}", "build", "one")
        home = bench.home / "work"
        said = run_ostci(home, *words, "--run", "20261124.0", code=3)
    assert "certificate verify failed" in said.err


@pytest.mark.full
def test_a_worker_does_as_much_at_once_as_it_has_slots(yard: Yard) -> None:
    with yard.worker("twins", "--slots", "2") as twins:
        twins.wait_connected()
        known = len(yard.up.ledger.pushes.newest(99))
        yard.work.ostci("push", "one", "--rebuild", "one", "--rebuild", "two")
        push = yard.up.ledger.pushes.newest(1)[0]
        assert len(yard.up.ledger.pushes.newest(99)) == known + 1
        done = yard.ended(push)
    builds = [*yard.builds(push, "one"), *yard.builds(push, "two")]
    assert sorted(names(builds)) == ["away-twins-1", "away-twins-2"]
    assert {build["word"] for build in builds} == {"success"}
    first, second = builds
    assert first["started_at"] <= second["complete_at"]
    assert second["started_at"] <= first["complete_at"]
    assert yard.work.line()[-1] == done.run


@pytest.mark.full
def test_a_worker_that_lies_is_set_aside_and_another_does_its_job(
    yard: Yard, tmp_path: Path
) -> None:
    spoil = (
        "told = json.loads((top / 'offer.json').read_text())\n"
        "told['component']['key'] = 'f' * 64\n"
        "(top / 'offer.json').write_text(json.dumps(told))"
    )
    with yard.worker("liar", path=liar(tmp_path / "bin", spoil)) as worker:
        worker.wait_connected()
        push = yard.push()
        done = yard.ended(push)
        reason = worker.facts()["pause_reason"]
    builds = yard.builds(push)
    told = "\n".join(yard.up.logs(build) for build in builds)
    assert names(builds) == ["away-liar-1", "work-1"], told
    assert [build["word"] for build in builds] == ["retry", "success"], told
    assert "liar lied" in builds[0]["state_string"]
    assert "it sent what is not true" in reason
    # It is nobody's bad push: the run went on, in its first attempt.
    assert done.attempts == 1 and yard.work.line()[-1] == done.run
    # It stays so, also for a master that has forgotten, until a person says otherwise.
    with yard.worker("liar") as worker:
        worker.wait_connected()
        assert worker.facts()["paused"]
    yard.work.ostci("workers", "liar", "--back")
    with yard.worker("liar") as worker:
        worker.wait_connected()
        yard.up.wait(lambda: not worker.facts()["paused"], "it works again")


@pytest.mark.full
def test_the_job_of_a_lost_worker_is_done_elsewhere(yard: Yard) -> None:
    with yard.worker("bench") as bench:
        bench.wait_connected()
        push = yard.push(after_s=8.0)
        yard.up.wait(lambda: "build away" in steps_begun(yard, push), "it builds")
        bench.kill()
        yard.ended(push)
    builds = yard.builds(push)
    assert names(builds) == ["away-bench-1", "work-1"]
    assert [build["word"] for build in builds] == ["retry", "success"]
    assert yard.up.ledger.pushes.get(push.id).attempts == 1


def steps_begun(yard: Yard, push: Push) -> list[str]:
    """List the steps that a worker was given of the first build of a push's component."""
    builds = yard.builds(push)
    if not builds:
        return []
    steps = yard.up.get(f"builds/{builds[0]['buildid']}/steps")["steps"]
    return [step["name"] for step in steps if step["started_at"]]


@pytest.mark.full
@pytest.mark.vm
def test_a_tree_is_booted_on_another_machine_and_promoted_here(tmp_path: Path) -> None:
    work = small_tiny(tmp_path)
    settings = remote_settings(anvil={"pool": "push", "slots": 1})
    up = Up(tmp_path, work=work, poll=2, reconcile=2, slots=1, runs=1, remote=settings)
    prepare_secrets(up, "anvil", tls=False)
    with up, RemoteProcess(up, "anvil", settings) as anvil:
        anvil.wait_connected()
        up.wait(lambda: up.seen() > 0, "all repositories were seen")
        work.push(work.story.change)
        up.wait(lambda: bool(up.ledger.pushes.newest(1)), "the push was seen")
        (done,) = up.wait_ended(*up.ledger.pushes.newest(1), within_s=900.0)
        (suite,) = up.builds("suite/x86_64-runtime/smoke")
        told = up.logs(suite)
        assert suite["word"] == "success", told
        assert names([suite]) == ["away-anvil-1"]
        assert done.message == "", done
        run = work.house().workdir.run(str(done.run))
        assert set(work.heads()) == {"tiny/buildmaster/x86_64-runtime"}
        evidence = {path.name for path in run.test("x86_64-runtime", "smoke").iterdir()}
        assert "console.txt" in evidence, evidence
    work.check_whole()
