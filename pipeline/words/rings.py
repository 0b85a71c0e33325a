# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rings in a list whose entries wait for named others, or for all that stand before them."""

from collections.abc import Mapping, Sequence

_Node = tuple[str, str]


def find_rings(depends: Mapping[str, Sequence[str] | None]) -> list[list[str]]:
    """Find rings in what components wait for, in list order; None waits for all before.

    Tells one ring for each edge that closes one, and no name in two rings.
    """
    # "All before" would be an edge for each pair; a chain of steps, one an entry, says the same.
    edges: dict[_Node, list[_Node]] = {}
    before: list[_Node] = []
    for name, names in depends.items():
        own = (
            [("name", other) for other in names if other in depends]
            if names is not None
            else before
        )
        edges["name", name] = [edge for edge in own if edge != ("name", name)]
        edges["upto", name] = [("name", name), *before]
        before = [("upto", name)]
    rings: list[list[str]] = []
    state: dict[_Node, int] = {}
    for start in edges:
        if start not in state:
            _visit(start, edges, state, rings)
    return rings


def _visit(
    start: _Node,
    edges: Mapping[_Node, Sequence[_Node]],
    state: dict[_Node, int],
    rings: list[list[str]],
) -> None:
    """Go in depth from ``start``; 1 is a node on the way, 2 one that is done."""
    way = [start]
    todo = [iter(edges[start])]
    state[start] = 1
    told = {name for ring in rings for name in ring}
    while way:
        for node in todo[-1]:
            if state.get(node) == 1:
                ring = [name for kind, name in way[way.index(node) :] if kind == "name"]
                if not told & set(ring):
                    rings.append(ring)
                    told |= set(ring)
            elif node not in state:
                state[node] = 1
                way.append(node)
                todo.append(iter(edges[node]))
                break
        else:
            state[way.pop()] = 2
            todo.pop()
