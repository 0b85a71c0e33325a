# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which components, parts and lists each target has, and targets that nobody wrote down."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.words.errors import BadInput
from pipeline.words.manifest import Manifest, Need, Target
from pipeline.words.refs import Part, name_of_part, ref_part
from pipeline.words.targets import target_of
from tests.manifests import messages_of, parsed, with_keys

NAMES = ("zlib", "glib", "strace", "gdb", "libsigc++")
COMPONENTS = [
    {"src": "git:https://example.org/zlib.git"},
    {"src": "git:https://example.org/boot.git", "bootstrap": True, "groups": ["tracing"]},
    {"src": "git:https://example.org/glib.git", "component": "minimal"},
    {"src": "git:https://example.org/strace.git", "groups": ["tracing"]},
    {"src": "git:https://example.org/gdb.git"},
    {"src": "git:https://example.org/libsigc++.git"},
]
GROUPS = {"tracing": ["gdb"], "base": ["zlib", "glib"], "nobody": []}


def manifest(**targets: Any) -> Manifest:
    return parsed(text(**targets))


def text(**targets: Any) -> str:
    return with_keys(components=COMPONENTS, groups=GROUPS, targets=targets)


def chosen(*selection: str, extend: Any = None) -> tuple[str, ...]:
    below = {"below": extend} if extend else {}
    given = {"extend": "below"} if extend else {}
    found = manifest(**below, it={**given, "components": list(selection)})
    return found.target("it").components


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (["all"], NAMES),
        (["gdb", "zlib"], ("zlib", "gdb")),
        (["@tracing"], ("strace", "gdb")),
        (["@minimal"], ("glib",)),
        (["@nobody"], ()),
        ([], ()),
        (["all", "-zlib"], NAMES[1:]),
        (["-zlib"], NAMES[1:]),
        (["-zlib", "-@tracing"], ("glib", "libsigc++")),
        (["all", "-@tracing", "gdb"], ("zlib", "glib", "gdb", "libsigc++")),
        (["gdb", "-gdb"], ()),
        (["-gdb", "gdb"], ("gdb",)),
        (["@base", "-zlib"], ("glib",)),
    ],
)
def test_a_selection_is_read_from_left_to_right(
    selection: list[str], meant: tuple[str, ...]
) -> None:
    assert chosen(*selection) == meant


def test_a_selection_of_all_can_be_one_word() -> None:
    assert manifest(it={"components": "all"}).target("it").components == NAMES
    assert messages_of(text(it={"components": "zlib"})) == ["wants all or a list, this is 'zlib'"]


def test_what_extends_starts_from_what_it_extends() -> None:
    below = {"components": ["zlib", "gdb"]}
    assert chosen("strace", extend=below) == ("zlib", "strace", "gdb")
    assert chosen("-gdb", extend=below) == ("zlib",)
    assert manifest(a=below, b={"extend": "a"}).target("b").components == ("zlib", "gdb")


def test_bootstrap_components_are_in_no_tree() -> None:
    found = manifest(it={"components": ["all", "@tracing"]})
    assert "boot" not in found.target("it").components
    assert messages_of(text(it={"components": ["boot"]})) == [
        "'boot' is for bootstrapping and is in no tree"
    ]


def test_the_rest_of_a_target_replaces_what_it_extends() -> None:
    found = manifest(
        runtime={
            "kernel-options": ["quiet"],
            "disk-size": "1G",
            "memory": "512M",
            "processors": 1,
            "gate": {"smoke": "required", "tests": "advisory"},
            "default-target": "basic.target",
            "promotion-group": "slow",
            "architectures": ["x86_64"],
        },
        same={"extend": "runtime"},
        other={
            "extend": "runtime",
            "kernel-options": ["debug"],
            "packages": ["runtime", "devel"],
            "subtrees": ["tests", "runtime"],
            "gate": {"smoke": "required"},
            "memory": "2G",
        },
    )
    runtime, same, other = found.targets
    assert same == Target(**{**vars(runtime), "name": "same"})
    assert runtime.gate == {"smoke": Need.REQUIRED, "tests": Need.ADVISORY}
    assert other.kernel_options == ("debug",)
    assert other.packages == ("runtime", "devel")
    assert other.subtrees == (Part.RUNTIME, Part.TESTS)
    assert other.gate == {"smoke": Need.REQUIRED}
    assert (other.memory, other.disk_size, other.processors) == (2 * 1024**3, 1024**3, 1)
    assert (other.default_unit, other.promotion_group) == ("basic.target", "slow")


def test_a_chain_of_targets_can_be_written_in_any_order() -> None:
    found = manifest(
        c={"extend": "b", "components": ["gdb"]},
        b={"extend": "a", "components": ["glib"]},
        a={"components": ["zlib"]},
    )
    assert found.target("c").components == ("zlib", "glib", "gdb")


def test_the_gates_of_the_manifest_are_the_default() -> None:
    gates = {"smoke": "required", "installed": "advisory"}
    found = parsed(with_keys(gates=gates, targets={"a": {}, "b": {"gate": {"x": "required"}}}))
    assert found.target("a").gate == {"smoke": Need.REQUIRED, "installed": Need.ADVISORY}
    assert found.target("b").gate == {"x": Need.REQUIRED}


