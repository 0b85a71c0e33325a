# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shelf of checkpoints, without machines: what it keeps, what is damaged to it, what goes."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ports import checkpoint
from pipeline.ports.checkpoint import Shelf
from pipeline.ports.log import ListSink, Log
from pipeline.ports.migration import Damaged

MIB = 1024**2


@pytest.fixture
def shelf(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """A shelf whose memory lies below a directory of the test."""
    for name in ("_SHM", "_ELSEWHERE"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(checkpoint, name, tmp_path / name)
    yield Shelf(tmp_path / "shelf", log=log, most=2, oldest_s=1000.0)


def put(shelf: Shelf, key: str) -> Path:
    """Put a checkpoint there; tells where its memory is."""
    with shelf.making_with(4 * MIB, user=None) as making:
        parts = making.parts
        parts.state.write_bytes(b"devices" * 1000)
        parts.disk.write_bytes(b"disk" * 1000)
        parts.seen.write_bytes(b"seen")
        assert making.ram is not None
        with making.ram.open("wb") as file:
            file.truncate(4 * MIB)
            file.seek(2 * MIB)
            file.write(b"pages" * 1000)
        making.keep(key)
        return making.ram


def test_what_was_put_there_is_found_and_only_under_its_key(shelf: Shelf) -> None:
    ram = put(shelf, "one")
    with shelf.use("one") as found:
        assert found is not None
        assert found.ram == ram
        assert found.disk.read_bytes() == b"disk" * 1000
        found.check_memory()
    with shelf.use("another") as found:
        assert found is None
    assert ram.parent.stat().st_mode & 0o777 == 0o711
    assert ram.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("part", ["state", "seen", "disk.qcow2", "record.json", "ram"])
@pytest.mark.parametrize("how", ["shorter", "gone", "other"])
def test_a_damaged_one_is_told_and_is_none(
    shelf: Shelf, sink: ListSink, part: str, how: str
) -> None:
    ram = put(shelf, "one")
    path = ram if part == "ram" else shelf.directory / "one" / part
    if how == "gone":
        path.unlink()
    elif how == "shorter":
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.write_bytes(b"{" * path.stat().st_size)
    with shelf.use("one") as found:
        if how == "other" and part in ("ram", "disk.qcow2"):
            # As large as it was: all of the memory is read beside the first machine, and the
            # disk's file system is the guest's to check.
            assert found is not None
            if part == "ram":
                with pytest.raises(Damaged, match="its memory is not what was saved"):
                    found.check_memory()
            return
        assert found is None
    assert any("a checkpoint is damaged and is not used" in line for line in sink.texts())
    assert not (shelf.directory / "one").exists()


def test_one_that_is_used_is_not_removed(shelf: Shelf) -> None:
    ram = put(shelf, "one")
    with shelf.use("one") as found:
        assert found is not None
        assert not shelf.remove("one")
        assert found.state.exists()
    assert shelf.remove("one")
    assert not ram.exists()


def test_the_one_used_longest_ago_goes_first_and_old_ones_go(shelf: Shelf) -> None:
    put(shelf, "one")
    put(shelf, "two")
    os.utime(shelf.directory / "one", (1, 1))
    with shelf.use("one"):
        pass
    os.utime(shelf.directory / "two", (2, 2))
    assert shelf.old() == ["two"]
    put(shelf, "three")
    put(shelf, "four")
    assert shelf.names() == ["four", "three"]


def test_what_is_not_kept_leaves_nothing(shelf: Shelf, tmp_path: Path) -> None:
    with shelf.making_with(MIB, user=None):
        pass
    assert [*(tmp_path / "_ELSEWHERE").iterdir(), *(tmp_path / "_SHM").iterdir()] == []
    assert [path for path in shelf.directory.iterdir() if path.is_dir()] == []


def test_memory_whose_checkpoint_is_gone_goes(shelf: Shelf) -> None:
    kept, lost = put(shelf, "one"), put(shelf, "two")
    (shelf.directory / "two").rename(shelf.directory.with_name("elsewhere"))
    checkpoint.reap()
    assert kept.exists()
    assert not lost.exists()


def test_memory_of_a_checkpoint_of_another_version_stays(shelf: Shelf) -> None:
    kept = put(shelf, "one")
    path = shelf.directory / "one" / "record.json"
    path.write_text(json.dumps({"version": 999, "a": "new field", "ram": str(kept)}))
    checkpoint.reap()
    assert kept.exists()


def test_memory_that_is_being_filled_stays(shelf: Shelf) -> None:
    with shelf.making_with(MIB, user=None) as making:
        checkpoint.reap()
        assert making.ram is not None
        assert making.ram.exists()


def test_of_two_that_make_the_same_the_first_counts(shelf: Shelf) -> None:
    first, second = put(shelf, "one"), put(shelf, "one")
    assert first.exists()
    assert not second.exists()
    with shelf.use("one") as found:
        assert found is not None
        assert found.ram == first
