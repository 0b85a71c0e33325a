# SPDX-License-Identifier: LGPL-2.1-or-later
"""Equal inputs have equal keys, whatever the order they are told in; others have others."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.words.keys import (
    BUILD_VERSION,
    Recipe,
    add_numbers,
    artifact_key,
    base_facts,
    is_consistent,
    names_number,
    own_inputs,
    recipe,
    subtract_numbers,
    visible_names,
)
from pipeline.words.manifest import BuildSpec, BuildSystem, Child, Component, Limits, Source
from pipeline.words.names import in_words, interface_name
from pipeline.words.refs import Key, Revision
from pipeline.words.snapshot import Pin, Snapshot
from tests.small import ARCH, GIT, component, facts, pin, revision, snapshot

RECIPE = Key("1" * 64)
NAMES = st.text(alphabet="abz/.:-", min_size=1, max_size=8)
PLAIN = component(
    "zlib",
    patches=("one.patch", "two.patch"),
    children=(Child(name="inner", source=GIT, patches=("three.patch",)),),
    config_opts=("--a", "--b"),
    cflags={"x86_64": "-O2", "i686": "-O1"},
    build=BuildSpec(options=("x",), environment={"A": "1", "B": "2"}),
)
PINNED = pin("zlib", PLAIN, submodules={"sub": revision("sub")})


def key_of(one: Component = PLAIN, pinned: Pin = PINNED, arch: str = ARCH, **given: object) -> Key:
    made = snapshot(one, pins={one.name: pinned}, **given)
    return recipe_of(made, one.name, arch).key


def recipe_of(made: Snapshot, name: str, arch: str) -> Recipe:
    own = own_inputs(made.manifest.component(name), made.pins[name], arch, made.manifest)
    return recipe(own, base=facts("prog:cc"), visible=7)


def build_of(**changed: object) -> Component:
    return replace(PLAIN, build=replace(PLAIN.build, **changed))  # type: ignore[arg-type]


COUNTS: dict[str, Callable[[], Key]] = {
    "revision": lambda: key_of(pinned=replace(PINNED, revision=revision("other"))),
    "submodule": lambda: key_of(pinned=replace(PINNED, submodules={"sub": Revision("0" * 40)})),
    "content of a patch": lambda: key_of(
        pinned=replace(PINNED, patches={**PINNED.patches, "one.patch": "other"})
    ),
    "order of patches": lambda: key_of(replace(PLAIN, patches=("two.patch", "one.patch"))),
    "revision of a child": lambda: key_of(pinned=replace(PINNED, children={"inner": pin("new")})),
    "an option": lambda: key_of(build_of(options=("x", "y"))),
    "order of options": lambda: key_of(replace(PLAIN, config_opts=("--b", "--a"))),
    "build system": lambda: key_of(build_of(system=BuildSystem.MESON)),
    "commands": lambda: key_of(build_of(commands=("make",))),
    "environment": lambda: key_of(build_of(environment={"A": "1", "B": "3"})),
    "subdirectory": lambda: key_of(build_of(subdir="src")),
    "cflags of this architecture": lambda: key_of(replace(PLAIN, cflags={"x86_64": "-O3"})),
    "architecture": lambda: key_of(arch="i686"),
    "setuid": lambda: key_of(replace(PLAIN, setuid=("/usr/bin/su",))),
    "requirement": lambda: key_of(replace(PLAIN, requires_pkgconfig=("x11",))),
    "rm-configure": lambda: key_of(replace(PLAIN, rm_configure=True)),
    "component's epoch": lambda: key_of(replace(PLAIN, epoch=1)),
    "manifest's epoch for all": lambda: key_of(epoch=4, epoch_all=True),
    "manifest's epoch by name": lambda: key_of(epoch=5, epoch_components=("zlib",)),
    "name": lambda: key_of(replace(PLAIN, name="zlib-ng")),
}
COUNTS_NOT: dict[str, Callable[[], Key]] = {
    "where it comes from": lambda: key_of(
        replace(PLAIN, source=Source(kind=GIT.kind, location="https://moved.example/", tag="v1"))
    ),
    "place in the manifest": lambda: key_of(replace(PLAIN, line=77)),
    "texts for people": lambda: key_of(replace(PLAIN, reasons={"tag-reason": "x"}, irc_room="#x")),
    "limits": lambda: key_of(build_of(limits=Limits(time_s=1))),
    "ccache": lambda: key_of(build_of(ccache=True)),
    "cflags of another architecture": lambda: key_of(replace(PLAIN, cflags={"x86_64": "-O2"})),
    "groups": lambda: key_of(replace(PLAIN, groups=("devel",), bootstrap=True)),
    "git's texts": lambda: key_of(pinned=replace(PINNED, describe="v1", subject="x", tree="y")),
    "an epoch for others": lambda: key_of(epoch=4, epoch_components=("glib",)),
    "orders of mappings": lambda: key_of(
        build_of(environment={"B": "2", "A": "1"}),
        replace(PINNED, patches=dict(reversed([*PINNED.patches.items()]))),
    ),
}


@pytest.mark.parametrize("what", COUNTS)
def test_what_decides_the_result_changes_the_recipe(what: str) -> None:
    assert COUNTS[what]() != key_of()


@pytest.mark.parametrize("what", COUNTS_NOT)
def test_what_does_not_decide_it_leaves_the_recipe(what: str) -> None:
    assert COUNTS_NOT[what]() == key_of()


def test_all_recipes_that_differ_have_different_keys() -> None:
    keys = [make() for make in COUNTS.values()]
    assert len(set(keys)) == len(keys)


def test_what_the_buildroot_shows_and_the_script_are_in_the_recipe() -> None:
    own = {"name": "zlib"}
    keys = {
        recipe(own, base=facts(), visible=0).key,
        recipe(own, base=facts(), visible=1).key,
        recipe(own, base=facts("prog:cc"), visible=0).key,
        recipe(own, base=facts(), visible=0, script=BUILD_VERSION + 1).key,
    }
    assert len(keys) == 4


def test_packages_of_the_base_that_are_not_used_are_not_in_the_recipe() -> None:
    assert (
        recipe({}, base=facts("prog:cc", packages={"gcc": "1"}), visible=0).key
        == recipe({}, base=facts("prog:cc", packages={"gcc": "2"}), visible=0).key
    )


def test_a_setting_that_was_never_given_leaves_old_keys_as_they_are() -> None:
    made = recipe({"name": "x", "new-setting": [], "other": False}, base=facts(), visible=0)
    assert made.key == recipe({"name": "x"}, base=facts(), visible=0).key


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, NAMES, max_size=4), max_size=4), st.randoms())
def test_keys_are_equal_across_orders(
    used: dict[str, dict[str, str]], chance: random.Random
) -> None:
    shuffled = {}
    for provider in chance.sample(sorted(used), len(used)):
        names = used[provider]
        shuffled[provider] = {
            name: names[name] for name in chance.sample(sorted(names), len(names))
        }
    assert artifact_key(RECIPE, shuffled) == artifact_key(RECIPE, used)


@given(
    st.dictionaries(NAMES, st.dictionaries(NAMES, NAMES, max_size=2), max_size=3),
    st.dictionaries(NAMES, st.dictionaries(NAMES, NAMES, max_size=2), max_size=3),
)
def test_keys_are_equal_only_where_what_was_used_is(
    one: dict[str, dict[str, str]], other: dict[str, dict[str, str]]
) -> None:
    assert (artifact_key(RECIPE, one) == artifact_key(RECIPE, other)) == (one == other)


@given(st.lists(st.lists(NAMES.map(lambda text: f"prog:{text}"))), st.randoms())
def test_sums_of_names_do_not_depend_on_the_order(
    interfaces: list[list[str]], chance: random.Random
) -> None:
    forth = back = 0
    for names in interfaces:
        forth = add_numbers(forth, names_number(names))
    for names in chance.sample(interfaces, len(interfaces)):
        back = add_numbers(back, names_number(chance.sample(names, len(names))))
    assert forth == back < 1 << 256
    for names in interfaces:
        back = subtract_numbers(back, names_number(names))
    assert back == 0


def test_only_what_a_configure_looks_for_is_visible() -> None:
    names = ["header:zlib.h", "header:GL/gl.h", "lib:libz.so.1", "lib:libz.so.1.2.13", "lib:libm.a"]
    names += ["pc:zlib", "prog:gzip", "/usr/share/data", "path:x", "header"]
    found = ("header:zlib.h", "lib:libm", "lib:libz", "pc:zlib", "prog:gzip")
    assert visible_names(names) == found


def test_a_new_version_of_a_library_shows_no_new_name() -> None:
    assert names_number(["lib:libz.so.1"]) == names_number(["lib:libz.so.2"])
    assert names_number(["lib:libz.so.1"]) != names_number(["lib:libzz.so.1"])
    assert names_number(["/usr/share/data"]) == names_number([]) == 0


def test_a_base_is_the_same_in_whatever_order_it_was_looked_through() -> None:
    one = base_facts(["prog:b", "prog:a", "prog:a"], {"b": "1", "a": "2"}, "c")
    other = base_facts(["prog:a", "prog:b"], {"a": "2", "b": "1"}, "c")
    assert one == other
    assert one.names == ("prog:a", "prog:b")


def test_an_artifact_whose_key_is_not_its_hash_is_found_out() -> None:
    from pipeline.words.artifact import Artifact

    used = {"base": {"gcc": "1"}}
    good = Artifact(
        component="zlib",
        arch=ARCH,
        recipe=RECIPE,
        key=artifact_key(RECIPE, used),
        revision=revision("x"),
        used=used,
    )
    assert is_consistent(good)
    assert not is_consistent(replace(good, used={}))
    assert not is_consistent(replace(good, recipe=Key("2" * 64)))


@pytest.mark.parametrize(
    ("path", "name", "words"),
    [
        ("/usr/include/zlib.h", "header:zlib.h", "header zlib.h"),
        ("/usr/include/x86_64-linux-gnu/zconf.h", "header:zconf.h", "header zconf.h"),
        ("/usr/include/arm-linux-gnueabihf/zconf.h", "header:zconf.h", "header zconf.h"),
        ("/usr/include/GL/gl.h", "header:GL/gl.h", "header GL/gl.h"),
        ("/usr/lib/libz.so.1", "lib:libz.so.1", "library libz.so.1"),
        ("/usr/lib/x86_64-linux-gnu/libz.so", "lib:libz.so", "library libz.so"),
        ("/usr/lib64/libz.a", "lib:libz.a", "library libz.a"),
        ("/usr/lib/x86_64-linux-gnu/pkgconfig/zlib.pc", "pc:zlib", ".pc file zlib.pc"),
        ("/usr/share/pkgconfig/bash.pc", "pc:bash", ".pc file bash.pc"),
        ("/usr/bin/gzip", "prog:gzip", "program gzip"),
        ("/usr/sbin/agetty", "prog:agetty", "program agetty"),
        ("/usr/lib/gcc/x86_64-linux-gnu/12/libgcc.a", "", ""),
        ("/usr/lib/python3/plugin.so", "", ""),
        ("/usr/bin/sub/tool", "", ""),
        ("/usr/share/aclocal/glib.m4", "", "file /usr/share/aclocal/glib.m4"),
    ],
)
def test_files_are_named_by_what_they_are_looked_for_as(path: str, name: str, words: str) -> None:
    assert interface_name(path) == (name or path)
    if words:
        assert in_words(interface_name(path)) == words
