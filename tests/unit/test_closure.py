# SPDX-License-Identifier: LGPL-2.1-or-later
"""What stands in whose buildroot, in which order, and rings of components that wait for another."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.words.closure import bits, closures
from pipeline.words.errors import BadInput
from pipeline.words.rings import find_rings
from tests.small import component, snapshot

Depends = Mapping[str, Sequence[str] | None]


def closure_of(depends: Depends) -> dict[str, set[str]]:
    parts = [
        component(name, depends=None if names is None else tuple(names))
        for name, names in depends.items()
    ]
    found = closures(snapshot(*parts).manifest, "x86_64")
    names = [one.name for one in found.components]
    return {names[at]: {names[bit] for bit in bits(mask)} for at, mask in enumerate(found.masks)}


def order_of(depends: Depends) -> list[str]:
    parts = [
        component(name, depends=None if names is None else tuple(names))
        for name, names in depends.items()
    ]
    found = closures(snapshot(*parts).manifest, "x86_64")
    return [found.components[at].name for at in found.order]


def test_without_depends_all_before_is_in_the_buildroot() -> None:
    assert closure_of({"a": None, "b": None, "c": None}) == {
        "a": set(),
        "b": {"a"},
        "c": {"a", "b"},
    }
    assert order_of({"a": None, "b": None, "c": None}) == ["a", "b", "c"]


def test_with_depends_it_is_what_they_need_in_turn() -> None:
    found = closure_of({"a": [], "b": ["a"], "c": ["b"], "d": [], "e": ["d"]})
    assert found == {"a": set(), "b": {"a"}, "c": {"a", "b"}, "d": set(), "e": {"d"}}


def test_one_that_needs_what_is_listed_later_is_built_after_it() -> None:
    depends: Depends = {"a": ["c"], "b": [], "c": ["d"], "d": []}
    assert closure_of(depends)["a"] == {"c", "d"}
    order = order_of(depends)
    assert order.index("d") < order.index("c") < order.index("a")


def test_all_before_has_with_it_what_those_need_later() -> None:
    assert closure_of({"a": ["c"], "b": None, "c": []}) == {
        "a": {"c"},
        "b": {"a", "c"},
        "c": set(),
    }


def test_components_of_other_architectures_are_not_there() -> None:
    parts = [component("a", architectures=("aarch64",)), component("b"), component("c")]
    found = closures(snapshot(*parts).manifest, "x86_64")
    assert [one.name for one in found.components] == ["b", "c"]
    assert found.masks == (0, 1)


def test_a_ring_is_bad_input_that_names_it() -> None:
    with pytest.raises(BadInput, match="components need each other: a, b, c") as error:
        closure_of({"a": ["c"], "b": ["a"], "c": ["b"], "d": None})
    assert error.value.hint == "list each after what it needs, or say what it needs with depends"


@pytest.mark.parametrize(
    ("depends", "rings"),
    [
        ({}, []),
        ({"a": None, "b": None}, []),
        ({"a": ["b"], "b": ["a"]}, [["a", "b"]]),
        ({"a": ["b"], "b": None}, [["a", "b"]]),
        ({"a": ["c"], "b": [], "c": None}, [["a", "c"]]),
        ({"a": ["b"], "b": [], "c": ["d"], "d": ["c"]}, [["c", "d"]]),
        ({"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]}, [["a", "b"], ["c", "d"]]),
        ({"a": ["b", "c"], "b": ["a"], "c": ["a"]}, [["a", "b"]]),
        ({"a": ["a"]}, []),
        ({"a": ["nobody"]}, []),
    ],
)
def test_rings_are_found_in_list_order(depends: Depends, rings: list[list[str]]) -> None:
    assert find_rings(depends) == rings


def test_a_long_list_is_no_deep_recursion() -> None:
    depends: dict[str, Sequence[str] | None] = {f"c{n}": None for n in range(5000)}
    assert find_rings(depends) == []
    depends["c0"] = ["c4999"]
    (ring,) = find_rings(depends)
    assert {"c0", "c4999"} <= set(ring)


NAMES = "abcdef"
LISTS = st.lists(
    st.none() | st.lists(st.sampled_from(NAMES), max_size=3, unique=True), min_size=1, max_size=6
).map(lambda lists: dict(zip(NAMES, lists, strict=False)))


def reach(depends: Depends) -> dict[str, set[str]]:
    """Find closures in the plainest way: follow every edge until nothing is new."""
    listed = list(depends)
    found = {
        name: set(listed[: listed.index(name)]) if names is None else set(names) & set(listed)
        for name, names in depends.items()
    }
    for _ in listed:
        found = {
            name: others.union(*(found[other] for other in others))
            for name, others in found.items()
        }
    return found


@given(LISTS)
def test_closures_are_what_following_every_edge_finds(depends: Depends) -> None:
    wanted = reach(depends)
    if any(name in others for name, others in wanted.items()):
        with pytest.raises(BadInput, match="components need each other"):
            closure_of(depends)
        own = any(name in (names or ()) for name, names in depends.items())
        assert own or find_rings(depends)
        return
    assert closure_of(depends) == wanted
    assert find_rings(depends) == []
    order = order_of(depends)
    assert sorted(order) == sorted(depends)
    for at, name in enumerate(order):
        assert wanted[name] <= set(order[:at])
