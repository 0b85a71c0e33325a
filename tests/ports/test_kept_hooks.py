# SPDX-License-Identifier: LGPL-2.1-or-later
"""What hooks said, on the disk: whole, in order, and readable after a write that was cut."""

import stat
from pathlib import Path

from pipeline.ports.kept_hooks import KeptHook, append_kept, read_kept, write_kept
from pipeline.words.named import Named
from pipeline.words.request import Told


def hook(number: int) -> KeptHook:
    before, after = (f"{one:040x}" for one in (number, number + 1))
    return KeptHook(place="git.example/zlib", named=Named(branch="m", before=before, after=after))


def test_what_is_appended_is_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "hooks"
    assert read_kept(path) == ()
    told = KeptHook(
        place="p", told=Told(ref="refs/pull/1/head", is_open=True, is_member=False, when=2.5)
    )
    append_kept(path, [hook(1), told])
    append_kept(path, [hook(2)])
    assert read_kept(path) == (hook(1), told, hook(2))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    write_kept(path, [hook(2), KeptHook(place="p")])
    assert read_kept(path) == (hook(2), KeptHook(place="p"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_that_was_cut_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "hooks"
    append_kept(path, [hook(1), hook(2)])
    path.write_bytes(path.read_bytes()[:-9])
    append_kept(path, [hook(3)])
    assert read_kept(path) == (hook(1), hook(3))
    path.write_bytes(b"\xff\0 nonsense\n[]\n7\n" + path.read_bytes())
    assert read_kept(path) == (hook(1), hook(3))