def test_a_gate_may_have_a_budget_of_flaky_tests_and_wait_for_a_baseline() -> None:
    gates = {"smoke": {"flaky": 2}, "installed": {"need": "advisory"}, "x": "once-baseline"}
    tests = {"tests": {"passes-to-count": 0}}
    targets = {"a": {}, "b": {"gate": {"smoke": "required"}, **tests}, "c": {"extend": "b"}}
    found = parsed(with_keys(gates=gates, targets=targets, tests={"passes-to-count": 5}))
    a, b, c = found.targets
    assert a.gate == {
        "smoke": Need.REQUIRED,
        "installed": Need.ADVISORY,
        "x": Need.ONCE_BASELINE,
    }
    assert (a.flaky, b.flaky, c.flaky) == ({"smoke": 2}, {}, {})
    assert (a.passes_to_count, b.passes_to_count, c.passes_to_count) == (5, 0, 0)


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ({"smoke": {"need": "require"}}, "'require' is not known here"),
        ({"smoke": {"flakey": 1}}, "unknown key 'flakey'"),
        ({"smoke": {"flaky": -1}}, "wants at least 0, this is -1"),
    ],
)
def test_what_a_gate_cannot_say_is_told(gate: dict[str, object], message: str) -> None:
    assert messages_of(text(it={"gate": gate})) == [message]


@pytest.mark.parametrize("gate", [{}, {"smoke": "advisory"}, {"smoke": {"need": "once-baseline"}}])
def test_a_gate_that_requires_nothing_is_refused(gate: dict[str, str]) -> None:
    message = "nothing is required, so untested trees would be promoted"
    assert messages_of(text(it={"gate": gate})) == [message]
    assert messages_of(with_keys(gates=gate)) == [message]


def test_a_gate_of_a_misspelt_need_is_told_once() -> None:
    assert messages_of(text(it={"gate": {"smoke": "require"}})) == ["'require' is not known here"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"components": ["tracing"]}, "there is no component 'tracing'"),
        ({"components": ["@trace"]}, "there is no group 'trace'"),
        ({"extend": "nothing"}, "there is no target 'nothing'"),
        ({"extend": "it"}, "targets extend one another: it → it"),
        ({"packages": ["develop"]}, "the base has no package list 'develop'"),
        ({"packages": []}, "a tree needs a package list of the base"),
        ({"architectures": ["aarch64"]}, "the manifest is not built for aarch64"),
        ({"subtrees": ["dev"]}, "'dev' is not known here"),
        ({"default-target": "multi-user"}, "'multi-user' is no systemd unit"),
        ({"kernel-options": ["quiet splash"]}, "'quiet splash' has white space in it"),
        ({"disk-size": "1K"}, "wants at least 67108864, this is 1024"),
    ],
)
def test_what_a_target_cannot_say_is_refused(target: dict[str, Any], message: str) -> None:
    assert messages_of(text(it=target)) == [message]


def test_a_manifest_without_a_target_left_is_refused() -> None:
    assert messages_of(text()) == ["no target, so nothing would be composed"]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("small", ()),
        ("small+strace", ("strace",)),
        ("small+@tracing", ("strace", "gdb")),
        ("small+gdb+strace", ("strace", "gdb")),
        ("small+libsigc++", ("libsigc++",)),
        ("small+libsigc+++gdb", ("gdb", "libsigc++")),
        ("small+all", ("glib", "strace", "gdb", "libsigc++")),
    ],
)
def test_a_target_can_be_named_with_what_it_has_more(name: str, more: tuple[str, ...]) -> None:
    found = target_of(manifest(small={"components": ["zlib"], "memory": "2G"}), name)
    assert found.name == name
    assert found.components == ("zlib", *more)
    assert found.memory == 2 * 1024**3
    assert name_of_part(ref_part(f"x86_64-{name}")) == f"x86_64-{name}"


def test_a_target_with_a_plus_in_its_name_is_itself() -> None:
    found = manifest(**{"small": {"components": []}, "small+gdb": {"components": ["glib"]}})
    assert target_of(found, "small+gdb").components == ("glib",)
    assert target_of(found, "small+gdb+gdb").components == ("glib", "gdb")


@pytest.mark.parametrize(
    ("name", "what", "hint"),
    [
        ("smal", "there is no target 'smal'", "did you mean 'small'?"),
        ("smal+gdb", "there is no target 'smal+gdb'", "did you mean 'small'?"),
        ("small+gbd", "there is no component 'gbd'", "did you mean 'gdb'?"),
        ("small+tracing", "there is no component 'tracing'", "did you mean '@tracing'?"),
        ("small+@tracin", "there is no group 'tracin'", "did you mean 'tracing'?"),
        ("small+boot", "'boot' is for bootstrapping and is in no tree", ""),
        ("small+", "there is no component ''", ""),
    ],
)
def test_a_target_that_cannot_be_derived_says_what_was_meant(
    name: str, what: str, hint: str
) -> None:
    with pytest.raises(BadInput) as error:
        target_of(manifest(small={"components": []}), name)
    assert error.value.what == what
    assert error.value.hint == hint or not hint


SELECTIONS = st.lists(
    st.sampled_from([*NAMES, "all", "@tracing", "@base", "@nobody"]).flatmap(
        lambda word: st.sampled_from([word, f"-{word}"])
    ),
    max_size=8,
)


@given(SELECTIONS, SELECTIONS)
def test_extending_is_reading_one_selection_after_the_other(
    first: list[str], second: list[str]
) -> None:
    parts = manifest(
        one={"components": ["zlib", "-zlib", *first]}, two={"extend": "one", "components": second}
    )
    whole = manifest(both={"components": ["zlib", "-zlib", *first, *second]})
    assert parts.target("two").components == whole.target("both").components
