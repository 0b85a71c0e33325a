# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which kept machine a person means."""

import pytest

from pipeline.words.kept import KeptMachine, slug

KEPT = KeptMachine(
    run="20261128.0", tree="x86_64-runtime", suite="installed", test="glib/spawn.test", since=0.0
)


@pytest.mark.parametrize(
    ("path", "suite", "meant"),
    [
        ("", "", True),
        ("x86_64-runtime", "", True),
        ("x86_64-devel", "", False),
        ("", "installed", True),
        ("", "installed/glib", True),
        ("", "installed/glib/spawn.test", True),
        ("", "installed/glib/spawn", False),
        ("", "install", False),
        ("20261128.0", "", True),
        ("20261128.0/installed/glib/spawn.test", "", True),
        ("20261128.0/x86_64-runtime/installed/glib", "", True),
        ("20261128.0/x86_64-devel/installed/glib", "", False),
        ("20261128.1/installed/glib/spawn.test", "", False),
        ("x86_64-runtime/installed", "", True),
        ("installed/glib", "", True),
        ("smoke", "", False),
    ],
)
def test_a_machine_is_meant_by_tree_suite_folder_or_test(
    path: str, suite: str, meant: bool
) -> None:
    assert KEPT.is_meant(path, suite) is meant


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a b", "x" * 300, "ä", "-x"])
def test_any_name_becomes_a_file_name_of_its_own(name: str) -> None:
    found = slug(name)
    assert found not in ("", ".", "..")
    assert "/" not in found
    assert len(found.encode()) <= 255
    assert slug("a/b") != slug("a-b")
