# SPDX-License-Identifier: LGPL-2.1-or-later
"""Committing a tree of 20,000 files of which 20 were changed, against ``ostree commit``.

Both commit the same directory, a hardlinked checkout, and must come to the same content.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.words.refs import Commit
from tests.bench.frame import Row, interleaved, timed

DIRECTORIES = 400
FILES = 50
CHANGED = 20
REACH = 8


def bench(scratch: Path) -> Iterator[Row]:
    """Measure commits of a changed checkout."""
    repo = Repo(scratch / "repo", log=Log()).create(Mode.BARE_USER)
    tree = _changed_checkout(repo, scratch)
    made: list[Commit] = []

    def ours() -> float:
        return timed(lambda: made.append(repo.commit_dir(tree, subject="ours", devino=True)))

    def baseline() -> float:
        return timed(lambda: made.append(_plain_commit(repo, tree)))

    seconds, theirs = interleaved(ours, baseline, rounds=5)
    assert len({repo.info(commit).content for commit in made}) == 1, "not the same tree"
    repo.fsck()
    yield Row(
        name=f"commit of {DIRECTORIES * FILES:,} files",
        ours=seconds,
        baseline=theirs,
        against=f"ostree commit --tree=dir of the same files, {CHANGED} of them changed",
        reach=f"≥ {REACH} x",
        reached=theirs >= REACH * seconds,
        rounds=5,
    )


def _plain_commit(repo: Repo, tree: Path) -> Commit:
    argv = ["--orphan", "--subject=plain", "--timestamp=@0", "--owner-uid=0", "--owner-gid=0"]
    return Commit(repo.run("commit", *argv, "--no-xattrs", f"--tree=dir={tree}").text)


def _changed_checkout(repo: Repo, scratch: Path) -> Path:
    chance = random.Random(1)
    source = scratch / "source"
    for n in range(DIRECTORIES):
        directory = source / "usr" / "share" / f"group-{n % 20}" / f"directory-{n}"
        directory.mkdir(parents=True)
        for number in range(FILES):
            size = chance.choice([200, 2000, 8000, 20000])
            (directory / f"file-{number}").write_bytes(chance.randbytes(size))
    tree = scratch / "tree"
    repo.checkout(repo.commit_dir(source, subject="source"), tree)
    files = sorted(path for path in tree.rglob("file-*"))
    for path in chance.sample(files, CHANGED):
        path.unlink()  # a hardlinked file is never written into
        path.write_bytes(chance.randbytes(2000))
    return tree
