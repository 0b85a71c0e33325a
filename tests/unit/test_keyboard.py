# SPDX-License-Identifier: LGPL-2.1-or-later
"""Text becomes keys."""

import string

import pytest

from pipeline.words.keyboard import keys_of


def test_a_command_is_typed() -> None:
    assert keys_of("Ls -1|\n") == ("shift-l", "s", "spc", "minus", "1", "shift-backslash", "ret")


def test_every_printable_character_has_keys_of_its_own() -> None:
    wanted = string.digits + string.ascii_letters + string.punctuation + " \n\t"
    assert len(set(keys_of(wanted))) == len(wanted)


@pytest.mark.parametrize("char", ["ä", "\x1b", "€", "\0"])
def test_what_has_no_key_is_refused(char: str) -> None:
    with pytest.raises(ValueError, match="a US keyboard has no key for"):
        keys_of(f"a{char}")
