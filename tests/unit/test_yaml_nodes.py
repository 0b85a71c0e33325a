# SPDX-License-Identifier: LGPL-2.1-or-later
"""YAML to values with places: what words mean, what is refused, and that JSON is read the same."""

import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.words.errors import BadInput
from pipeline.words.yaml_nodes import MAX_DEPTH, MAX_TEXT, read_nodes


def json_values(without: str = "\x7f\x85") -> st.SearchStrategy[Any]:
    """Make what JSON can hold, with texts that lack some letters."""
    letters = st.characters(exclude_categories=["Cs"], exclude_characters=without)
    plain = st.none() | st.booleans() | st.integers(-(10**18) + 1, 10**18 - 1) | st.text(letters)
    return st.recursive(
        plain,
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text("abc\né", max_size=4), inner)
        ),
        max_leaves=20,
    )


def value(text: str) -> Any:
    return read_nodes(text, "f").root.plain()


def refusal(text: str) -> str:
    with pytest.raises(BadInput, match=r"f:\d+:\d+: ") as error:
        read_nodes(text, "f")
    assert len(error.value.problems) == 1
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("22:30", "22:30"),
        ("2024-01-02", "2024-01-02"),
        ("0755", 755),
        ("0o755", 0o755),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("-12", -12),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("'true'", "true"),
        ('"5"', "5"),
        ("!!str 5", "5"),
        ("! 5", "5"),
        ("=", "="),
        ("<<: {a: b}", {"<<": {"a": "b"}}),
        ("1234567890" * 8, "1234567890" * 8),
        ("1.3", 1.3),
        ("1.3.0", "1.3.0"),
    ],
)
def test_plain_words_mean_what_yaml_1_2_says(text: str, meant: Any) -> None:
    assert value(text) == meant
    assert type(value(text)) is type(meant)


@pytest.mark.parametrize(
    "text", [r'"\ud83d\ude00"', r'{"a": "\\\ud83d\ude00"}', r'["\\ud83d\\ude00"]']
)
def test_json_may_write_surrogates(text: str) -> None:
    assert value(text) == json.loads(text)


def test_keys_are_what_is_written() -> None:
    assert value("on: 1\n5: 2\n'a b': 3\n~: 4\n") == {"on": 1, "5": 2, "a b": 3, "~": 4}


@given(json_values())
def test_json_is_read_as_json_reads_it(given_value: Any) -> None:
    text = json.dumps(given_value)
    assert value(text) == given_value
    assert value(json.dumps(given_value, indent=2)) == given_value


@given(json_values("\x7f\x850123456789"))
def test_what_is_written_as_yaml_is_read_back(given_value: Any) -> None:
    # By a program that follows YAML 1.1: it quotes more than is needed, but for a few numbers.
    assert value(yaml.safe_dump(given_value)) == given_value


def test_every_value_knows_its_place() -> None:
    document = read_nodes("a:\n  - x\n  - {b: y, c: z}\n", "dir/f:1")
    assert document.place(()) == "dir/f:1:1:1"
    assert document.place(("a", 0)) == "dir/f:1:2:5"
    assert document.place(("a", 1, "c")) == "dir/f:1:3:15"
    assert document.place(("a", 1, "c"), key=True) == "dir/f:1:3:12"
    assert document.line(("a", 1, "c")) == 3


def test_what_is_not_there_has_the_place_of_what_it_would_be_in() -> None:
    document = read_nodes("a:\n  - {b: y}\n", "f")
    assert document.place(("a", 0, "nothing", "more")) == "f:2:5"
    assert document.place(("a", 7)) == "f:2:3"
    assert document.place(("a", 0, "nothing"), key=True) == "f:2:5"


def test_duplicate_keys_are_told_and_the_first_counts() -> None:
    document = read_nodes("a: 1\nb: {c: 1, c: 2, 'c': 3}\na: 2\n", "f")
    assert [str(problem) for problem in document.problems] == [
        "f:2:11: duplicate key 'c', it was given on line 2 already",
        "f:2:17: duplicate key 'c', it was given on line 2 already",
        "f:3:1: duplicate key 'a', it was given on line 1 already",
    ]
    assert document.root.plain() == {"a": 1, "b": {"c": 1}}


def test_an_alias_is_the_same_value_again() -> None:
    assert value("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "f:1:1: the file is empty"),
        ("# only\n", "f:1:1: the file is empty"),
        ("a: 1\n---\nb: 2\n", "f:2:1: a second document begins; one file holds one"),
        ("a: *x", "f:1:4: there is no anchor &x before this alias"),
        ("&x [*x]", "f:1:5: *x stands within &x itself"),
        ("? [a]\n: b", "f:1:3: a key must be a word"),
        ("a: !!python/name:os.system ''", "f:1:4: the tag tag:yaml.org,2002:python/name:os.system"),
        ("!!set {a}", "f:1:1: the tag tag:yaml.org,2002:set means nothing here"),
        ("a: !!int '5'", "f:1:4: the tag tag:yaml.org,2002:int means nothing here"),
        ("a: \x01", "f:1:4: character U+0001 cannot stand in YAML"),
        ("a: b\nc: \ud800", "f:2:4: character U+D800 cannot stand in YAML"),
        ("a: [b", "f:2:1: not YAML: while parsing a flow sequence"),
        ("a: b: c", "f:1:5: not YAML: "),
        ("\tx: 1\n y: 2", "f:1:1: not YAML: "),
        ("[" * (MAX_DEPTH + 2), f"f:1:{MAX_DEPTH + 2}: nested deeper than {MAX_DEPTH}"),
        ("x" * (MAX_TEXT + 1), f"f:1:1: {MAX_TEXT + 1} characters are too many"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, said: str) -> None:
    assert refusal(text).startswith(said)


def test_aliases_that_grow_are_stopped_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for n in range(1, 12):
        lines.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]")
    begun = time.monotonic()
    assert "more than 200000 values, with aliases written out" in refusal("\n".join(lines))
    assert time.monotonic() - begun < 60


def test_aliases_that_nest_are_stopped() -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, MAX_DEPTH + 2))]
    assert f"nested deeper than {MAX_DEPTH}" in refusal("\n".join(lines))


def test_a_byte_order_mark_is_passed_over() -> None:
    assert value("\ufeffa: 1") == {"a": 1}
