# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is kept and what is built again, and why, in words.

Each world is pretended: what components use of others, and how they look from outside, is given
as data, and ``go`` builds as the build stage does, asking the planner after each outcome.
"""

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.words.artifact import BASE, Artifact
from pipeline.words.keys import BaseFacts
from pipeline.words.manifest import BuildSpec, BuildSystem, Child, Component
from pipeline.words.plan import UNCHANGED, Kind, Planner
from pipeline.words.plan_text import as_plain, summary, text
from pipeline.words.snapshot import Pin, Snapshot
from tests.small import (
    ARCH,
    GIT,
    Shelf,
    World,
    component,
    facts,
    forecast,
    go,
    kinds,
    pin,
    reasons,
    revision,
    snapshot,
)

ZLIB = {"header:zlib.h": "1", "lib:libz.so.1": "1", "pc:zlib": "1"}
WORLD = World(
    uses={
        "png": {"zlib": ["header:zlib.h", "lib:libz.so.1"], BASE: ["gcc-12"]},
        "viewer": {"png": ["header:png.h"]},
        "zlib": {BASE: ["gcc-12"]},
    },
    looks={
        "zlib": ZLIB,
        "png": {"header:png.h": "1", "lib:libpng.so.16": "1"},
        "hello": {"prog:hello": "1"},
        "viewer": {"prog:viewer": "1"},
    },
)
FOUR = tuple(component(name) for name in ("zlib", "png", "hello", "viewer"))
BEFORE = snapshot(*FOUR)
PUSHED = snapshot(*FOUR, pins={"zlib": pin("zlib, changed")})


def shelf(world: World = WORLD, made: Snapshot = BEFORE, base: BaseFacts | None = None) -> Shelf:
    """Build everything once."""
    found = Shelf()
    go(made, base or facts(), found, world)
    return found


def looking(**looks: Mapping[str, str]) -> World:
    return replace(WORLD, looks={**WORLD.looks, **looks})


def changed(name: str, **given: Any) -> Snapshot:
    return snapshot(*(replace(one, **given) if one.name == name else one for one in FOUR))


def test_what_was_never_built_is_built_in_order() -> None:
    assert go(BEFORE, facts(), Shelf(), WORLD) == ["zlib", "png", "hello", "viewer"]
    made = forecast(BEFORE, facts(), Shelf())
    assert set(kinds(made).values()) == {"rebuild"}
    assert reasons(made, "png") == ["never built"]


def test_what_did_not_change_is_kept() -> None:
    past = shelf()
    assert go(BEFORE, facts(), past, WORLD) == []
    made = forecast(BEFORE, facts(), past)
    assert set(kinds(made).values()) == {"keep"}
    assert reasons(made, "viewer") == [UNCHANGED]


def test_a_change_that_nobody_can_see_rebuilds_one_component_only() -> None:
    past = shelf()
    made = forecast(PUSHED, facts(), past)
    assert kinds(made) == {"zlib": "rebuild", "png": "waits", "hello": "keep", "viewer": "waits"}
    old, new = revision("zlib")[:7], revision("zlib, changed")[:7]
    assert reasons(made, "zlib") == [f"revision {old} → {new}"]
    assert reasons(made, "png") == ["rebuilt if the interface of zlib changes"]
    assert reasons(made, "viewer") == ["rebuilt if the interface of png changes"]
    assert go(PUSHED, facts(), past, WORLD) == ["zlib"]


def test_a_changed_header_rebuilds_who_used_it_and_nobody_behind_them() -> None:
    past = shelf()
    world = looking(zlib={**ZLIB, "header:zlib.h": "2"})
    assert go(PUSHED, facts(), past, world) == ["zlib", "png"]
    assert go(PUSHED, facts(), past, world) == []


def test_the_reason_names_the_header() -> None:
    past = shelf()
    planner = Planner(PUSHED, ARCH, facts(), past=past)
    newest = past.latest("zlib", ARCH)
    assert newest is not None
    planner.settle("zlib", replace(newest, interface={**ZLIB, "header:zlib.h": "2"}))
    decision = planner.decide("png")
    assert decision.kind is Kind.REBUILD
    assert decision.reasons == ("header zlib.h of zlib changed",)


def test_what_a_component_does_not_use_may_change() -> None:
    past = shelf()
    assert go(PUSHED, facts(), past, looking(zlib={**ZLIB, "pc:zlib": "2"})) == ["zlib"]


def test_a_header_that_is_gone_rebuilds_who_used_it() -> None:
    past = shelf()
    less = {name: value for name, value in ZLIB.items() if name != "header:zlib.h"}
    # A visible name went: everybody after it could have looked for it.
    assert go(PUSHED, facts(), past, looking(zlib=less)) == ["zlib", "png", "hello", "viewer"]


def test_a_new_program_rebuilds_all_that_could_look_for_it() -> None:
    past = shelf()
    world = looking(hello={"prog:hello": "1", "prog:hello2": "1"})
    pushed = snapshot(*FOUR, pins={"hello": pin("hello, changed")})
    assert go(pushed, facts(), past, world) == ["hello", "viewer"]


def test_the_reason_names_the_new_program() -> None:
    past = shelf()
    newest = past.latest("hello", ARCH)
    assert newest is not None
    pushed = snapshot(*FOUR, pins={"hello": pin("hello, changed")})
    planner = Planner(pushed, ARCH, facts(), past=past)
    for name in ("zlib", "png"):
        kept = planner.decide(name).artifact
        assert kept is not None
        planner.settle(name, kept)
    planner.settle("hello", replace(newest, interface={"prog:hello": "1", "prog:hello2": "1"}))
    assert planner.decide("viewer").reasons == ("a new program `hello2` became visible (of hello)",)


def test_a_data_file_of_a_new_path_rebuilds_nobody() -> None:
    past = shelf()
    world = looking(zlib={**ZLIB, "/usr/share/zlib/data": "1", "header:zlib/inner.h": "1"})
    assert go(PUSHED, facts(), past, world) == ["zlib"]


def test_going_back_to_an_older_revision_builds_nothing() -> None:
    past = shelf()
    go(PUSHED, facts(), past, looking(zlib={**ZLIB, "header:zlib.h": "2"}))
    assert go(BEFORE, facts(), past, WORLD) == []


def test_a_name_that_is_hidden_by_a_later_component_counts_as_changed() -> None:
    past = shelf()
    world = looking(hello={"prog:hello": "1", "header:zlib.h": "other"})
    pushed = snapshot(*FOUR, pins={"hello": pin("hello, changed")})
    assert "viewer" in go(pushed, facts(), past, world)
    # png was listed before hello and never sees it.
    assert forecast(pushed, facts(), past).decisions[1].kind is Kind.KEEP


def test_a_file_that_is_hidden_by_a_later_component_is_looked_at_by_who_is_behind_both() -> None:
    data = "/usr/share/zlib/data"
    world = looking(zlib={**ZLIB, data: "1"})
    world = replace(world, uses={**world.uses, "viewer": {"zlib": [data]}, "png": {"zlib": [data]}})
    past = shelf(world)
    hiding = replace(world, looks={**world.looks, "hello": {"prog:hello": "1", data: "2"}})
    hiding = replace(hiding, uses={**hiding.uses, "viewer": {"hello": [data]}})
    pushed = snapshot(*FOUR, pins={"hello": pin("hello, changed")})
    assert go(pushed, facts(), past, hiding) == ["hello", "viewer"], "png comes before hello"
    assert go(pushed, facts(), past, hiding) == []


def test_a_decision_that_was_asked_for_early_is_made_anew_when_more_is_known() -> None:
    past = shelf()
    planner = Planner(PUSHED, ARCH, facts(), past=past)
    for name in planner.names:
        newest = past.latest(name, ARCH)
        assert newest is not None
        planner.assume(name, newest)
    assert planner.decide("viewer").kind is Kind.WAITS
    zlib = past.latest("zlib", ARCH)
    assert zlib is not None
    planner.settle("zlib", replace(zlib, interface={**ZLIB, "prog:zpipe": "1"}))
    assert planner.decide("viewer").reasons == ("a new program `zpipe` became visible (of zlib)",)


@pytest.mark.parametrize(
    ("packages", "rebuilt", "reason"),
    [
        ({"gcc-12": "12.3", "libc6-dev": "2.36-9"}, {"zlib", "png"}, "gcc-12 12.2.0-14 → 12.3"),
        ({"gcc-12": "12.2.0-14", "libc6-dev": "2.37"}, set(), ""),
        ({"libc6-dev": "2.36-9"}, {"zlib", "png"}, "gcc-12 is no longer"),
    ],
)
def test_a_package_of_the_base_counts_for_who_used_it(
    packages: dict[str, str], rebuilt: set[str], reason: str
) -> None:
    past = shelf()
    base = facts(packages=packages)
    made = forecast(BEFORE, base, past)
    assert {one.component for one in made.of_kind(Kind.REBUILD)} == rebuilt
    for name in rebuilt:
        assert reasons(made, name) == [f"{reason} in the base"]
    assert set(go(BEFORE, base, past, WORLD)) == rebuilt


def test_a_new_program_in_the_base_rebuilds_everything() -> None:
    past = shelf()
    base = facts("prog:cc")
    assert go(BEFORE, base, past, WORLD) == ["zlib", "png", "hello", "viewer"]
    past = shelf()
    made = forecast(BEFORE, base, past, earlier_base_names=lambda _digest: ["prog:old"])
    assert reasons(made, "hello") == [
        "a new program `cc` became visible (in the base)",
        "program `old` is no longer visible (in the base)",
    ]
    assert reasons(forecast(BEFORE, base, past), "hello") == [
        "the names visible in the base changed"
    ]


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"epoch": 2}, "epoch 0 → 2"),
    ({"config_opts": ("--x",)}, "option --x added"),
    ({"build": BuildSpec(system=BuildSystem.MAKE)}, "build system guess → make"),
    ({"build": BuildSpec(commands=("make",))}, "build commands changed"),
    ({"build": BuildSpec(environment={"A": "1"})}, "environment variable A added"),
    ({"build": BuildSpec(subdir="src")}, "build directory none → src"),
    ({"cflags": {ARCH: "-O1"}}, "cflags none → -O1"),
    ({"setuid": ("/usr/bin/su",)}, "setuid bit of /usr/bin/su added"),
    ({"requires_pkgconfig": ("x11",)}, "requirement x11 added"),
    ({"rm_configure": True}, "rm-configure switched on"),
    ({"patches": ("a.patch",)}, "patch a.patch added"),
    ({"children": (Child(name="inner", source=GIT),)}, "child inner added"),
]


@pytest.mark.parametrize(("given_keys", "reason"), CHANGES)
def test_every_change_of_the_manifest_is_told_in_words(
    given_keys: dict[str, Any], reason: str
) -> None:
    past = shelf()
    now = changed("hello", **given_keys)
    made = forecast(now, facts(), past)
    assert kinds(made)["hello"] == "rebuild"
    assert reasons(made, "hello") == [reason]
    assert go(now, facts(), past, WORLD) == ["hello"]


def test_a_changed_patch_and_more_than_one_reason_are_all_told() -> None:
    one = replace(FOUR[2], patches=("a.patch",))
    four = (*FOUR[:2], one, FOUR[3])
    past = shelf(made=snapshot(*four))
    patched = pin("other", one, patches={"a.patch": "other"})
    made = forecast(snapshot(*four, pins={"hello": patched}), facts(), past)
    old, new = revision("hello")[:7], revision("other")[:7]
    assert reasons(made, "hello") == [f"revision {old} → {new}", "patch a.patch changed"]


def test_the_number_of_git_commits_is_told_where_it_is_known() -> None:
    past = shelf()
    made = forecast(PUSHED, facts(), past, count_commits=lambda *_: 3)
    assert reasons(made, "zlib")[0].endswith(" (3 commits)")
    made = forecast(PUSHED, facts(), past, count_commits=lambda *_: 1)
    assert reasons(made, "zlib")[0].endswith(" (1 commit)")


def test_limits_and_ccache_rebuild_nobody() -> None:
    now = changed("zlib", build=BuildSpec(ccache=True), line=99, irc_room="#x")
    assert go(now, facts(), shelf(), WORLD) == []


@pytest.mark.parametrize(
    ("epoch", "rebuilt"),
    [
        ({"epoch": 1}, []),
        ({"epoch": 1, "epoch_all": True}, ["zlib", "png", "hello", "viewer"]),
        ({"epoch": 1, "epoch_components": ("hello",)}, ["hello"]),
    ],
)
def test_a_build_epoch_forces_once(epoch: dict[str, Any], rebuilt: list[str]) -> None:
    past = shelf()
    now = snapshot(*FOUR, **epoch)
    made = forecast(now, facts(), past)
    assert [reasons(made, name) for name in rebuilt] == [["build-epoch 0 → 1"]] * len(rebuilt)
    assert go(now, facts(), past, WORLD) == rebuilt
    assert go(now, facts(), past, WORLD) == []


def test_what_is_forced_is_built_though_nothing_changed() -> None:
    past = shelf()
    made = forecast(BEFORE, facts(), past, force=frozenset({"zlib"}))
    assert reasons(made, "zlib") == ["forced"]
    assert go(BEFORE, facts(), past, WORLD, force=frozenset({"zlib"})) == ["zlib"]


def test_a_working_copy_is_always_built() -> None:
    now = snapshot(*FOUR, pins={"hello": pin("hello", local=True)})
    past = shelf(made=now)
    assert go(now, facts(), past, WORLD) == ["hello"]
    assert reasons(forecast(now, facts(), past), "hello") == ["local: always built"]


def test_an_artifact_whose_files_are_lost_is_built_again() -> None:
    past = shelf()
    newest = past.latest("png", ARCH)
    assert newest is not None
    past.lost.add(newest.key)
    made = forecast(BEFORE, facts(), past)
    assert reasons(made, "png") == ["its files are no longer in the repository"]
    assert go(BEFORE, facts(), past, WORLD) == ["png"]


def test_an_artifact_that_was_tampered_with_is_not_kept() -> None:
    past = shelf()
    past.artifacts = [
        replace(one, used={}) if one.component == "png" else one for one in past.artifacts
    ]
    assert kinds(forecast(BEFORE, facts(), past))["png"] == "rebuild"


def test_a_new_build_script_rebuilds_everything() -> None:
    past = shelf()
    made = forecast(BEFORE, facts(), past, script=99)
    assert set(kinds(made).values()) == {"rebuild"}
    assert "build script 1 → 99" in reasons(made, "zlib")


def test_with_depends_only_those_are_seen() -> None:
    three = (component("a"), component("b", depends=()), component("c"))
    world = World(looks={"a": {"prog:a": "1"}})
    past = shelf(world, snapshot(*three))
    more = World(looks={"a": {"prog:a": "1", "prog:a2": "1"}})
    now = snapshot(*three, pins={"a": pin("a, changed")})
    assert go(now, facts(), past, more) == ["a", "c"]


def test_a_component_that_leaves_the_list_rebuilds_who_saw_it() -> None:
    past = shelf()
    now = snapshot(*(one for one in FOUR if one.name != "zlib"))
    made = forecast(now, facts(), past)
    assert reasons(made, "png")[0] == "zlib, which it uses, is no longer in its buildroot"
    assert set(kinds(made).values()) == {"rebuild"}


def test_a_new_component_at_the_end_rebuilds_nobody_else() -> None:
    past = shelf()
    assert go(snapshot(*FOUR, component("more")), facts(), past, WORLD) == ["more"]


def test_a_new_component_in_the_middle_makes_the_rest_wait() -> None:
    past = shelf()
    now = snapshot(FOUR[0], component("more"), *FOUR[1:])
    made = forecast(now, facts(), past)
    assert kinds(made) == {
        "zlib": "keep",
        "more": "rebuild",
        "png": "waits",
        "hello": "waits",
        "viewer": "waits",
    }
    assert reasons(made, "hello") == ["rebuilt if more, which is new, brings names it may look for"]
    assert go(now, facts(), past, WORLD) == ["more"], "it brought none"


# noarch


def test_noarch_is_built_once_for_two_architectures() -> None:
    both = (component("fonts", noarch=True), component("app"))
    made = snapshot(*both, architectures=("x86_64", "aarch64"))
    past = Shelf()
    assert go(made, facts(), past, World()) == ["fonts", "app"]
    fonts = past.latest("fonts", "noarch")
    assert fonts is not None
    noarch = {"fonts": fonts}
    assert go(made, facts(), past, World(), arch="aarch64", noarch=noarch) == ["app"]
    planner = Planner(made, "aarch64", facts(), past=past, noarch=noarch)
    assert planner.arch_of("fonts") == "noarch"
    assert planner.decide("fonts").reasons == (
        "the same for all architectures: built once, with another one",
    )


def test_noarch_that_is_not_built_yet_is_waited_for() -> None:
    made = snapshot(component("fonts", noarch=True))
    planner = Planner(made, "aarch64", facts(), past=Shelf(), noarch={})
    assert planner.decide("fonts").kind is Kind.WAITS


# A list as long as the original's


def long_list(count: int = 379) -> tuple[tuple[Component, ...], World]:
    components = tuple(component(f"c{n}") for n in range(count))
    looks = {f"c{n}": {f"header:c{n}.h": "1", f"lib:libc{n}.so.1": "1"} for n in range(count)}
    uses = {f"c{n}": {"c3": ["header:c3.h"]} for n in (50, 200, 378)}
    uses |= {f"c{n}": {f"c{n - 1}": [f"header:c{n - 1}.h"]} for n in (51, 52)}
    return components, World(uses=uses, looks=looks)


def test_a_header_low_in_a_long_list_rebuilds_those_who_used_it_and_not_all() -> None:
    components, world = long_list()
    past = Shelf()
    assert len(go(snapshot(*components), facts(), past, world)) == 379
    now = snapshot(*components, pins={"c3": pin("c3, changed")})
    made = forecast(now, facts(), past)
    waits = {one.component for one in made.of_kind(Kind.WAITS)}
    assert waits == {"c50", "c51", "c52", "c200", "c378"}, "and those that use these"
    assert [one.component for one in made.of_kind(Kind.REBUILD)] == ["c3"]
    moved = replace(world, looks={**world.looks, "c3": {**world.looks["c3"], "header:c3.h": "2"}})
    assert go(now, facts(), past, moved) == ["c3", "c50", "c200", "c378"]


# Texts


def test_a_plan_is_written_for_people() -> None:
    made = forecast(PUSHED, facts(), shelf())
    old, new = revision("zlib")[:7], revision("zlib, changed")[:7]
    assert text(made).splitlines()[:6] == [
        f"zlib    rebuild  revision {old} → {new}",
        "png     waits    rebuilt if the interface of zlib changes",
        "hello   keep     nothing that it uses has changed",
        "viewer  waits    rebuilt if the interface of png changes",
        "",
        "4 components for x86_64: 1 keep, 1 rebuild, 2 waits",
    ]
    assert "a build decides anew after each component." in text(made)
    assert summary(made) == text(made).splitlines()[5]
    told = as_plain(made)
    assert told["summary"] == {"keep": 1, "rebuild": 1, "waits": 2}


# Invariants


@st.composite
def worlds(draw: st.DrawFn) -> tuple[tuple[Component, ...], World]:
    """Make a list of components that use what is listed before, each with names of its own."""
    count = draw(st.integers(2, 7))
    names = [f"c{n}" for n in range(count)]
    components, uses, looks = [], {}, {}
    for n, name in enumerate(names):
        before = names[:n]
        some = st.lists(st.sampled_from(before), unique=True, max_size=3) if n else st.just([])
        depends = draw(st.none() | some.map(tuple))
        components.append(component(name, depends=depends))
        wanted = draw(some)
        uses[name] = {other: [f"header:{other}.h", f"prog:{other}"] for other in wanted}
        looks[name] = draw(
            st.dictionaries(
                st.sampled_from([f"header:{name}.h", f"prog:{name}", f"/usr/share/{name}"]),
                st.sampled_from("12"),
            )
        )
    return tuple(components), World(uses=uses, looks=looks)


def pushed_to(components: tuple[Component, ...], names: list[str]) -> dict[str, Pin]:
    return {one.name: pin(f"{one.name}, changed") for one in components if one.name in names}


def standing(made: Snapshot, past: Shelf) -> dict[str, Artifact]:
    """Tell which artifact each component ends with, when nothing is built any more."""
    planner = Planner(made, ARCH, facts(), past=past)
    found = {}
    for name in planner.order:
        decision = planner.decide(name)
        assert decision.kind is Kind.KEEP
        assert decision.artifact is not None
        planner.settle(name, decision.artifact)
        found[name] = decision.artifact
    return found


@settings(deadline=None)
@given(worlds(), worlds(), st.data())
def test_building_on_the_past_ends_where_building_from_nothing_does(
    first: tuple[tuple[Component, ...], World],
    second: tuple[tuple[Component, ...], World],
    data: st.DataObject,
) -> None:
    components, world = first
    past = Shelf()
    go(snapshot(*components), facts(), past, world)
    names = [one.name for one in components]
    pushed = data.draw(st.lists(st.sampled_from(names), unique=True))
    # What a push changes is how the component looks; what the others use stays.
    looks = {**world.looks, **{n: second[1].looks.get(n, {}) for n in pushed}}
    now = snapshot(*components, pins=pushed_to(components, pushed))
    moved = replace(world, looks=looks)
    rebuilt = go(now, facts(), past, moved)
    assert set(pushed) <= set(rebuilt)
    assert go(now, facts(), past, moved) == [], "a second time there is nothing to do"
    fresh = Shelf()
    go(now, facts(), fresh, moved)
    grown, scratch = standing(now, past), standing(now, fresh)
    assert {name: one.key for name, one in grown.items()} == {
        name: one.key for name, one in scratch.items()
    }
    assert {name: one.interface for name, one in grown.items()} == {
        name: one.interface for name, one in scratch.items()
    }


@settings(deadline=None)
@given(worlds(), st.data())
def test_a_forecast_says_keep_and_rebuild_only_where_it_is_so(
    given_one: tuple[tuple[Component, ...], World], data: st.DataObject
) -> None:
    components, world = given_one
    past = Shelf()
    go(snapshot(*components), facts(), past, world)
    names = [one.name for one in components]
    pushed = data.draw(st.lists(st.sampled_from(names), unique=True))
    # Contents change, names do not come or go: that is what a forecast takes for granted.
    looks = dict(world.looks)
    for name in pushed:
        looks[name] = {one: data.draw(st.sampled_from("19")) for one in looks[name]}
    now = snapshot(*components, pins=pushed_to(components, pushed))
    made = forecast(now, facts(), past)
    rebuilt = set(go(now, facts(), past, replace(world, looks=looks)))
    for decision in made.decisions:
        assert decision.reasons
        if decision.kind is Kind.KEEP:
            assert decision.component not in rebuilt
        if decision.kind is Kind.REBUILD:
            assert decision.component in rebuilt


@settings(deadline=None)
@given(worlds(), st.randoms())
def test_a_forecast_changes_nothing_and_is_the_same_twice(
    given_one: tuple[tuple[Component, ...], World], chance: random.Random
) -> None:
    components, world = given_one
    past = Shelf()
    made = snapshot(*components)
    go(made, facts(), past, world)
    chosen = chance.choice(components).name
    now = snapshot(*components, pins=pushed_to(components, [chosen]))
    before = list(past.artifacts)
    assert forecast(now, facts(), past) == forecast(now, facts(), past)
    assert past.artifacts == before


def test_a_plan_tells_what_each_comes_after_without_what_follows_from_that() -> None:
    given = snapshot(component("a"), component("b"), component("c", depends=("a",)), component("d"))
    made = forecast(given, facts(), Shelf())
    after = {one.component: one.after for one in made.decisions}
    assert after == {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}


def test_what_is_kept_is_waited_for_by_nobody() -> None:
    given, shelf = snapshot(component("a"), component("b"), component("c")), Shelf()
    go(given, facts(), shelf, World())
    changed = snapshot(*given.manifest.components, pins={"a": pin("new"), "c": pin("newer")})
    after = {one.component: one.after for one in forecast(changed, facts(), shelf).decisions}
    assert after == {"a": (), "b": (), "c": ("a",)}
