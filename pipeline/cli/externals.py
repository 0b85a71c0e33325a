# SPDX-License-Identifier: LGPL-2.1-or-later
"""The external tests of a target: those of the components that are in it.

They are read from the components' sources. A worker elsewhere has none of these; it is given the
files with its job.
"""

import base64
from dataclasses import dataclass

from pipeline.cli.passage import Passage
from pipeline.ports.worker_home import IDENTITY
from pipeline.words.external import SUITE, Externals, ExternalTest, SourceFile
from pipeline.words.manifest import Target
from pipeline.words.pairing import PAIRS
from pipeline.words.records import from_json
from pipeline.words.targets import target_of
from pipeline.words.tree import Tree


@dataclass(frozen=True, kw_only=True)
class GivenFile:
    """A file beside or with a test, its content in base64."""

    name: str
    data: str
    is_program: bool


@dataclass(frozen=True, kw_only=True)
class GivenTests:
    """What one component brings."""

    component: str
    revision: str
    tests: tuple[ExternalTest, ...]
    files: tuple[GivenFile, ...]


@dataclass(frozen=True, kw_only=True)
class Given:
    """``assigned/externals-TREE.json``: what a worker is given of a target's components."""

    components: tuple[GivenTests, ...] = ()


def externals_of(
    passage: Passage, target: Target, suite: str, *, tree: str
) -> tuple[Externals, ...]:
    """Read the tests that components bring; nothing for another suite, which needs none."""
    if suite.partition("/")[0] not in (SUITE, PAIRS):
        return ()
    path = passage.run.file(externals_file(tree))
    # The master's own run has that file, too: what it gave a worker a while ago.
    if path.is_file() and (passage.house.workdir.root / IDENTITY).is_file():
        given = from_json(Given, path.read_bytes(), where=str(path))
        return tuple(_read(one) for one in given.components)
    return _of_sources(passage, target)


def _of_sources(passage: Passage, target: Target) -> tuple[Externals, ...]:
    from pipeline.ports.external_tests import find_externals

    house, snapshot = passage.house, passage.snapshot
    found = []
    for component in snapshot.manifest.components:
        pin = snapshot.pins.get(component.name)
        if component.name in target.components and pin is not None and not component.generated_from:
            one = find_externals(house.mirrors, component, pin)
            if one.tests:
                told = f"{len(one.tests)} external tests at {one.revision[:12]}"
                house.log.detail(told, about=component.name)
                found.append(one)
    return tuple(found)


def externals_file(tree: str) -> str:
    """Name the file of a run with what a worker is given, without ``.json``."""
    return f"assigned/externals-{tree}"


def given_externals(passage: Passage, tree: Tree, suite: str) -> Given | None:
    """Tell what a worker elsewhere is to be given for a suite; None for another suite."""
    if suite.partition("/")[0] not in (SUITE, PAIRS):
        return None
    found = _of_sources(passage, target_of(passage.manifest, tree.target))
    return Given(
        components=tuple(
            GivenTests(
                component=one.component,
                revision=one.revision,
                tests=one.tests,
                files=tuple(
                    GivenFile(
                        name=file.name,
                        data=base64.b64encode(file.data).decode(),
                        is_program=file.is_program,
                    )
                    for file in one.files
                ),
            )
            for one in found
        )
    )


def _read(given: GivenTests) -> Externals:
    files = tuple(
        SourceFile(
            name=one.name, data=base64.b64decode(one.data, validate=True), is_program=one.is_program
        )
        for one in given.files
    )
    return Externals(
        component=given.component, revision=given.revision, tests=given.tests, files=files
    )
