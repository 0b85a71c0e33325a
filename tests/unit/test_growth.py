# SPDX-License-Identifier: LGPL-2.1-or-later
"""What grew is told with both figures, and what differs by chance is not."""

import pytest

from pipeline.words.growth import grown, in_order

MIB = 1024**2
BEFORE = {
    "speed": 1.0,
    "boot_s": 10.0,
    "memory_bytes": 100.0 * MIB,
    "files": 1000.0,
    "unit:a.service": 1.0,
}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("memory_bytes", 120.0 * MIB, "memory_bytes grew from 100.0 MiB to 120.0 MiB since x"),
        ("boot_s", 16.0, "boot_s grew from 10.0 s to 16.0 s since x"),
        ("files", 1200.0, "files grew from 1000 to 1200 since x"),
        ("unit:a.service", 4.0, "unit:a.service grew from 1.0 s to 4.0 s since x"),
    ],
)
def test_what_grew_beyond_its_bound_is_told(name: str, value: float, words: str) -> None:
    assert grown({**BEFORE, name: value}, BEFORE, since="since x") == (words,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory_bytes", 109.0 * MIB),
        ("memory_bytes", 1.0 * MIB),
        ("boot_s", 14.0),
        ("files", 1090.0),
        ("unit:a.service", 2.9),
        ("unit:new.service", 99.0),
        ("settle_s", 99.0),
    ],
)
def test_what_grew_little_shrank_or_is_new_is_not_told(name: str, value: float) -> None:
    assert grown({**BEFORE, name: value}, BEFORE, since="since x") == ()


def test_times_are_compared_by_the_speed_of_the_host() -> None:
    slow = {**BEFORE, "speed": 10.0, "boot_s": 100.0, "unit:a.service": 10.0}
    assert grown(slow, BEFORE, since="since x") == ()


def test_units_come_last_the_slowest_first() -> None:
    numbers = {"unit:a": 1.0, "unit:b": 2.0, "speed": 1.0, "boot_s": 9.0, "unit:\x1b[2J": 5.0}
    assert in_order(numbers) == ("boot_s", "unit:b", "unit:a")
