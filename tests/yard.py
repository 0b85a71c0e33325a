# SPDX-License-Identifier: LGPL-2.1-or-later
"""A yard to build in, for tests: a work directory, real git repositories, a real base.

``Yard.source`` commits files to a component's repository, ``Yard.build`` resolves a list of
components against what is committed and builds it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.ports.artifacts import Artifacts
from pipeline.ports.git import Mirrors
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.workdir import Workdir
from pipeline.stages.build import BuildRequest, BuildResult, BuiltComponent, build
from pipeline.words.manifest import BuildSpec, Component, Limits, Manifest, Source, SourceKind
from pipeline.words.snapshot import Snapshot
from tests.buildbase import ARCH, BASE, OSNAME, BuildBase, build_base
from tests.repos import GitRepo

RUN = "20260101.0"
FAST = Limits(time_s=120, memory=2 * 1024**3, processes=200, output=256 * 1024**2)


@dataclass
class Yard:
    """Everything that building takes; ``base`` is what is built in."""

    workdir: Workdir
    repo: Repo
    artifacts: Artifacts
    mirrors: Mirrors
    base: BuildBase
    log: Log
    sources: Path
    runs: int = 0
    snapshot: Snapshot | None = field(default=None)

    @staticmethod
    def make(root: Path, *, log: Log, like: "Yard | None" = None) -> "Yard":
        """Make one in a directory, with the base of another one or of the shared cache."""
        workdir = Workdir(root / "work")
        workdir.root.mkdir(parents=True)
        workdir.make()
        repo = Repo(workdir.repo, log=log).create(Mode.BARE_USER)
        if like is not None:
            repo.pull_local(like.repo.path, [like.base.commit])
        return Yard(
            workdir=workdir,
            repo=repo,
            artifacts=Artifacts(repo, workdir.cache / "artifacts.sqlite"),
            mirrors=Mirrors(workdir.mirrors, log=log),
            base=like.base if like else build_base(repo, workdir.cache, log=log),
            log=log,
            sources=root / "sources",
        )

    def source(self, name: str, files: Mapping[str, str], *, subject: str = "change") -> Source:
        """Commit files to a component's repository; those ending in ``.sh`` are executable."""
        place = self.sources / name
        repo = GitRepo(place)
        if not place.is_dir():
            place.mkdir(parents=True)
            repo.git("init", "--quiet", "--initial-branch=main")
        for path, text in files.items():
            target = place / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            target.chmod(0o755 if path.endswith((".sh", "configure")) else 0o644)
        repo.commit(subject)
        return Source(kind=SourceKind.GIT, location=f"file://{place}", branch="main")

    def component(self, name: str, **given: Any) -> Component:
        """Make a component of what was committed for it; ``given`` also takes a BuildSpec's."""
        spec = {
            key: given.pop(key) for key in tuple(given) if key in BuildSpec.__dataclass_fields__
        }
        spec.setdefault("limits", FAST)
        source = Source(
            kind=SourceKind.GIT, location=f"file://{self.sources / name}", branch="main"
        )
        return Component(name=name, source=source, build=BuildSpec(**spec), **given)

    def build(
        self,
        components: Iterable[Component],
        *,
        jobs: int = 2,
        force: Iterable[str] = (),
        without: Iterable[str] = (),
    ) -> BuildResult:
        """Resolve and build; ``without`` are components whose source is said to be missing."""
        chosen = tuple(components)
        manifest = Manifest(osname=OSNAME, base=BASE, components=chosen, targets=())
        pins = {}
        for one in chosen:
            if one.name not in set(without):
                self.mirrors.fetch(one.source)
                pins[one.name] = self.mirrors.pin(one.source)
        self.snapshot = Snapshot(manifest=manifest, pins=pins, base=self.base.pin)
        self.runs += 1
        request = BuildRequest(
            snapshot=self.snapshot,
            arch=ARCH,
            base=self.base.commit,
            run=RUN,
            into=self.into,
            jobs=jobs,
            force=frozenset(force),
        )
        return build(
            request,
            repo=self.repo,
            artifacts=self.artifacts,
            mirrors=self.mirrors,
            cache=self.workdir.cache,
            tmp=self.workdir.tmp,
            log=self.log,
        )

    @property
    def into(self) -> Path:
        """The directory of the logs of the newest build."""
        return self.workdir.root / f"run-{self.runs}"

    def text_of(self, component: str, name: str = "log") -> str:
        """Read a log of the newest build."""
        return (self.into / component / f"{name}.txt").read_text()

    def files(self, one: BuiltComponent) -> dict[str, list[str]]:
        """List the files of each part, without directories."""
        return {
            str(part): sorted(path for path, _ in self.repo.walk(commit) if not path.endswith("/"))
            for part, commit in one.commits.items()
        }


def one(result: BuildResult, name: str) -> BuiltComponent:
    """Find what became of one component."""
    return next(entry for entry in result.components if entry.component == name)
