# SPDX-License-Identifier: LGPL-2.1-or-later
"""Directories beside those of other users: gone at the end, and after a kill with the next."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.ports.files import remove_tree, shared_place

HOLD = """
import sys, time
from pathlib import Path
from pipeline.ports.files import shared_place
with shared_place(Path(sys.argv[1]), "it-") as place:
    print(place, flush=True)
    time.sleep(60)
"""


def test_others_may_pass_through_and_see_nothing(tmp_path: Path) -> None:
    with shared_place(tmp_path, "it-") as place:
        assert place.stat().st_mode & 0o777 == 0o711
        (place / "file").touch()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", HOLD, str(tmp_path)]
    places = []
    with (
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as killed,
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as living,
    ):
        try:
            for one in (killed, living):
                assert one.stdout is not None
                places.append(Path(one.stdout.readline().strip()))
            os.kill(killed.pid, signal.SIGKILL)
            killed.wait()
            assert places[0].is_dir()
            with shared_place(tmp_path, "it-") as place:
                assert set(tmp_path.iterdir()) == {places[1], place}
        finally:
            living.kill()


def test_a_directory_that_is_being_made_or_of_another_prefix_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "it-young").mkdir()
    (tmp_path / "that").mkdir()
    (tmp_path / "it-link").symlink_to("that")
    with shared_place(tmp_path, "it-"):
        assert {"it-young", "that", "it-link"} <= {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "that").is_dir()


def test_what_was_killed_while_it_was_made_or_removed_goes_when_it_is_old(tmp_path: Path) -> None:
    names = ("it-empty", "it-half", ".new-it-made", ".new-it-locked", ".new-that")
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / "it-half" / "socket").touch()
    (tmp_path / ".new-it-locked" / "alive").touch()
    with shared_place(tmp_path, "it-") as place:
        assert {path.name for path in tmp_path.iterdir()} == {*names, place.name}
    for name in names:
        os.utime(tmp_path / name, (1, 1))
    with shared_place(tmp_path, "it-") as place:
        assert {path.name for path in tmp_path.iterdir()} == {".new-that", place.name}


def test_a_file_that_comes_while_a_directory_is_removed_changes_nothing_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    inside = outside / "inside"
    inside.mkdir(parents=True)
    outside.chmod(0o755)
    rmdir = os.rmdir

    def late(path: str, **given: int) -> None:
        monkeypatch.undo()
        (inside / "late").touch()
        rmdir(path, **given)

    monkeypatch.setattr(os, "rmdir", late)
    remove_tree(inside)
    assert not inside.exists()
    assert outside.stat().st_mode & 0o777 == 0o755
