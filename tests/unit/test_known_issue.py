# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files of known issues: what is wrong with one is told with its place, all of it."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.ports.known_issues import folders, read_known_issues
from pipeline.words.errors import BadInput
from pipeline.words.known_issue import KnownIssue, matching
from pipeline.words.known_issue_text import KEYS, parse_known_issue

GOOD = """\
link: https://bugs.example.org/7
until: 2026-12-31
suites: [smoke, installed]
tests: "glib/*"
log: "^timer .* late"
"""


def problems(text: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        parse_known_issue(text.encode(), "k.yaml", "k")
    return [str(one) for one in caught.value.problems]


def test_a_good_one_is_read() -> None:
    assert parse_known_issue(GOOD.encode(), "k.yaml", "k") == KnownIssue(
        name="k",
        link="https://bugs.example.org/7",
        until=date(2026, 12, 31),
        suites=("smoke", "installed"),
        tests=("glib/*",),
        log="^timer .* late",
    )


def test_all_that_is_wrong_is_told_at_once_with_its_place() -> None:
    text = "link: 7\nuntil: 2026-13-01\nsuite: smoke\nlog: '(a'\njournal: '(a+)+'\ntests: []\n"
    assert problems(text) == [
        "k.yaml:1:1: needs suites, a list of names",
        "k.yaml:1:7: link wants a text, where it is worked on",
        "k.yaml:2:8: '2026-13-01' is no day, write YYYY-MM-DD",
        "k.yaml:3:1: unknown key 'suite', did you mean 'suites'?",
        "k.yaml:4:6: log is no regular expression: missing ), unterminated subpattern at "
        "position 0",
        "k.yaml:5:10: journal repeats what repeats itself, which may take for ever, "
        "write it without a group in the group",
        "k.yaml:6:8: tests wants a list of names",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a\n", "k.yaml:1:1: wants keys and values, link: https://…"),
        (GOOD.replace('log: "^timer .* late"\n', ""), "needs log or journal"),
        (GOOD + 'journal: ""\n', "journal wants a text"),
        (GOOD + 'journal: ".*"\n', "journal fits everything"),
        (GOOD + "link: again\n", "k.yaml:6:1"),
        ("a: [", "k.yaml:"),
    ],
)
def test_what_is_no_known_issue_is_told(text: str, problem: str) -> None:
    assert any(problem in one for one in problems(text))


def test_files_of_all_folders_are_read_and_their_problems_told_together(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "a", tmp_path / "b"
    for place in (ours, theirs):
        place.mkdir()
    (ours / "one.yaml").write_text(GOOD)
    (ours / "README.md").write_text("no issue")
    (theirs / "two.yml").write_text(GOOD)
    found = read_known_issues([ours, theirs, tmp_path / "none"])
    assert [one.name for one in found] == ["one", "two"]
    (ours / "bad.yaml").write_text("link: x\n")
    (theirs / "worse.yaml").write_bytes(b"\xff\n")
    with pytest.raises(BadInput) as caught:
        read_known_issues([ours, theirs])
    told = str(caught.value)
    assert f"{ours}/bad.yaml:1:1: needs until" in told
    assert f"{theirs}/worse.yaml:1:1: the text is not UTF-8" in told


def test_those_that_come_with_us_are_good() -> None:
    read_known_issues(folders(None))


@given(some.binary(max_size=200))
def test_no_bytes_make_the_parser_fail_otherwise(data: bytes) -> None:
    _parse(data)


LINES = some.lists(
    some.tuples(
        some.sampled_from([*KEYS, "nothing", "- a", "? b"]),
        some.sampled_from(
            ["x", "[a, b]", "{}", "2026-01-01", "''", "'('", "!!int 7", "&a [*a]", "null", "7", "["]
        ),
    ),
    max_size=8,
)


@given(LINES)
def test_nor_do_lines_that_look_like_it(lines: list[tuple[str, str]]) -> None:
    _parse("".join(f"{key}: {value}\n" for key, value in lines).encode())


def _parse(data: bytes) -> None:
    try:
        found = parse_known_issue(data, "k.yaml", "k")
    except BadInput as error:
        assert error.problems or error.what
        for problem in error.problems:
            place, line, column = problem.place.rsplit(":", 2)
            assert place == "k.yaml" and int(line) > 0 and int(column) > 0
    else:
        assert found.link and found.suites and (found.log or found.journal)
        matching([found], "smoke", "a", "some log", "some journal")
