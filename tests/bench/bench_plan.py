# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci plan`` of 1,000 components in which nothing changed, against BuildStream's like of it.

A cold process each time, on a warm disk; every key is computed and looked up. BuildStream gets as
many elements of its cheapest kind, each built and cached, with as many dependencies.
"""

import os
import random
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.log import Log
from pipeline.words.errors import Trouble
from tests.bench import many
from tests.bench.frame import Contender, Row, interleaved, timed

COUNT = 1000
SERVERS = 100
REACH_S = 0.3
RECORDED_S = 0.009
"""Of BuildStream 2.8.1, for each element, where it cannot be installed."""
OSTCI = Path(sys.executable).with_name("ostci")
BST_VENV = Path(__file__).resolve().parents[2] / "build" / "bst"
BST_VERSION = "2.8.1"


def bench(scratch: Path) -> Iterator[Row]:
    """Measure the plan, and apart from it the round of asking every server for its heads."""
    ours = _ostci(scratch / "work")
    baseline, note = _buildstream(scratch / "bst")
    if baseline is None:
        (seconds,) = interleaved(ours, rounds=9)
        against, theirs = f"BuildStream, {RECORDED_S * 1000:.0f} ms an element", RECORDED_S * COUNT
    else:
        seconds, theirs = interleaved(ours, baseline, rounds=5)
        against = f"bst build of {COUNT:,} cached import elements, BuildStream {BST_VERSION}"
    yield Row(
        name=f"plan of {COUNT:,} unchanged components",
        ours=seconds,
        baseline=theirs,
        against=against,
        reach=f"≤ {REACH_S} s",
        reached=seconds <= REACH_S,
        note=note,
        rounds=5 if baseline else 9,
    )
    yield _ask_servers(scratch / "servers")


def _ask_servers(directory: Path) -> Row:
    """Report how long ``git ls-remote`` of many takes; a resolve needs it, a plan does not."""
    first = directory / "0.git"
    process.run(["git", "init", "--quiet", "--bare", str(first)], log=Log())
    servers = [first]
    for n in range(1, SERVERS):
        servers.append(directory / f"{n}.git")
        shutil.copytree(first, servers[-1])

    def ask(server: Path) -> None:
        process.run(["git", "ls-remote", "--", server.as_uri()], log=Log())

    def eight() -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ask, servers))

    seconds, theirs = interleaved(
        lambda: timed(eight), lambda: timed(lambda: list(map(ask, servers))), rounds=3
    )
    return Row(
        name=f"ls-remote of {SERVERS} repositories",
        ours=seconds,
        baseline=theirs,
        against="one after the other, instead of eight at a time; local repositories",
        reach="report",
        rounds=3,
    )


def _ostci(root: Path) -> Contender:
    root.mkdir()
    many.make(root, COUNT, os.uname().machine)
    argv: list[str | Path] = [OSTCI, "-C", root, "plan"]
    said = process.run(argv, log=Log()).text
    assert said.endswith(f"{COUNT} components for {os.uname().machine}: {COUNT} keep"), said[-300:]
    return lambda: timed(lambda: process.run(argv, log=Log()))


def _buildstream(project: Path) -> tuple[Contender | None, str]:
    """Build the elements once; None, and why, where BuildStream cannot be had."""
    bst = BST_VENV / "bin" / "bst"
    _write_project(project)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(project),
        "XDG_CACHE_HOME": f"{project}/cache",
        "LC_ALL": "C.UTF-8",
    }
    argv: list[str | Path] = [bst, "--no-interactive", "--no-colors", "build", "all.bst"]
    try:
        if not bst.is_file():
            process.run([sys.executable, "-m", "venv", str(BST_VENV)], log=Log())
            pip: list[str | Path] = [
                BST_VENV / "bin" / "pip",
                "install",
                "--quiet",
                f"BuildStream=={BST_VERSION}",
            ]
            process.run(pip, log=Log(), deadline_s=600)
        process.run(argv, log=Log(), cwd=project, env=env, deadline_s=600)
    except Trouble as error:
        return None, f"the baseline is a recorded figure, not measured here: {error}"[:300]

    def again() -> float:
        seconds = timed(lambda: said.append(process.run(argv, log=Log(), cwd=project, env=env)))
        assert f"processed 0, skipped {COUNT + 1}" in said[-1].stderr.decode(), "it built again"
        return seconds

    said: list[process.Finished] = []
    return again, ""


def _write_project(project: Path) -> None:
    chance = random.Random(1)
    elements = project / "elements"
    elements.mkdir(parents=True)
    (project / "project.conf").write_text(
        "name: bench\nmin-version: '2.0'\nelement-path: elements\n"
    )
    for n in range(COUNT):
        files = project / "files" / str(n)
        files.mkdir(parents=True)
        (files / f"file-{n}").write_text(str(n))
        needs = sorted(chance.sample(range(n), min(n, 4)))
        lines = [f"kind: import\nsources:\n- kind: local\n  path: files/{n}\n"]
        lines += ["build-depends:\n"] if needs else []
        lines += [f"- component-{need}.bst\n" for need in needs]
        (elements / f"component-{n}.bst").write_text("".join(lines))
    every = "".join(f"- component-{n}.bst\n" for n in range(COUNT))
    (elements / "all.bst").write_text(f"kind: stack\ndepends:\n{every}")
