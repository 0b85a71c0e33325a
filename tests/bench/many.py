# SPDX-License-Identifier: LGPL-2.1-or-later
"""A work directory with many built components, made of nothing: what a plan has to look through.

Sizes are those of real ones: each component uses some twenty names of four components before it
and of eight packages, and shows twenty to others.
"""

import hashlib
import os
import random
from dataclasses import replace
from pathlib import Path

from pipeline.ports.artifacts import Artifacts, commit_metadata
from pipeline.ports.base_facts import facts_path
from pipeline.ports.files import write_text
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.workdir import Workdir
from pipeline.words.artifact import BASE, Artifact
from pipeline.words.keys import BaseFacts, artifact_key, base_facts
from pipeline.words.manifest import Base, BaseKind, Component, Manifest, Source, SourceKind, Target
from pipeline.words.plan import Planner
from pipeline.words.records import to_json
from pipeline.words.refs import Commit, Key, Part, RefName, Revision, base_ref, key_ref
from pipeline.words.snapshot import BasePin, Pin, Snapshot
from tests.commit_objects import commit_object

OSNAME = "bench"


def digest(text: str) -> str:
    """Make something that looks like a checksum."""
    return hashlib.sha256(text.encode()).hexdigest()


def snapshot(count: int, arch: str) -> Snapshot:
    """Make a snapshot of a manifest with so many components and the original's order rule."""
    components = tuple(
        Component(
            name=f"component-{n}",
            source=Source(
                kind=SourceKind.GIT, location=f"https://git.example/c/{n}.git", branch="main"
            ),
            config_opts=("--disable-static", "--disable-gtk-doc", f"--with-number={n}"),
            patches=(f"fix-{n}.patch",) if n % 7 == 0 else (),
            groups=("runtime",),
            line=n,
        )
        for n in range(count)
    )
    pins = {
        one.name: Pin(
            revision=Revision(digest(one.name)[:40]),
            describe=f"1.{n}-0-g{digest(one.name)[:40]}",
            tree=digest(one.name + "t")[:40],
            subject=f"Release 1.{n}",
            patches={name: digest(name) for name in one.patches},
            commit_time=1_700_000_000 + n,
        )
        for n, one in enumerate(components)
    }
    manifest = Manifest(
        osname=OSNAME,
        base=Base(
            name="debian",
            kind=BaseKind.DEBIAN,
            suite="bookworm",
            packages={"runtime": ("systemd",), "devel": ("gcc",)},
        ),
        components=components,
        targets=(Target(name="runtime", components=tuple(one.name for one in components)),),
        architectures=(arch,),
    )
    return Snapshot(manifest=manifest, pins=pins, base=BasePin(key=Key(digest("base"))))


def facts(commit: str = "") -> BaseFacts:
    """Make the facts of a base with 3,000 visible names and 400 packages."""
    names = [f"{kind}:base-{n}" for kind in ("prog", "lib", "header") for n in range(1000)]
    return base_facts(names, {f"package-{n}": f"1.{n}-1" for n in range(400)}, commit)


def interface(n: int) -> dict[str, str]:
    """Make the names that a component shows."""
    names = [f"header:c{n}-{i}.h" for i in range(12)]
    names += [f"lib:libc{n}.so.{n % 3}", f"pc:c{n}", f"prog:c{n}"]
    names += [f"/usr/share/c{n}/data-{i}" for i in range(5)]
    return {name: digest(name) for name in names}


def used(n: int, chance: random.Random) -> dict[str, dict[str, str]]:
    """Make a used-set of things before a component."""
    found = {BASE: {f"package-{i}": f"1.{i}-1" for i in sorted(chance.sample(range(400), 8))}}
    for other in sorted(chance.sample(range(n), min(n, 4))):
        names = interface(other)
        found[f"component-{other}"] = {name: names[name] for name in sorted(names)[5:9]}
    return found


def make(root: Path, count: int, arch: str) -> Workdir:
    """Make the work directory, with every component built once."""
    workdir = Workdir(root)
    workdir.make()
    write_text(root / "ostci.toml", 'manifest = "none.yaml"\n')
    repo = Repo(workdir.repo, log=Log()).create(Mode.BARE_USER)
    content = root / "content"
    content.mkdir()
    (content / "file").write_text("x")
    first = repo.info(repo.commit_dir(content, subject="content"))
    variant = base_ref(OSNAME, "debian", arch, "runtime+devel")
    base = first.commit
    run = workdir.new_run()
    pinned = snapshot(count, arch)
    write_text(run.file("snapshot"), to_json(pinned))
    known = facts(base)
    write_text(facts_path(workdir.cache, base), to_json(known))
    planner = Planner(pinned, arch, known, past=_Nothing())
    chance = random.Random(1)
    refs: dict[RefName, Commit] = {variant: base}
    for n, name in enumerate(planner.order):
        recipe = planner.recipe(name)
        uses = used(n, chance)
        artifact = Artifact(
            component=name,
            arch=arch,
            recipe=recipe.key,
            key=artifact_key(recipe.key, uses),
            revision=pinned.pins[name].revision,
            used=uses,
            interface=interface(n),
            inputs=recipe.inputs,
        )
        parts = (Part.DEVEL, Part.DOC, Part.RUNTIME)
        told = commit_metadata(artifact, parts)
        commits = {
            part: Commit(
                commit_object(
                    repo.path, {**told, "part": part}, tree=first.tree, dirmeta=first.dirmeta
                )
            )
            for part in parts
        }
        refs |= {key_ref(OSNAME, artifact.key, part): at for part, at in commits.items()}
        planner.settle(name, replace(artifact, commits=commits))
    repo.set_refs(refs)
    settle(repo.path)
    artifacts = Artifacts(repo, workdir.cache / "artifacts.sqlite")
    assert artifacts.rebuild_index() == count
    artifacts.close()
    return workdir


def settle(repo: Path) -> None:
    """Make the refs as old as they are when somebody asks for a plan."""
    for place in repo.glob("refs/heads/*/keys"):
        os.utime(place, (1_700_000_000, 1_700_000_000))


class _Nothing:
    def find(self, recipe: Key) -> tuple[Artifact, ...]:  # noqa: ARG002
        return ()

    def latest(self, component: str, arch: str) -> Artifact | None:  # noqa: ARG002
        return None

    def everything(self) -> tuple[Artifact, ...]:
        return ()
