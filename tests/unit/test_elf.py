# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a program links is read from its file; a damaged file is told from a program."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.words import elf

LS = Path("/bin/ls")


def test_a_dynamic_program_names_its_interpreter_and_its_libraries() -> None:
    links = elf.read_links(LS.read_bytes())
    assert links.interpreter == "/lib64/ld-linux-x86-64.so.2"
    assert "libc.so.6" in links.needed


def test_a_static_program_needs_nothing() -> None:
    links = elf.read_links(Path("/bin/busybox").read_bytes())
    assert links == elf.Links(interpreter="", needed=())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a 64-bit little-endian ELF file"),
        (b"#!/bin/sh\n", "not a 64-bit little-endian ELF file"),
        (b"\x7fELF\x01\x01" + bytes(100), "not a 64-bit little-endian ELF file"),
        (b"\x7fELF\x02\x01", "damaged ELF file"),
    ],
)
def test_what_is_no_such_file_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        elf.read_links(data)


@given(some.integers(0, 4096), some.binary(min_size=1, max_size=64))
def test_damage_is_a_value_error_and_never_another(place: int, garbage: bytes) -> None:
    data = bytearray(LS.read_bytes())
    data[place : place + len(garbage)] = garbage
    try:
        elf.read_links(bytes(data))
    except ValueError:
        return


@given(some.integers(0, 4096))
def test_a_file_that_ends_early_is_a_value_error_and_never_another(length: int) -> None:
    try:
        elf.read_links(LS.read_bytes()[:length])
    except ValueError:
        return
