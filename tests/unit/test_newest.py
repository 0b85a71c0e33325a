# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the nightly job tells of versions."""

from tests.newest import differences, pins


def test_what_is_of_another_version_is_named() -> None:
    lock = "a==1 \\\n    --hash=sha256:0\nZope_Interface==4.1 \\\n"
    frozen = "a==2\nzope.interface==4.1\nnew==3\n"
    assert differences(pins(lock), pins(frozen)) == ["a: 1 -> 2", "new: - -> 3"]
