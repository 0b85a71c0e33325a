# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records to JSON and back; what we write and read is what a library would that does the same."""

import contextlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from pipeline.cli.assigned import Assignment
from pipeline.words.artifact import Artifact
from pipeline.words.errors import Trouble
from pipeline.words.manifest import BuildSpec, Child, Manifest, Source
from pipeline.words.manifest_text import parse_manifest
from pipeline.words.records import from_json, from_plain, plain, to_json
from pipeline.words.refs import Part
from pipeline.words.snapshot import BasePin, Pin, Snapshot, canonical_json
from tests.manifests import SMALLEST
from tests.small import GIT, component, pin, snapshot

HINT = "the file was written by another version or damaged; remove it and run again"


@dataclass(frozen=True, kw_only=True)
class Small:
    """A record with one of each type that ours have."""

    name: str
    count: int = 0
    part: Part = Part.RUNTIME
    seconds: float = 0.0
    inner: "Small | None" = None
    words: tuple[str, ...] = ()
    numbers: dict[str, int] = field(default_factory=dict)


def smalls() -> st.SearchStrategy[Small]:
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    leaf = st.builds(
        Small,
        name=text,
        count=st.integers(-(2**60), 2**60),
        part=st.sampled_from(Part),
        seconds=st.floats(allow_nan=False, allow_infinity=False),
        words=st.lists(text, max_size=3).map(tuple),
        numbers=st.dictionaries(text, st.integers(-9, 9), max_size=3),
    )
    return st.recursive(leaf, lambda inner: st.builds(replace, leaf, inner=inner), max_leaves=4)


@given(value=smalls(), indent=st.sampled_from([None, 2]))
def test_what_is_written_is_read_back(value: Small, indent: int | None) -> None:
    assert from_json(Small, to_json(value, indent=indent)) == value


@given(value=smalls(), indent=st.sampled_from([None, 2]))
def test_both_write_the_same(value: Small, indent: int | None) -> None:
    written = TypeAdapter(Small).dump_json(replace(value, seconds=0.5), indent=indent).decode()
    assert to_json(replace(value, seconds=0.5), indent=indent) == written + ("\n" if indent else "")


@given(smalls())
def test_plain_values_are_what_the_json_says(value: Small) -> None:
    assert plain(value) == json.loads(to_json(value))
    assert from_plain(Small, plain(value)) == value


def test_a_whole_snapshot_comes_back() -> None:
    one = component(
        "one",
        build=BuildSpec(options=("x",), environment={"A": "1"}),
        children=(Child(name="inner", source=GIT, patches=("a",)),),
        depends=(),
    )
    local = pin("local", local=True, commit_time=5)
    value = snapshot(one, component("two", depends=None), pins={"two": local})
    assert from_json(Snapshot, to_json(value)) == value
    manifest, _ = parse_manifest(SMALLEST, "x", relative_to="/")
    assert from_json(Manifest, to_json(manifest)) == manifest


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "null", "{", "{}", "\ud800"),
        *('{"name": 5}', '{"name": "x", "count": "y"}', '{"name": null}'),
        *('{"name": "x", "part": "other"}', '{"name": "x", "words": "y"}'),
        *('{"name": "x", "inner": 5}', '{"name": "x", "inner": {"count": 1}}'),
        '{"name": "x", "numbers": {"a": "b"}}',
    ],
)
def test_what_is_not_of_that_form_is_trouble(text: str) -> None:
    with pytest.raises(Trouble, match=r"f\.json: not a Small: ") as error:
        from_json(Small, text, where="f.json")
    assert error.value.hint == HINT


def test_it_says_where_in_the_file() -> None:
    with pytest.raises(Trouble, match=r"inner\.numbers\.a"):
        from_json(Small, '{"name": "x", "inner": {"name": "y", "numbers": {"a": []}}}')


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["name", "count", "inner", "words"]), inner)
    ),
    max_leaves=8,
)


@given(ANYTHING)
def test_any_json_is_a_record_or_trouble_for_both(value: Any) -> None:
    try:
        other: Small | None = TypeAdapter(Small).validate_json(json.dumps(value))
    except ValidationError:
        other = None
    with contextlib.suppress(Trouble):  # we take nothing for what it is not, such as true for 1
        assert from_json(Small, json.dumps(value)) == other


@pytest.mark.parametrize("kind", [Manifest, Snapshot, Pin, BasePin, Artifact, Assignment, Source])
def test_the_reader_knows_the_types_of_our_records(kind: type[Any]) -> None:
    with pytest.raises(Trouble, match="is missing"):
        from_plain(kind, {})


def test_keys_of_a_newer_version_are_passed_over() -> None:
    assert from_json(Small, '{"name": "x", "newer": 1}') == Small(name="x")


def test_a_snapshot_has_one_digest_whatever_people_wrote_beside_it() -> None:
    one = component("one")
    value = snapshot(one)
    same = snapshot(
        replace(one, line=9, reasons={"tag-reason": "x"}, irc_room="#x"),
        pins={"one": replace(value.pins["one"], describe="v1", subject="s", commit_time=7)},
    )
    assert value.digest == same.digest
    assert value.digest != snapshot(replace(one, epoch=1)).digest
    assert value.digest != snapshot(one, pins={"one": pin("other")}).digest


def test_canonical_json_is_written_in_one_way() -> None:
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"\\u00e9","b":1}'
