# SPDX-License-Identifier: LGPL-2.1-or-later
"""Composing when one of many components changed, against checking all out and committing.

Both must come to the same root checksum. Each round one component is built anew and loses a file,
which must be gone. The time is that of the whole stage: conflicts, tree, snapshot, commit, ref.
"""

import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.stages.compose import SNAPSHOT_PATH, ComposeRequest, compose
from pipeline.words.refs import Commit, Key, Part, RefName, Revision, key_ref
from pipeline.words.tree import Tree
from tests.bench import many
from tests.bench.frame import Row, interleaved, timed

COUNTS = (250, 1000)
ROUNDS = 3
REACH = 50
ARCH = "x86_64"


def bench(scratch: Path) -> Iterator[Row]:
    """Measure with few and with many components; the second must cost less than in proportion."""
    few, most = COUNTS
    small, large = (Yard(scratch / str(count), count) for count in COUNTS)
    # In turn with each other too: the growth is the ratio of two short times.
    ours = dict(zip(COUNTS, interleaved(small.ours, large.ours, rounds=9), strict=True))
    _, theirs = interleaved(large.ours, large.baseline, rounds=ROUNDS)
    large.repo.fsck()
    yield _row(few, ours[few], None)
    yield _row(most, ours[most], theirs)
    growth = ours[most] / ours[few]
    yield Row(
        name=f"compose, growth from {few} to {most:,} components",
        ours=ours[most],
        baseline=ours[few] * most / few,
        against="what growth in proportion would give",
        reach="> 1 x",
        reached=growth < most / few,
        note=f"{growth:.2f} times as long for {most // few} times as many",
    )


def _row(count: int, ours: float, theirs: float | None) -> Row:
    return Row(
        name=f"compose, 1 of {count:,} components changed",
        ours=ours,
        baseline=theirs,
        against="a loop of ostree checkout --union, and ostree commit" if theirs else "",
        reach=f"≥ {REACH} x" if theirs else "",
        reached=None if theirs is None else theirs >= REACH * ours,
        rounds=ROUNDS,
    )


class Yard:
    """A base and many components of twelve files each, some in directories that all share."""

    def __init__(self, room: Path, count: int) -> None:
        self.room = room
        self.repo = Repo(room / "repo", log=Log()).create(Mode.BARE_USER)
        self.chance = random.Random(count)
        self.count = count
        self.round = 0
        self.tree: Tree | None = None
        self.base = self._commit(self._base_files())
        made = many.snapshot(count, ARCH)
        plain = replace(made.manifest, base=replace(made.manifest.base, initramfs="none"))
        self.snapshot = replace(made, manifest=plain)
        self.parts = {
            f"component-{n}": {Part.RUNTIME: self._commit(self._files(n))} for n in range(count)
        }
        refs: dict[RefName, Commit] = {RefName("bench/base"): self.base}
        for name, parts in self.parts.items():
            refs[key_ref("bench", Key(many.digest(name)), Part.RUNTIME)] = parts[Part.RUNTIME]
        self.repo.set_refs(refs)
        self._change()
        self._compose()

    def ours(self) -> float:
        """Compose after a change of one component."""
        gone = self._change()
        seconds = timed(self._compose)
        assert self.tree is not None
        assert self.repo.find(self.tree.commit, gone) is None, "a removed file is still there"
        return seconds

    def baseline(self) -> float:
        """Do the same with files: check out all over each other, and commit."""
        assert self.tree is not None
        place = self.room / "checkout"
        text = self.repo.read(self.tree.commit, SNAPSHOT_PATH)
        made: list[str] = []

        def work() -> None:
            self._checkout(self.base, place)
            for parts in self.parts.values():
                self._checkout(parts[Part.RUNTIME], place)
            (place / "usr/share/ostci").mkdir()
            (place / "usr/share/ostci/snapshot.json").write_bytes(text)
            argv = ["--orphan", "--subject=loop", "--owner-uid=0", "--owner-gid=0", "--no-xattrs"]
            argv += ["--link-checkout-speedup", f"--tree=dir={place}"]
            made.append(self.repo.run("commit", *argv).text)

        seconds = timed(work)
        shutil.rmtree(place)
        assert self.repo.info(made[0]).content == self.tree.content, "not the same tree"
        return seconds

    def _checkout(self, commit: Commit, place: Path) -> None:
        argv = ["ostree", "checkout", f"--repo={self.repo.path}", "--union", "--user-mode"]
        subprocess.run([*argv, "--require-hardlinks", commit, place], check=True)

    def _compose(self) -> None:
        self.round += 1
        target = self.snapshot.manifest.targets[0]
        request = ComposeRequest(
            snapshot=self.snapshot,
            run=f"20260101.{self.round}",
            arch=ARCH,
            target=target,
            base=self.base,
            parts=self.parts,
        )
        room = self.room
        self.tree = compose(
            request, repo=self.repo, cache=room / "cache", tmp=room / "tmp", log=Log()
        )

    def _change(self) -> str:
        """Build one component anew without one of its files; tells which."""
        n = self.chance.randrange(self.count)
        files = self._files(n)
        gone = f"/usr/share/c{n}/data-{self.round % 6}"
        del files[gone]
        files[f"/usr/bin/c{n}"] = f"{n} of round {self.round}"
        name = f"component-{n}"
        self.parts = {**self.parts, name: {Part.RUNTIME: self._commit(files)}}
        revision = Revision(many.digest(f"{name} {self.round}")[:40])
        pin = replace(self.snapshot.pins[name], revision=revision)
        self.snapshot = replace(self.snapshot, pins={**self.snapshot.pins, name: pin})
        return gone

    def _files(self, n: int) -> dict[str, str]:
        found = {f"/usr/share/c{n}/data-{i}": f"data {n} {i}" for i in range(6)}
        found |= {f"/usr/bin/c{n}": f"{n}", f"/usr/lib/libc{n}.so.1": f"library {n}"}
        found |= {f"/usr/share/doc/c{n}/copyright": "free", f"/usr/lib/c{n}/plugins/p": f"{n}"}
        found |= {f"/usr/share/locale/l{n % 30}/c{n}.mo": f"{n}", f"/usr/etc/c{n}.conf": "x"}
        return found

    def _base_files(self) -> dict[str, str]:
        found = {f"/usr/share/base-{n % 300}/file-{n}": f"base {n}" for n in range(5000)}
        found |= {f"/usr/bin/base-{n}": f"{n}" for n in range(1000)}
        found |= {f"/usr/share/locale/l{n}/base.mo": f"{n}" for n in range(30)}
        return found | {"/usr/etc/base.conf": "b", "/usr/lib/libbase.so": "b"}

    def _commit(self, files: dict[str, str]) -> Commit:
        place = self.room / "files"
        for name, text in files.items():
            path = place / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        commit = self.repo.commit_dir(place, subject="files")
        shutil.rmtree(place)
        return commit
