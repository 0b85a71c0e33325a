# SPDX-License-Identifier: LGPL-2.1-or-later
"""Workers on other machines: here processes with homes of their own, over TLS, with real builds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.ports.worker_book import WorkerBook
from pipeline.words.push import Push
from tests.cheap import Cheap
from tests.masters import Up
from tests.remote import RemoteProcess, names, prepare_secrets, remote_settings

pytestmark = pytest.mark.slow
_LONG_S = 400.0


class Yard:
    """A master with workers that tests bring up; ``settings`` are those of ``[master.remote]``."""

    def __init__(self, root: Path) -> None:
        self.work = Cheap(root, one=0.0, two=0.0)
        workers = {"anvil": "push", "bench": "push", "liar": "push", "old": "push", "attic": "try"}
        told = {name: {"pool": pool, "slots": 1} for name, pool in workers.items()}
        self.settings: dict[str, Any] = remote_settings(**told)
        self.up = Up(
            root, work=self.work, poll=1, reconcile=1, slots=1, runs=1, remote=self.settings
        )
        prepare_secrets(self.up, *workers, tls=True)
        self.ca = root / "ca.pem"

    def worker(self, name: str, *more: str, **kwargs: Any) -> RemoteProcess:
        return RemoteProcess(self.up, name, self.settings, *more, ca=self.ca, **kwargs)

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

    def builds(self, push: Push) -> list[dict[str, Any]]:
        """List the builds of the component of a push."""
        run = self.up.ledger.pushes.get(push.id).run
        found = self.up.builds("component/one")
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
    # Its composed tree has what was built there, and its log is here.
    assert yard.work.line()[-1] == done.run
    assert (house.workdir.run(str(done.run)).component("one") / "log.txt").is_file()
    assert "built on worker anvil" in yard.work.log_of(str(done.run))
