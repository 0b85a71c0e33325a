# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk that an ordinary user makes is the one that root makes, owner by owner."""

import os
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ports import image
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.stages.disk import DiskRequest, make_disk
from pipeline.words.manifest import Target
from pipeline.words.refs import Commit, RefName
from tests.ordinary import FIRST_ID, Ordinary, copy_for, ordinary_user

KERNEL = "6.1.0-test"
MIB = 1024**2
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
"""cap_net_bind_service=ep, as capabilities(7) lays out version 2."""
OWNERS = {"usr/share/www": (33, 33), "usr/share/mail": (0, 8), "usr/share/much": (65534, 65534)}
SCRIPT = """
import sys
from pathlib import Path
from pipeline.ports.log import Log
from pipeline.stages.disk import DiskRequest, make_disk
from pipeline.words.manifest import Target
from pipeline.words.refs import Commit, RefName
request = DiskRequest(
    osname="it", ref=RefName("it/compose/x86_64-runtime"), commit=Commit(sys.argv[2]),
    target=Target(name="runtime", disk_size=int(sys.argv[3])), url="http://example.org/repo",
    key=b"public key",
)
top = Path(sys.argv[1])
print(make_disk(request, repo=top / "repo", disks=top / "disks", log=Log()).path)
"""


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


def look_into(disk: Path, log: Log) -> dict[str, tuple[str, ...]]:
    """List every path of a disk with mode, owner, group, size, target and attributes."""
    found: dict[str, tuple[str, ...]] = {}
    with image.exported(disk, log=log) as raw:
        todo = ["/"]
        while todo:
            directory = todo.pop()
            for line in image.debugfs(raw, [f'ls -p "{directory}"'], log=log).splitlines():
                words = line.split("/")
                if words[0] or len(words) < 7 or words[5] in (".", ".."):
                    continue
                path = f"{directory.rstrip('/')}/{words[5]}"
                if words[2].startswith("04"):
                    todo.append(path)
                found[path] = tuple(words[2:5])
        asked = [word for path in found for word in (f'stat "{path}"', f'ea_list "{path}"')]
        said = image.debugfs(raw, asked, log=log)
    parts = re.split(r'^debugfs: (?=stat ")', said, flags=re.MULTILINE)[1:]
    assert len(parts) == len(found)
    for path, part in zip(found, parts, strict=True):
        size = re.search(r"Size: (\d+)", part)
        link = re.search(r'Fast link dest: "(.*)"', part)
        attributes = part.split("\ndebugfs: ea_list")[1].splitlines()[1:]
        assert size is not None, part
        found[path] += (size[1], link[1] if link else "", *attributes)
    return found


def test_a_disk_has_the_same_owners_modes_and_attributes_as_one_made_by_root(
    user: Ordinary, commit: Commit, repo: Repo, tmp_path: Path, log: Log
) -> None:
    target = Target(name="runtime", disk_size=128 * MIB)
    request = DiskRequest(
        osname="it",
        ref=RefName("it/compose/x86_64-runtime"),
        commit=commit,
        target=target,
        url="http://example.org/repo",
        key=b"public key",
    )
    ours = Path(make_disk(request, repo=repo.path, disks=tmp_path / "disks", log=log).path)
    copy_for(user, repo.path, user.home / "repo")
    done = user.run([sys.executable, "-c", SCRIPT, user.home, commit, str(target.disk_size)])
    assert done.returncode == 0, done.stderr
    theirs = Path(done.stdout.strip())
    assert theirs.name == ours.name

    wanted, found = look_into(ours, log), look_into(theirs, log)
    assert found == wanted
    top = f"/ostree/deploy/it/deploy/{commit}.0"
    for name, (uid, gid) in OWNERS.items():
        assert wanted[f"{top}/{name}/file"][1:3] == (str(uid), str(gid))
    assert wanted[f"{top}/usr/bin/su"][0] == "104755"
    assert wanted[f"{top}/etc/shadow"][:3] == ("100640", "0", "42")
    assert "security.capability (20)" in "".join(wanted[f"{top}/usr/bin/bind"][5:])
    left = [path.name for path in (user.home / "disks").iterdir() if "making" in path.name]
    assert left == []


def test_what_a_killed_attempt_left_goes_with_the_next(
    user: Ordinary, commit: Commit, repo: Repo
) -> None:
    copy_for(user, repo.path, user.home / "repo")
    argv = [sys.executable, "-c", SCRIPT, str(user.home), commit, str(128 * MIB)]
    path = Path(user.run(argv).stdout.strip())
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
    done = user.run([sys.executable, "-c", SCRIPT, str(user.home), commit, str(128 * MIB)])
    assert done.returncode != 0
    words = "files of other users cannot be made: ostci-ordinary has no 65536 ids in /etc/subuid"
    assert words in done.stderr
