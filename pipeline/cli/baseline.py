# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tree that a suite which failed is compared with: the one of its name that was promoted last.

On the master's host it is in the repository. A worker elsewhere is told which one it is with the
job, and pulls it only when a suite has failed there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline.cli.passage import Passage
from pipeline.ports.files import lock, write_text
from pipeline.ports.workdir import RunDir
from pipeline.words.records import from_json, to_json
from pipeline.words.refs import Commit, RefName, buildmaster_ref
from pipeline.words.tree import Tree

_FILE = "baselines"
_WAIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """By name, what a worker was told of trees; ``dock`` is where it pulls from."""

    dock: str
    trees: Mapping[str, Tree] = field(default_factory=dict)


def promoted_commit(passage: Passage, tree: str) -> Commit | None:
    """Tell what a tree of that name was promoted to last, here or where a try begins from."""
    taken = passage.taken_tree(tree)
    if taken is not None:
        return taken
    return passage.house.repo.resolve(buildmaster_ref(passage.manifest.osname, tree))


def promoted_last(passage: Passage, tree: Tree) -> Tree | None:
    """Find the tree of that name that was promoted last; None without another one."""
    repo, commit = passage.house.repo, promoted_commit(passage, tree.name)
    if commit is None or commit == tree.commit or not repo.has_commit(commit):
        return None
    version = repo.info(commit).metadata.get("version", "")
    return replace(tree, commit=commit, version=version)


def note_baseline(run: RunDir, name: str, tree: Tree | None, dock: str) -> None:
    """Write down on a worker what is compared with; None is nothing."""
    with lock(run.results_lock, what="writing a result", wait_s=_WAIT_S):
        path = run.file(_FILE)
        known = from_json(Baselines, path.read_bytes()).trees if path.is_file() else {}
        trees = {one: found for one, found in known.items() if one != name}
        found = Baselines(dock=dock, trees={**trees, **({name: tree} if tree else {})})
        write_text(path, to_json(found))


def find_baseline(passage: Passage, tree: Tree) -> Tree | None:
    """Find what a tree is compared with, and have it in the repository.

    Raises Trouble where it cannot be pulled.
    """
    path = passage.run.file(_FILE)
    if not path.is_file():
        return promoted_last(passage, tree)
    told = from_json(Baselines, path.read_bytes(), where=str(path))
    found = told.trees.get(tree.name)
    if found is None:
        return None
    from pipeline.ports.dock_client import DockClient
    from pipeline.ports.worker_home import read_identity

    house = passage.house
    with house.log.step("pull what was promoted last", about=tree.name):
        DockClient(told.dock, read_identity(house.workdir)).pull(house.repo, [found.commit])
    ref = RefName(f"{passage.manifest.osname}/fetched/{found.commit}")
    house.repo.set_refs({ref: found.commit})
    return found
