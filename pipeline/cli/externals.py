# SPDX-License-Identifier: LGPL-2.1-or-later
"""The external tests of a target: those of the components that are in it."""

from pipeline.cli.passage import Passage
from pipeline.words.external import SUITE, Externals
from pipeline.words.manifest import Target


def externals_of(passage: Passage, target: Target, suite: str) -> tuple[Externals, ...]:
    """Read the tests that components bring; nothing for another suite, which needs none."""
    if suite.partition("/")[0] != SUITE:
        return ()
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
