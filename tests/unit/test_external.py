# SPDX-License-Identifier: LGPL-2.1-or-later
"""Headers of external tests: what they say, and that what is wrong is told with its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.words.external import (
    KEYS,
    LARGEST,
    MOST_FILES,
    ExternalTest,
    SourceFile,
    parse_external,
    read_externals,
    wanted,
)


def parsed(text: str | bytes, name: str = "one") -> ExternalTest:
    data = text.encode() if isinstance(text, str) else text
    return parse_external("zlib", SourceFile(name=name, data=data, is_program=True))


def test_a_header_says_what_a_test_wants() -> None:
    found = parsed(
        "#!/bin/sh\n# Copyright somebody\n## ostci:\n##   timeout: 60\n##   needs: curl, jq\n"
        "##   needs-packages: libfoo1\n##   targets: runtime devel\n##   tags: slow\n"
        "##   reboots: 2\n##   output: tap\n##   expected-to-fail: https://bugs/1 loses its way\n"
        "exit 0\n"
    )
    assert found == ExternalTest(
        name="zlib/one",
        component="zlib",
        file="one",
        timeout_s=60,
        needs=("curl", "jq"),
        packages=("libfoo1",),
        targets=("runtime", "devel"),
        tags=("slow",),
        reboots=2,
        is_tap=True,
        expected_to_fail="https://bugs/1 loses its way",
    )


@pytest.mark.parametrize("text", ["", "#!/bin/sh\ntrue\n", "\x7fELF\0\0", "## other:\n##   a: b\n"])
def test_without_a_header_all_is_as_usual(text: str) -> None:
    assert parsed(text) == ExternalTest(name="zlib/one", component="zlib", file="one")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("##   timeout: soon", "line 3: timeout: 'soon' is no number from 1 to 3600"),
        ("##   timeout: 99999", "line 3: timeout: '99999' is no number from 1 to 3600"),
        ("##   reboots: -1", "line 3: reboots: '-1' is no number from 0 to 10"),
        ("##   tags: a\n##   timeuot: 1", "line 4: unknown key timeuot, did you mean 'timeout'?"),
        ("##   tags: a\n##   tags: b", "line 4: tags stands in line 3 already"),
        ("##   needs:", "line 3: needs has no value"),
        ("##   needs: $(reboot)", "line 3: '$(reboot)' cannot stand in needs"),
        ("##   needs: --force", "line 3: '--force' cannot stand in needs"),
        ("##   output: xml", "line 3: output: 'xml' is neither tap nor exit-code"),
        ("##   what is this", "line 3: not KEY: WORDS: 'what is this'"),
        ("##   tags: a\n## ostci:", "line 4: a second header"),
        (b"##   tags: \xff", "line 3: not UTF-8"),
    ],
)
def test_what_is_wrong_with_a_header_is_told_with_its_line(
    lines: str | bytes, problem: str
) -> None:
    more = lines.encode() if isinstance(lines, str) else lines
    assert parsed(b"#!/bin/sh\n## ostci:\n" + more + b"\nexit 0\n").problem == problem


def test_a_name_or_a_size_that_cannot_be_is_told() -> None:
    assert "is no name of a test" in parsed("", name="a b;reboot").problem
    assert parsed("", name="-x/..]").name == "zlib/-x_..__"
    assert parsed(b"\0" * (LARGEST + 1)).problem == f"larger than {LARGEST} bytes"


def test_programs_are_tests_and_the_rest_is_theirs() -> None:
    files = [
        SourceFile(name="b", data=b"#!/bin/sh\n", is_program=True),
        SourceFile(name="lib.sh", data=b"x=1\n"),
        SourceFile(name="a", data=b"#!/bin/sh\n", is_program=True),
    ]
    found = read_externals("zlib", "1" * 40, files)
    assert [one.name for one in found.tests] == ["zlib/a", "zlib/b"]
    assert [one.name for one in found.files] == ["a", "b", "lib.sh"]


def test_too_many_files_are_one_failure() -> None:
    files = [SourceFile(name=f"f{n}", data=b"", is_program=True) for n in range(MOST_FILES + 1)]
    found = read_externals("zlib", "1" * 40, files)
    assert len(found.tests) == 1 and "more than" in found.tests[0].problem
    assert found.files == ()


def test_tests_are_chosen_by_target_component_name_and_tag() -> None:
    header = "## ostci:\n##   targets: devel\n##   tags: slow\n"
    files = [
        SourceFile(name="a", data=header.encode(), is_program=True),
        SourceFile(name="b", data=b"", is_program=True),
    ]
    all_of = [read_externals("zlib", "1" * 40, files)]

    def names(target: str, only: str = "") -> list[str]:
        return [test.name for one in wanted(all_of, target=target, only=only) for test in one.tests]

    assert names("runtime") == ["zlib/b"]
    assert names("devel") == names("devel+strace") == ["zlib/a", "zlib/b"]
    assert names("devel", "zlib") == ["zlib/a", "zlib/b"]
    assert names("devel", "zlib/a") == names("devel", "@slow") == ["zlib/a"]
    assert names("devel", "zl") == []


@given(some.binary(max_size=300), some.text(max_size=30))
def test_no_file_makes_the_parser_fail(data: bytes, name: str) -> None:
    _check(parsed(b"#!/bin/sh\n## ostci:\n" + data, name))
    _check(parsed(data, name))


LINES = some.lists(
    some.tuples(
        some.sampled_from(["##   ", "## ", "##", "# ", "", "##     "]),
        some.sampled_from([*KEYS, "ostci", "nothing", ""]),
        some.sampled_from([":", ": ", " "]),
        some.sampled_from(["", "1", "tap", "a b", "a,b", "-", "\0", "é", "9" * 30, "\r"]),
    ),
    max_size=8,
)


@given(LINES)
def test_nor_do_lines_that_look_like_a_header(lines: list[tuple[str, str, str, str]]) -> None:
    _check(parsed("## ostci:\n" + "".join("".join(one) + "\n" for one in lines)))


def _check(test: ExternalTest) -> None:
    assert test.name.startswith("zlib/") and test.name.isascii() and test.name.isprintable()
    assert not set(test.name) & set("[]'\" \n")
    assert 1 <= test.timeout_s <= 3600 and 0 <= test.reboots <= 10
    assert "\n" not in test.problem and test.problem.isprintable()
