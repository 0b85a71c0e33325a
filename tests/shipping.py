# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small trees on their way to testers: a work directory with all that a promotion needs.

Commits are real ones of a few files, bound as composing binds them; verdicts are written into a
real ledger. No machine is booted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.ports.gpg import Keyring
from pipeline.ports.ledger import Ledger
from pipeline.ports.ledger_place import read_ledger_url
from pipeline.ports.log import ListSink, Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.workdir import Workdir
from pipeline.stages.promote import PromoteRequest, PromoteResult, mend, promote, violations
from pipeline.words.manifest import Base, BaseKind, Manifest, Need, Target
from pipeline.words.refs import Commit, buildmaster_ref, compose_ref
from pipeline.words.tree import Tree
from pipeline.words.verdict import SuiteResult, Verdict

OSNAME = "os"
ARCH = "x86_64"
SMOKE = {"smoke": Need.REQUIRED}
PASSED = {"smoke": Verdict.PASSED}


def target(name: str, gate: Mapping[str, Need] | None = None, group: str = "") -> Target:
    """Make a target."""
    return Target(name=name, gate=SMOKE if gate is None else gate, promotion_group=group)


def manifest(*targets: Target) -> Manifest:
    """Make a manifest of nothing but targets; ``runtime`` and ``devel`` by default."""
    return Manifest(
        osname=OSNAME,
        base=Base(name="debian", kind=BaseKind.DEBIAN),
        components=(),
        targets=targets or (target("runtime"), target("devel")),
    )


@dataclass(frozen=True)
class Shop:
    """One work directory, opened."""

    root: Path
    manifest: Manifest

    @cached_property
    def log(self) -> Log:
        """A log that nobody reads, unless a test does."""
        return Log(self.sink)

    @cached_property
    def sink(self) -> ListSink:
        """The lines of ``log``."""
        return ListSink()

    @cached_property
    def workdir(self) -> Workdir:
        """The work directory, made."""
        self.root.mkdir(parents=True, exist_ok=True)
        found = Workdir(self.root)
        found.make()
        return found

    @cached_property
    def repo(self) -> Repo:
        """What is built."""
        return Repo(self.workdir.repo, log=self.log).create(Mode.BARE_USER)

    @cached_property
    def archive(self) -> Repo:
        """What is served."""
        return Repo(self.workdir.archive, log=self.log).create(Mode.ARCHIVE)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger."""
        return Ledger(read_ledger_url(self.workdir))

    @cached_property
    def keyring(self) -> Keyring:
        """The signing key."""
        return Keyring(self.workdir.keys, log=self.log)

    def compose(
        self, run: str, content: str, *, targets: tuple[str, ...] = (), bound: bool = True
    ) -> tuple[Tree, ...]:
        """Make a small tree of each target, as composing would, and record it."""
        names = targets or tuple(one.name for one in self.manifest.targets)
        trees = tuple(self._compose(run, name, content, bound=bound) for name in names)
        self.ledger.begin_run(run, OSNAME, 0.0)
        for tree in trees:
            self.ledger.record_tree(run, tree, {"hello": (content.encode().hex() + "0" * 40)[:40]})
        return trees

    def _compose(self, run: str, name: str, content: str, *, bound: bool) -> Tree:
        tree = f"{ARCH}-{name}"
        files = self.workdir.tmp / f"files-{name}"
        (files / "usr").mkdir(parents=True, exist_ok=True)
        (files / "usr" / "content").write_text(f"{name} {content}\n")
        (files / "usr" / "large").write_text(f"{name} {content}\n" * 20_000)
        layer = self.repo.commit_dir(files, subject=run)
        ref = compose_ref(OSNAME, tree)
        parent = self.repo.resolve(ref)
        commit = self.repo.commit_layers(
            [layer],
            subject=run,
            metadata={"version": run},
            parent=parent,
            bind=[ref, buildmaster_ref(OSNAME, tree)] if bound else [ref],
            time_s=self.repo.info(parent).time + 1 if parent else 1_700_000_000,
        )
        self.repo.set_ref(ref, commit)
        info = self.repo.info(commit)
        return Tree(
            name=tree,
            arch=ARCH,
            target=name,
            commit=commit,
            content=info.content,
            version=run,
            snapshot=(content.encode().hex() + "0" * 64)[:64],
        )

    def judge(
        self,
        run: str,
        trees: tuple[Tree, ...],
        verdicts: Mapping[str, Verdict],
        *,
        cause: str = "",
    ) -> None:
        """Record the same verdicts for each tree; ``cause`` is that of what did not pass."""
        for tree in trees:
            for suite, verdict in verdicts.items():
                result = SuiteResult(
                    suite=suite,
                    tree=tree.name,
                    commit=tree.commit,
                    verdict=verdict,
                    message="" if verdict is Verdict.PASSED else f"it said {verdict}",
                    cause="" if verdict is Verdict.PASSED else cause,
                    evidence=f"test/{tree.name}/{suite}",
                )
                self.ledger.record_suite(run, result)

    def promote(self, run: str, trees: tuple[Tree, ...]) -> PromoteResult:
        """Promote the trees of a run."""
        request = PromoteRequest(run=run, osname=OSNAME, manifest=self.manifest, trees=trees)
        return promote(
            request,
            repo=self.repo,
            archive=self.archive,
            ledger=self.ledger,
            keyring=self.keyring,
            workdir=self.workdir,
            log=self.log,
        )

    def ship(self, run: str, content: str) -> dict[str, Commit]:
        """Compose, pass and promote; tells what ``buildmaster`` of each tree is then."""
        trees = self.compose(run, content)
        self.judge(run, trees, PASSED)
        result = self.promote(run, trees)
        assert set(result.promoted) == {tree.name for tree in trees}, result
        return {tree.name: tree.commit for tree in trees}

    def mend(self) -> tuple[str, ...]:
        """Do what every start does."""
        return mend(
            repo=self.repo,
            archive=self.archive,
            ledger=self.ledger,
            keyring=self.keyring,
            workdir=self.workdir,
            log=self.log,
        )

    def violations(self) -> list[str]:
        """Look whether the one rule holds."""
        return violations(repo=self.repo, archive=self.archive, ledger=self.ledger)

    def buildmaster(self, name: str = "runtime") -> tuple[Commit | None, Commit | None]:
        """Tell what a tree's ref points to in both repositories."""
        ref = buildmaster_ref(OSNAME, f"{ARCH}-{name}")
        return self.repo.resolve(ref), self.archive.resolve(ref)
