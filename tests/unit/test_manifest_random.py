# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whatever stands in a manifest, it is a manifest, or bad input with places; nothing else."""

import json
import re
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.words import manifest_schema
from pipeline.words.errors import BadInput
from pipeline.words.manifest import Manifest
from pipeline.words.manifest_schema import ManifestKeys, keys_at, names_of
from pipeline.words.manifest_text import parse_manifest
from pipeline.words.records import from_json, to_json
from pipeline.words.records import from_json as quick_from_json
from tests.manifests import SMALLEST

PLACE = re.compile(r"m:[1-9][0-9]*:[1-9][0-9]*")
WORDS = st.one_of(
    st.sampled_from(["all", "runtime", "devel", "zlib", "@zlib", "-zlib", "x86_64", "exact"]),
    st.sampled_from(["git:https://example.org/zlib.git", "local:x", "debian:zlib", "tarball:x"]),
    st.sampled_from(
        ["5", "4G", "90s", "yes", "true", "/usr/bin/su", "../x", "--x", "a*b", "ext::x"]
    ),
)
SCALARS = st.none() | st.booleans() | st.integers(-9, 9**20) | st.floats() | WORDS | st.text()


def values(kind: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Make values that have some of the right keys, and are wrong here and there."""
    if not (isinstance(kind, type) and kind is not object and hasattr(kind, "model_fields")):
        return st.recursive(
            SCALARS,
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=3)
            ),
            max_leaves=5,
        )
    keys = {
        name: st.deferred(lambda name=name: inside(kind, name, depth))  # type: ignore[misc]
        for name in names_of(kind)
    }
    return st.fixed_dictionaries({}, optional=keys)


def inside(kind: Any, name: str, depth: int) -> st.SearchStrategy[Any]:
    field = next(one for one in kind.model_fields.values() if one.alias == name)
    loose = values(object)
    if depth > 3:
        return loose
    text = str(field.annotation)
    inner = re.search(r"(\w+Keys)", text)
    if inner is None:
        return loose
    model = getattr(manifest_schema, inner[1])
    if text.startswith("list"):
        return st.lists(values(model, depth + 1), max_size=3) | loose
    if text.startswith("dict"):
        return st.dictionaries(WORDS, values(model, depth + 1), max_size=3) | loose
    return values(model, depth + 1) | loose


def is_told(text: str) -> Manifest | None:
    try:
        manifest, warnings = parse_manifest(text, "m", relative_to="/m")
    except BadInput as error:
        assert error.problems
        assert all(PLACE.fullmatch(problem.place) for problem in error.problems)
        assert all(problem.message for problem in error.problems)
        return None
    assert all(PLACE.fullmatch(warning.place) for warning in warnings)
    return manifest


@given(st.text() | st.text(alphabet="{}[]:,-&*! \n\t'\"#|>%@a1?"))
@example("&a [*a]")
@example("? [a]\n: b")
@example("a: !!python/object:os.system x")
@example("- &x [a, a]\n" + "- [*x, *x, *x]\n" * 5)
@example("%YAML 1.1\n---\na: b")
@example("\ufeffosname: a")
@example("a: \x00")
@example("[" * 1000)
@example("0o9: 1\n1e999: 2\n.inf: 3")
def test_any_text_is_a_manifest_or_bad_input(text: str) -> None:
    is_told(text)


@settings(max_examples=300, deadline=None)
@given(values(ManifestKeys), st.booleans(), st.booleans())
def test_any_value_in_the_shape_of_a_manifest_is_one_or_bad_input(
    value: dict[str, Any], whole: bool, original: bool
) -> None:
    if whole:
        value = {**yaml.safe_load(SMALLEST), **value}
    if original:
        value["00ostbuild-manifest-version"] = 0
    manifest = is_told(json.dumps(value))
    if manifest is not None:
        text = to_json(manifest)
        assert from_json(Manifest, text) == manifest
        assert quick_from_json(Manifest, text) == manifest


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_good_manifest_with_one_value_replaced_is_one_or_bad_input(data: st.DataObject) -> None:
    value = yaml.safe_load(SMALLEST)
    value["targets"] = {"runtime": {}, "devel": {"extend": "runtime", "components": ["zlib"]}}
    value["components"].append({"src": "local:x", "depends": ["zlib"], "build": {"system": "make"}})
    place: Any = value
    while True:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(list(keys)))
        if not (isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans())):
            break
        place = place[key]
    place[key] = data.draw(values(object))
    is_told(json.dumps(value))


def test_the_strategies_reach_every_mapping_of_the_schema() -> None:
    paths = [("base", "debian"), ("components", 0, "build", "limits"), ("targets", "x", "tests")]
    assert all(keys_at(path) is not None for path in paths)
