# SPDX-License-Identifier: LGPL-2.1-or-later
"""Figures that a guest tells are read, and nonsense is its failure."""

import pytest

from vmtests.following import GuestFailed
from vmtests.measured import memory_in_use, slowest


def test_memory_in_use_is_what_programs_cannot_have() -> None:
    text = "MemTotal:    1000 kB\nMemFree:   100 kB\nMemAvailable:   600 kB\n"
    assert memory_in_use(text) == 400 * 1024


def test_nonsense_instead_of_memory_is_the_guests_failure() -> None:
    with pytest.raises(GuestFailed, match="does not tell MemTotal"):
        memory_in_use("MemTotal: lots\n")


def test_the_slowest_units_are_told_in_seconds() -> None:
    text = "1min 2.5s slow.service\n   840ms quick.service\nnonsense\n 2.000s dev-a.device\n"
    text += "9.9s \x1b[2Jred.service\n"
    assert slowest(text) == {"slow.service": 62.5, "quick.service": 0.84, "dev-a.device": 2.0}


def test_no_more_units_are_kept_than_a_page_shows() -> None:
    assert len(slowest("".join(f"1s unit-{n}.service\n" for n in range(1000)))) == 10
