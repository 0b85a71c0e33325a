# SPDX-License-Identifier: LGPL-2.1-or-later
"""Journal lines: what a guest may send, and that nothing it sends makes us fall over."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.words.journal import Lines, format_entry, parse_entry


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (None, ""),
        ([104, 105, 255], "hi\\xff"),
        (["first", "second"], "first"),
        ([[104, 105], None], "hi"),
        ([], ""),
        (7, "7"),
        ({"odd": 1}, ""),
        ("half \ud800 a character", "half \\ud800 a character"),
    ],
)
def test_a_field_has_a_text_whatever_its_form(value: object, text: str) -> None:
    entry = parse_entry(json.dumps({"MESSAGE": value}).encode())
    assert entry is not None
    assert entry.message == text
    entry.message.encode()


def test_what_a_guest_says_commands_no_terminal() -> None:
    entry = parse_entry(json.dumps({"MESSAGE": "a\x1b]0;title\x07\tb\u009b2J\nc"}).encode())
    assert entry is not None
    assert entry.message == "a\\x1b]0;title\\x07\tb\\x9b2J\nc"


def test_a_repeated_field_keeps_all_its_values() -> None:
    entry = parse_entry(b'{"TAG": ["a", "b", null]}')
    assert entry is not None
    assert entry.fields["TAG"] == ("a", "b", "")


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b'{"MESSAGE": "cut of', b"[1]", b"null", b"{}", b"[" * 100_000, b"9" * 5000],
)
def test_what_is_no_entry_is_none(line: bytes) -> None:
    assert parse_entry(line) is None


@pytest.mark.parametrize(
    ("text", "priority"), [("3", 3), ("0", 0), ("9", 6), ("", 6), ("-1", 6), ("x", 6), ("²", 6)]
)
def test_a_priority_that_is_none_counts_as_information(text: str, priority: int) -> None:
    entry = parse_entry(json.dumps({"PRIORITY": text, "M": "x"}).encode())
    assert entry is not None
    assert entry.priority == priority


def test_an_entry_reads_as_a_line() -> None:
    fields = {
        "MESSAGE": "went away",
        "PRIORITY": "3",
        "SYSLOG_IDENTIFIER": "hello",
        "_PID": "77",
        "__MONOTONIC_TIMESTAMP": "1500000",
    }
    entry = parse_entry(json.dumps(fields).encode())
    assert entry is not None
    assert format_entry(entry) == "    1.500000 <3> hello[77]: went away"


def test_who_writes_for_the_first_process_has_its_number() -> None:
    fake = parse_entry(b'{"MESSAGE": "x", "_PID": "77", "SYSLOG_IDENTIFIER": "systemd"}')
    true = parse_entry(b'{"MESSAGE": "x", "_PID": "1", "SYSLOG_IDENTIFIER": "systemd"}')
    assert fake is not None and true is not None
    assert (fake.is_from_manager, true.is_from_manager) == (False, True)


def test_lines_come_together_from_pieces() -> None:
    lines = Lines()
    assert list(lines.feed(b"one\ntw")) == [b"one"]
    assert lines.rest() == b"tw"
    assert list(lines.feed(b"o\n\nthree")) == [b"two", b""]


def test_a_line_without_end_is_cut_and_the_next_is_whole() -> None:
    lines = Lines(longest=4)
    assert list(lines.feed(b"abcdefgh")) == []
    assert lines.rest() == b"abcd"
    assert list(lines.feed(b"ijk\nnext\n")) == [b"abcd", b"next"]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_how_a_stream_is_cut_changes_no_line(data: bytes, cuts: list[int]) -> None:
    whole = list(Lines().feed(data))
    lines, found, at = Lines(), [], 0
    for cut in [*sorted(cuts), len(data)]:
        found += list(lines.feed(data[at:cut]))
        at = max(at, cut)
    assert found == whole


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary().map(list),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["MESSAGE", "PRIORITY", "UNIT", "_PID"]) | st.text(), _JSON))
def test_no_entry_raises(fields: dict[str, object]) -> None:
    entry = parse_entry(json.dumps(fields).encode())
    if entry is not None:
        format_entry(entry).encode()
        assert 0 <= entry.priority <= 7
        assert isinstance(entry.unit + entry.message_id + entry.speaker, str)


@given(st.binary())
def test_no_garbage_raises(line: bytes) -> None:
    parse_entry(line)
