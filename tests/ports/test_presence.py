# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who is in a place is known by locks, so that a killed process is told from one that works."""

import subprocess
import sys
from pathlib import Path

from pipeline.ports.presence import look, present

_STAY = """
import sys
from pathlib import Path
from pipeline.ports.presence import present
with present(Path(sys.argv[1]), "staying") as own:
    (own / "file").touch()
    print(own.name, flush=True)
    sys.stdin.read()
"""


def stay(place: Path) -> "tuple[subprocess.Popen[str], Path]":
    """Start a process that is in a place until its input ends."""
    argv = [sys.executable, "-c", _STAY, str(place)]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    return child, place / child.stdout.readline().strip()


def test_others_are_named_and_ones_own_directory_goes_at_the_end(tmp_path: Path) -> None:
    child, theirs = stay(tmp_path)
    with present(tmp_path, "looking") as own:
        found = look(tmp_path, but=own)
        assert len(found.here) == 1 and not found.killed
        assert found.here[0].startswith(f"process {child.pid} (staying, since ")
    assert not own.exists() and (theirs / "file").exists()
    child.communicate("")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_found_while_others_go_on(tmp_path: Path) -> None:
    (first, left), (second, _) = stay(tmp_path), stay(tmp_path)
    first.kill()
    first.communicate()
    found = look(tmp_path)
    assert found.killed == (left,) and len(found.here) == 1
    second.communicate("")
