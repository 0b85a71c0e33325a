# SPDX-License-Identifier: LGPL-2.1-or-later
"""What stands in whose buildroot: the order in which components can be built.

Without ``depends`` a component's buildroot holds all that the manifest lists before it (the
original's rule); with it, what it names and all that those need.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.words.errors import BadInput
from pipeline.words.manifest import Component, Manifest


@dataclass(frozen=True, kw_only=True)
class Closures:
    """Components of one architecture; ``masks`` has a bit for each position in ``components``.

    ``order`` lists positions so that all of a component's closure comes before it.
    """

    components: tuple[Component, ...]
    masks: tuple[int, ...]
    order: tuple[int, ...]


def closures(manifest: Manifest, arch: str) -> Closures:
    """Find the closure of every component that is built for an architecture.

    Raises BadInput where components need each other in a ring.
    """
    components = tuple(
        component
        for component in manifest.components
        if not component.architectures or arch in component.architectures
    )
    masks = _masks(components)
    order = range(len(components))
    if any(mask >> at for at, mask in enumerate(masks)):
        # A closure is larger than each of those within it.
        order_found = sorted(order, key=lambda at: (masks[at].bit_count(), at))
        return Closures(components=components, masks=masks, order=tuple(order_found))
    return Closures(components=components, masks=masks, order=tuple(order))


def bits(mask: int) -> Iterator[int]:
    """List the positions of a mask's bits, lowest first."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _masks(components: Sequence[Component]) -> tuple[int, ...]:
    at = {component.name: number for number, component in enumerate(components)}
    named = [
        None if one.depends is None else [at[name] for name in one.depends if name in at]
        for one in components
    ]
    masks = [0] * len(components)
    before: list[int] = []
    while masks != before:  # twice where everything needs only what is listed before it
        before = list(masks)
        listed = 0
        for number, needs in enumerate(named):
            mask = listed if needs is None else 0
            for need in needs or ():
                mask |= 1 << need | masks[need]
            masks[number] = mask
            listed |= 1 << number | mask
    for number, mask in enumerate(masks):
        if mask >> number & 1:
            ring = ", ".join(components[other].name for other in bits(mask) if masks[other] == mask)
            raise BadInput(
                f"components need each other: {ring}",
                where=components[number].name,
                hint="list each after what it needs, or say what it needs with depends",
            )
    return tuple(masks)
