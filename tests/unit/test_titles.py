# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the log calls a script that a test runs in its guest."""

import pytest

from vmtests.commands import title_of


@pytest.mark.parametrize(
    ("script", "title"),
    [
        ("uname -r", "$ uname -r"),
        ("\nset -e\n  mkdir -p /a\necho b >/a/b\n", "$ mkdir -p /a"),
        ("\n# make the next tree\nset -e\nmkdir /a\n", "make the next tree"),
        ("#!/bin/sh\nset -eu\nexit 0\n", "$ exit 0"),
        ("", "an empty script"),
    ],
)
def test_it_is_what_the_script_does_or_says_of_itself(script: str, title: str) -> None:
    assert title_of(script) == title
