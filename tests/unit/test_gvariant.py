# SPDX-License-Identifier: LGPL-2.1-or-later
"""GVariant data is read back as it was written, and rubbish is refused, not guessed at."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.words.gvariant import decode, swapped
from pipeline.words.gvariant_write import encode, members

# From the examples of the GVariant Specification 1.0, section 2.5, little-endian where it says so.
EXAMPLES: list[tuple[str, Any, bytes]] = [
    ("s", "hello world", b"hello world\0"),
    ("as", ["i", "can", "has", "strings?"], b"i\0can\0has\0strings?\0\x02\x06\x0a\x13"),
    ("(si)", ("foo", -1), b"foo\0\xff\xff\xff\xff\x04"),
    (
        "a(si)",
        [("hi", -2), ("bye", -1)],
        b"hi\0\0\xfe\xff\xff\xff\x03\0\0\0bye\0\xff\xff\xff\xff\x04\x09\x15",
    ),
    ("ay", b"\x04\x05\x06\x07", b"\x04\x05\x06\x07"),
    ("ai", [4, 258], b"\x04\0\0\0\x02\x01\0\0"),
    ("{si}", ("a key", 514), b"a key\0\0\0\x02\x02\0\0\x06"),
    ("v", ("s", "x"), b"x\0\0s"),
]


@pytest.mark.parametrize(("kind", "value", "data"), EXAMPLES)
def test_the_examples_of_the_specification(kind: str, value: Any, data: bytes) -> None:
    assert encode(kind, value) == data
    assert decode(kind, data) == (value[1] if kind == "v" else value)


def values(kind: str) -> st.SearchStrategy[Any]:
    plain = {
        "y": st.integers(0, 255),
        "u": st.integers(0, 2**32 - 1),
        "t": st.integers(0, 2**64 - 1),
        "i": st.integers(-(2**31), 2**31 - 1),
        "b": st.integers(0, 1),
        "s": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        "ay": st.binary(max_size=300),
    }
    if kind in plain:
        return plain[kind]
    if kind.startswith("a{s"):
        return st.dictionaries(plain["s"], values(kind[3:-1]), max_size=5)
    if kind.startswith("a"):
        return st.lists(values(kind[1:]), max_size=6)
    return st.tuples(*(values(one) for one in inner_kinds(kind)))


def inner_kinds(kind: str) -> list[str]:
    return members(kind[1:-1])


KINDS = ["s", "as", "ay", "aay", "ai", "at", "(yu)", "(sus)", "(s(ys)at)", "a(sayay)", "a(uy)"]
KINDS += ["a{su}", "a{sas}", "(a{s(ys)}aya(say)sstayay)", "((yy)y)", "aas"]


@given(st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), values(kind))))
def test_what_is_written_is_read_back(given_one: tuple[str, Any]) -> None:
    kind, value = given_one
    assert decode(kind, encode(kind, value)) == value


def test_offsets_grow_with_the_data() -> None:
    for size in (10, 250, 260, 65_000, 66_000):
        value = ["x" * size, "y"]
        assert decode("as", encode("as", value)) == value


def test_variants_are_read_by_the_type_they_carry() -> None:
    data = encode("a{sv}", {"a": ("u", 5), "b": ("as", ["x", ""]), "c": ("v", ("s", "in"))})
    assert decode("a{sv}", data) == {"a": 5, "b": ["x", ""], "c": "in"}


@pytest.mark.parametrize(
    ("kind", "data"),
    [("v", b"abc"), ("v", b"x\0"), ("v", b"x\0\0("), ("s", b"\xff\0"), ("(", b""), ("(s", b"x\0")],
)
def test_rubbish_is_refused(kind: str, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a GVariant|subsection not found|codec"):
        decode(kind, data)


@given(st.sampled_from([*KINDS, "v", "a{sv}", "(a{sv}aya(say)sstayay)"]), st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(kind: str, data: bytes) -> None:
    with suppress(ValueError):  # the one way to be refused
        decode(kind, data)


@given(st.integers(0, 2**64 - 1))
def test_swapping_twice_is_nothing(value: int) -> None:
    assert swapped(swapped(value, 8), 8) == value
    assert swapped(1, 8) == 1 << 56
