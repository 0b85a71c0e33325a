# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keep the tree of a build that failed, so that people can enter it.

It is a commit on a ref of its own, bound to that alone: no tree can ever be composed of it.
In it lie ``build`` (the source, as the build left it) and ``destdir``; its metadata names the
commits of the buildroot.
"""

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports import process, trees
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo, dump_metadata
from pipeline.stages.building.buildroot import Layers
from pipeline.words.errors import Trouble
from pipeline.words.refs import Commit, RefName, failed_ref

METADATA_KEY = "ostci.failed"
_TREES = ("build", "destdir")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A kept build tree: its commit, and the buildroot that it was made in."""

    commit: Commit
    layers: Layers
    message: str


def keep_failed(
    room: Path,
    *,
    osname: str,
    run: str,
    component: str,
    layers: Layers,
    message: str,
    repo: Repo,
    log: Log,
) -> RefName | None:
    """Commit what a build left in ``room``; None, with a warning, where that cannot be done."""
    ref = failed_ref(osname, run, component)
    top = room / "kept"
    top.mkdir()
    told = {
        "component": component,
        "run": run,
        "message": message,
        "base": layers.base,
        "buildroot": {name: list(commits) for name, commits in layers.components.items()},
    }
    try:
        for name in _TREES:
            (room / name).rename(top / name)
        _make_plain(top)
        files = repo.commit_dir(top, subject=f"{component} failed in {run}")
        commit = repo.commit_layers(
            [files],
            subject=f"{component} failed in {run}",
            metadata={METADATA_KEY: dump_metadata(told)},
            bind=[ref],
        )
        repo.set_ref(ref, commit)
    except (process.CommandError, trees.TooDeep) as error:
        log.warning(f"its build tree cannot be kept: {error}", about=component)
        return None
    return ref


def read_kept(repo: Repo, osname: str, run: str, component: str) -> Kept | None:
    """Find the tree that was kept of a failed build."""
    commit = repo.resolve(failed_ref(osname, run, component))
    if commit is None or not repo.has_commit(commit):
        return None
    told = repo.info(commit).metadata.get(METADATA_KEY)
    if not told:
        raise Trouble(f"{commit} is no kept build tree")
    found = json.loads(told)
    components = {name: tuple(commits) for name, commits in found["buildroot"].items()}
    layers = Layers(base=Commit(found["base"]), components=components)
    return Kept(commit=commit, layers=layers, message=found["message"])


def _make_plain(top: Path) -> None:
    """Take out what OSTree refuses (devices, FIFOs, sockets) and let us read the rest."""
    for entry in trees.entries(top):
        mode = entry.status.st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            wanted = mode & 0o777 | (0o700 if stat.S_ISDIR(mode) else 0o600)
            os.chmod(entry.name, wanted, dir_fd=entry.where)
        elif not stat.S_ISLNK(mode):
            os.unlink(entry.name, dir_fd=entry.where)
