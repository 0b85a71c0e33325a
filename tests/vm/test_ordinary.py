# SPDX-License-Identifier: LGPL-2.1-or-later
"""The whole way of a push as an ordinary user: no stage needs root, no two users meet."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ports.files import lock, remove_tree
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from tests.machines import BOTH, cache_of_tests, import_sample, sample
from tests.ordinary import USER, Ordinary, copy_for, ordinary_user
from tests.work import TINY, ostci_argv

pytestmark = [pytest.mark.vm, pytest.mark.slow]


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Ordinary]:
    """A user who has the base of tiny in a cache already, and nothing else."""
    with ordinary_user() as found:
        cache = found.home / ".cache/ostci"
        repo = Repo(tmp_path / "repo", log=Log()).create(Mode.BARE_USER)
        pin, variants = import_sample(sample("tiny"), repo, variants=BOTH, log=Log())
        given = Repo(tmp_path / "bases", log=Log()).create(Mode.BARE_USER)
        given.pull_local(repo.path, list(variants.values()))
        for ref, commit in Repo(cache_of_tests() / "bases", log=Log()).refs().items():
            if ref.startswith(f"bases/{pin.key}/"):
                given.set_ref(ref, commit)
        copy_for(found, given.path, cache / "bases")
        copy_for(found, cache_of_tests() / "base-answers", cache / "base-answers")
        for lists in (cache_of_tests() / "apt").iterdir():
            # Somebody may fetch newer ones meanwhile.
            with lock(lists / "lock", what="a copy for a test", wait_s=900.0):
                copy_for(found, lists, cache / "apt" / lists.name)
        found.own(found.home)
        remove_tree(given.path)
        yield found


def test_a_push_of_an_ordinary_user_is_built_booted_and_promoted(user: Ordinary) -> None:
    work = user.home / "work"

    def ostci(*words: str) -> str:
        done = user.run(ostci_argv(None, *words), timeout_s=1200.0)
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    ostci("init", str(work), str(TINY))
    ostci("-C", str(work), "run")
    record = json.loads(ostci("-C", str(work), "log", "-n", "1", "--json"))[0]
    assert record["ending"] == "passed"
    tested = json.loads((work / "last-run/tests.json").read_text())["suites"]
    assert {one["verdict"] for one in tested} == {"passed"}
    assert {one["tree"]: one["commit"] for one in tested} == record["promoted"]
    refs = Repo(work / "archive", log=Log()).refs()
    heads = {str(commit) for ref, commit in refs.items() if "/buildmaster/" in ref}
    assert heads == set(record["promoted"].values())
    owners = {path.lstat().st_uid for path in user.home.rglob("*")}
    assert owners == {USER}  # nothing is left that only a namespace can remove
    assert "user namespaces: files of every user can be made" in ostci("doctor", "--no-boot")
    assert "are gone" in ostci("-C", str(work), "clean")
