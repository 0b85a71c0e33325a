# SPDX-License-Identifier: LGPL-2.1-or-later
"""The file that has a guest's memory, which QEMU may change while it is read."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ports import dumps
from pipeline.ports.dumps import FileMemory
from pipeline.words import printk

_SMALL = 64


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[int]:
    found = os.open(tmp_path / "memory", os.O_RDWR | os.O_CREAT)
    yield found
    os.close(found)


def test_it_is_found_wherever_the_pieces_end(handle: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps, "_PIECE", _SMALL)
    for at in range(4 * _SMALL):
        data = bytes(at) + b"needle" + bytes(_SMALL)
        os.ftruncate(handle, 0)
        os.pwrite(handle, data, 0)
        memory = FileMemory(handle)
        assert memory.find(b"needle") == memory.find(b"needle", at) == at
        assert memory.find(b"needle", at + 1) == -1
        assert (len(memory), memory[at : at + 6]) == (len(data), b"needle")


def test_what_is_cut_off_while_it_is_read_is_not_there(handle: int) -> None:
    os.pwrite(handle, bytes(8) + b"Linux version 6" + bytes(1024**2), 0)
    memory = FileMemory(handle)
    os.ftruncate(handle, 4)
    assert (memory.find(b"Linux"), memory[2:8], memory[512:520]) == (-1, b"\0\0", b"")
    assert printk.messages(memory) == ()
