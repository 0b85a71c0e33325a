# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk that an ordinary user makes is the one that root makes, owner by owner."""

import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.stages.disk import make_disk
from pipeline.words.refs import Commit
from tests.changing import KERNEL, request_of
from tests.disk_listing import differences, listing
from tests.ordinary import FIRST_ID, Ordinary, copy_for, ordinary_user

CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
"""cap_net_bind_service=ep, as capabilities(7) lays out version 2."""
OWNERS = {"usr/share/www": (33, 33), "usr/share/mail": (0, 8), "usr/share/much": (65534, 65534)}


def grow_once(user: Ordinary, commit: Commit) -> list[str]:
    """Write the command that makes a disk of a commit in the user's home."""
    places = [str(user.home / name) for name in ("repo", "disks")]
    return [sys.executable, "-m", "tests.grow_once", *places, commit]


@pytest.fixture
def user() -> Iterator[Ordinary]:
    with ordinary_user() as found:
        yield found


@pytest.fixture
def commit(repo: Repo, tmp_path: Path) -> Commit:
    """A commit with files of several owners, special modes and a capability."""
    root = tmp_path / "root"
    modules = root / "usr/lib/modules" / KERNEL
    modules.mkdir(parents=True)
    (modules / "vmlinuz").write_bytes(b"kernel")
    (modules / "initramfs.img").write_bytes(b"initramfs")
    for name in ("usr/etc/systemd/system", "boot", "sysroot", "var", "dev", "proc", "run", "sys"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "usr/etc/os-release").write_text('NAME="It"\nID=it\nPRETTY_NAME="It"\n')
    (root / "usr/etc/shadow").write_text("root:*:\n")
    (root / "usr/etc/shadow").chmod(0o640)
    os.chown(root / "usr/etc/shadow", 0, 42)
    for name, (uid, gid) in OWNERS.items():
        place = root / name
        place.mkdir(parents=True)
        (place / "file").write_text(name)
        (place / "link").symlink_to("file")
        for path in (place, place / "file", place / "link"):
            os.chown(path, uid, gid, follow_symlinks=False)
    (root / "usr/share/much").chmod(0o1777)
    (root / "usr/share/www").chmod(0o2750)
    (root / "usr/bin").mkdir()
    (root / "usr/bin/su").write_text("su")
    (root / "usr/bin/su").chmod(0o4755)
    (root / "usr/bin/bind").write_text("bind")
    os.setxattr(root / "usr/bin/bind", "security.capability", CAPABILITY)
    return repo.commit_dir(root, subject="it", owner_root=False)


def test_a_disk_has_the_same_owners_modes_and_attributes_as_one_made_by_root(
    user: Ordinary, commit: Commit, repo: Repo, tmp_path: Path, log: Log
) -> None:
    request = request_of(commit)
    ours = Path(make_disk(request, repo=repo.path, disks=tmp_path / "disks", log=log).path)
    copy_for(user, repo.path, user.home / "repo")
    done = user.run(grow_once(user, commit))
    assert done.returncode == 0, done.stderr
    theirs = user.home / "disks" / ours.name

    wanted = listing(ours, tmp_path / "ours", log=log)
    assert differences(wanted, listing(theirs, tmp_path / "theirs", log=log)) == []
    top = f"/ostree/deploy/it/deploy/{commit}.0"
    for name, (uid, gid) in OWNERS.items():
        assert wanted[f"{top}/{name}/file"][0] == f"100644 {uid}:{gid}"
    assert wanted[f"{top}/usr/bin/su"][0] == "104755 0:0"
    assert wanted[f"{top}/etc/shadow"][0] == "100640 0:42"
    assert "security.capability (20)" in wanted[f"{top}/usr/bin/bind"][2]
    left = [path.name for path in (user.home / "disks").iterdir() if "making" in path.name]
    assert left == []


def test_what_a_killed_attempt_left_goes_with_the_next(
    user: Ordinary, commit: Commit, repo: Repo
) -> None:
    copy_for(user, repo.path, user.home / "repo")
    argv = grow_once(user, commit)
    assert user.run(argv).returncode == 0
    (path,) = (user.home / "disks").glob("*.qcow2")
    path.unlink()
    left = path.with_name(f".{path.stem}.making") / "sysroot/deep"
    left.mkdir(parents=True)
    (left / "file").touch()
    user.own(left.parents[1])
    for one in (left, left / "file"):
        os.chown(one, FIRST_ID + 32, FIRST_ID + 32)
    left.chmod(0o700)
    done = user.run(argv)
    assert done.returncode == 0, done.stderr
    assert path.is_file() and not left.parents[1].exists()


def test_without_subordinate_ids_it_is_trouble(user: Ordinary, commit: Commit) -> None:
    for name in ("subuid", "subgid"):
        file = user.etc / name
        file.write_text("somebody:100000:65536\n")
    user.own(Repo(user.home / "repo", log=Log()).create(Mode.BARE_USER).path)
    done = user.run(grow_once(user, commit))
    assert done.returncode != 0
    words = "files of other users cannot be made: ostci-ordinary has no 65536 ids in /etc/subuid"
    assert words in done.stderr
