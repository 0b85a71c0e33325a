# SPDX-License-Identifier: LGPL-2.1-or-later
"""The layers of a tree, and the order in which they are put over each other.

Layers lie in a row, later over earlier. They are merged in a shape that their names alone decide
(a treap: the root is the layer whose name has the greatest hash, left of it the same, and right
of it), so that a change of one, or one that comes or goes, leaves all but a few dozen of a
thousand inner merges as they were, which can be remembered.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.words.refs import Commit


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One commit of a component; ``name`` is unique in a tree, ``owner`` is told to people."""

    name: str
    owner: str
    commit: Commit


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A stretch of layers: what is left of ``layer``, it, and what is right of it.

    ``key`` is equal for equal stretches.
    """

    layer: Layer
    left: "Node | None"
    right: "Node | None"
    key: str


def shape(layers: Sequence[Layer]) -> Node | None:
    """Shape a row of layers; None for an empty one."""
    left: list[int | None] = [None] * len(layers)
    right: list[int | None] = [None] * len(layers)
    ranks = [hashlib.sha256(layer.name.encode()).digest() for layer in layers]
    spine: list[int] = []
    for at, rank in enumerate(ranks):
        below = None
        while spine and ranks[spine[-1]] < rank:
            below = spine.pop()
        left[at] = below
        if spine:
            right[spine[-1]] = at
        spine.append(at)
    return _node(layers, left, right, spine[0]) if spine else None


def _node(
    layers: Sequence[Layer],
    left: Sequence[int | None],
    right: Sequence[int | None],
    at: int,
) -> Node:
    before, after = left[at], right[at]
    first = None if before is None else _node(layers, left, right, before)
    second = None if after is None else _node(layers, left, right, after)
    layer = layers[at]
    parts = (first.key if first else "", layer.name, layer.commit, second.key if second else "")
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return Node(layer=layer, left=first, right=second, key=key)
