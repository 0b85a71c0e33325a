# SPDX-License-Identifier: LGPL-2.1-or-later
"""Resolving many sources of which none has changed, against ``git fetch`` of each mirror.

All are repositories on this machine, so that what a network takes is in neither figure. What a
server must be asked in any case, ``git ls-remote``, is measured beside it.
"""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.ports.git import Mirrors
from pipeline.ports.log import Log
from pipeline.stages.resolve import ResolveRequest, resolve
from pipeline.words.manifest import Base, BaseKind, Component, Manifest
from pipeline.words.refs import Key
from pipeline.words.snapshot import BasePin
from tests.bench.frame import Row, interleaved, timed
from tests.repos import git_repo, git_source

COUNT = 200
JOBS = 8
ROUNDS = 5
MORE_S = 0.005


def bench(scratch: Path) -> Iterator[Row]:
    """Measure a resolve in which nothing is new."""
    sources = _sources(scratch / "up")
    root = scratch / "mirrors"
    manifest = Manifest(
        osname="bench",
        base=Base(name="debian", kind=BaseKind.DEBIAN),
        components=tuple(
            Component(name=f"c{n}", source=git_source(str(one))) for n, one in enumerate(sources)
        ),
        targets=(),
    )
    request = ResolveRequest(manifest=manifest, base=BasePin(key=Key("0" * 64)), jobs=JOBS)
    git = Mirrors(root, log=Log()).git

    def ours() -> None:
        # Of a new process nothing is known in memory.
        found = resolve(request, mirrors=Mirrors(root, log=Log()), log=Log())
        assert len(found.snapshot.pins) == COUNT, found.failures

    def ask(n: int) -> None:
        git.run(["ls-remote", "--heads", "--tags", "--refs", "--", str(sources[n])])

    def fetch(n: int) -> None:
        mirror = Mirrors(copy, log=Log()).path(manifest.components[n].source)
        specs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
        argv: list[str | Path] = ["--git-dir", mirror, "fetch", "--quiet", "--prune", "--no-tags"]
        git.run([*argv, "--", str(sources[n]), *specs])

    ours()
    # git's fetch touches a mirror even where nothing is new: not the ones that are ours.
    copy = scratch / "copy"
    shutil.copytree(root, copy)
    seconds, asked, fetched = interleaved(
        lambda: timed(ours), lambda: timed(_all(ask)), lambda: timed(_all(fetch)), rounds=ROUNDS
    )
    more = (seconds - asked) / COUNT
    yield Row(
        name=f"resolve of {COUNT} unchanged sources",
        ours=seconds,
        baseline=fetched,
        against=f"git fetch of each mirror, {JOBS} at a time",
        reach=f"≤ ls-remote + {MORE_S * 1000:.0f} ms each",
        reached=more <= MORE_S,
        note=f"ls-remote alone takes {asked:.3f} s; {more * 1000:+.1f} ms more a source",
        rounds=ROUNDS,
    )


def _sources(place: Path) -> list[Path]:
    first = git_repo(place / "0")
    first.git("tag", "-a", "v1", "-m", "one")
    first.commit("second", file_txt="two\n")
    found = [first.path]
    for n in range(1, COUNT):
        found.append(place / str(n))
        shutil.copytree(first.path, found[-1])
    return found


def _all(work: Callable[[int], None]) -> Callable[[], None]:
    def every() -> None:
        with ThreadPoolExecutor(JOBS) as pool:
            list(pool.map(work, range(COUNT)))

    return every
