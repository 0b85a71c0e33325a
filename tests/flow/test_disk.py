# SPDX-License-Identifier: LGPL-2.1-or-later
"""A commit's disk: made once, never changed, named by what decides it, and nothing but it boots."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports import image
from pipeline.ports.files import sha256_file
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.stages.disk import DiskRequest, make_disk
from pipeline.stages.disking.boot_files import boot_files, first_boot
from pipeline.stages.disking.deployment import fixture_content
from pipeline.words.errors import Failed
from pipeline.words.fixture import FIXTURE
from pipeline.words.manifest import Target
from pipeline.words.refs import Commit, RefName

KERNEL = "6.1.0-test"
MIB = 1024**2
TARGET = Target(name="runtime", disk_size=128 * MIB, kernel_options=("quiet", "panic=1"))


def commit_of(repo: Repo, root: Path, *, text: str = "it") -> Commit:
    """Commit a tree that can be deployed, and no more."""
    modules = root / "usr/lib/modules" / KERNEL
    modules.mkdir(parents=True, exist_ok=True)
    (modules / "vmlinuz").write_bytes(b"kernel")
    (modules / "initramfs.img").write_bytes(b"initramfs")
    for name in ("usr/etc/systemd/system", "boot", "sysroot", "var", "dev", "proc", "run", "sys"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "usr/etc/os-release").write_text('NAME="It"\nID=it\nPRETTY_NAME="It"\n')
    (root / "usr/it").write_text(text)
    return repo.commit_dir(root, subject="it")


@pytest.fixture
def request_(repo: Repo, tmp_path: Path) -> DiskRequest:
    commit = commit_of(repo, tmp_path / "root")
    return DiskRequest(
        osname="it",
        ref=RefName("it/compose/x86_64-runtime"),
        commit=commit,
        target=TARGET,
        url="http://example.org/repo",
        key=b"public key",
    )


@pytest.fixture
def disks(tmp_path: Path) -> Path:
    return tmp_path / "disks"


def test_a_disk_boots_its_commit_with_the_options_asked_for(
    request_: DiskRequest, repo: Repo, disks: Path, tmp_path: Path, log: Log
) -> None:
    disk = make_disk(request_, repo=repo.path, disks=disks, log=log)
    entry = first_boot(Path(disk.path), into=tmp_path / "boot", log=log)
    words = entry.options.split()
    assert {"root=LABEL=ostci", "rw", "console=ttyS0", "quiet", "panic=1"} <= set(words)
    assert "systemd.unit=multi-user.target" in words
    assert any(word.startswith("ostree=/ostree/boot.") for word in words)
    assert entry.kernel.read_bytes() == b"kernel"
    assert entry.initramfs is not None
    assert entry.initramfs.read_bytes() == b"initramfs"


def test_the_copies_beside_a_disk_say_what_a_look_into_it_says(
    request_: DiskRequest, repo: Repo, disks: Path, tmp_path: Path, log: Log
) -> None:
    path = Path(make_disk(request_, repo=repo.path, disks=disks, log=log).path)
    quick = first_boot(path, into=tmp_path / "a", log=log)
    boot_files(path)[0].unlink()
    looked = first_boot(path, into=tmp_path / "b", log=log)
    assert (quick.title, quick.options, quick.name) == (looked.title, looked.options, looked.name)
    assert quick.kernel.read_bytes() == looked.kernel.read_bytes()


def test_a_disk_is_made_once(request_: DiskRequest, repo: Repo, disks: Path, log: Log) -> None:
    first = make_disk(request_, repo=repo.path, disks=disks, log=log)
    before = (Path(first.path).stat().st_mtime_ns, sha256_file(Path(first.path)))
    again = make_disk(request_, repo=repo.path, disks=disks, log=log)
    assert again == first
    assert (Path(again.path).stat().st_mtime_ns, sha256_file(Path(again.path))) == before


def test_nobody_may_write_to_a_disk(
    request_: DiskRequest, repo: Repo, disks: Path, log: Log
) -> None:
    disk = make_disk(request_, repo=repo.path, disks=disks, log=log)
    assert Path(disk.path).stat().st_mode & 0o222 == 0


def test_its_name_follows_from_what_decides_it(
    request_: DiskRequest, repo: Repo, disks: Path, tmp_path: Path, log: Log
) -> None:
    def path(request: DiskRequest) -> str:
        return make_disk(request, repo=repo.path, disks=disks, log=log).path

    first = path(request_)
    assert Path(first).name.startswith(request_.commit)
    other_options = replace(request_, target=replace(TARGET, kernel_options=("debug",)))
    other_key = replace(request_, key=b"another key")
    other_commit = replace(request_, commit=commit_of(repo, tmp_path / "root", text="other"))
    assert len({first, path(other_options), path(other_key), path(other_commit)}) == 4


def test_the_deployment_holds_the_fixture_as_listed(
    request_: DiskRequest, repo: Repo, disks: Path, tmp_path: Path, log: Log
) -> None:
    path = Path(make_disk(request_, repo=repo.path, disks=disks, log=log).path)
    etc = f"/ostree/deploy/it/deploy/{request_.commit}.0"
    with image.exported(path, log=log) as raw:
        for number, entry in enumerate(FIXTURE):
            if entry.symlink:
                stat = image.debugfs(raw, [f"stat {etc}{entry.path}"], log=log)
                assert f'Fast link dest: "{entry.symlink}"' in stat
            else:
                copy = tmp_path / str(number)
                image.debugfs(raw, [f"dump {etc}{entry.path} {copy}"], log=log)
                assert copy.read_bytes() == fixture_content(entry), entry.path


def test_the_fixture_is_not_in_the_tree(
    request_: DiskRequest, repo: Repo, disks: Path, log: Log
) -> None:
    before = sorted(repo.walk(request_.commit))
    make_disk(request_, repo=repo.path, disks=disks, log=log)
    assert sorted(repo.walk(request_.commit)) == before
    assert not [path for path, _ in before if "ostci" in path]
    repo.fsck()


def test_the_machine_follows_its_ref_and_trusts_the_key_alone(
    request_: DiskRequest, repo: Repo, disks: Path, log: Log
) -> None:
    path = Path(make_disk(request_, repo=repo.path, disks=disks, log=log).path)
    top = f"/ostree/deploy/it/deploy/{request_.commit}.0"
    with image.exported(path, log=log) as raw:
        origin = image.debugfs(raw, [f"cat {top}.origin"], log=log)
        remote = image.debugfs(raw, [f"cat {top}/etc/ostree/remotes.d/it.conf"], log=log)
        key = image.debugfs(raw, [f"cat {top}/etc/ostree/it.gpg"], log=log)
    assert "refspec=it:it/compose/x86_64-runtime" in origin
    assert "url=http://example.org/repo" in remote
    assert "gpg-verify=true" in remote
    assert "gpg-verify-summary=true" in remote
    assert "public key" in key


def test_a_tree_that_does_not_fit_is_told_and_leaves_nothing(
    request_: DiskRequest, repo: Repo, disks: Path, tmp_path: Path, log: Log
) -> None:
    with (tmp_path / "root/usr/large").open("wb") as file:
        file.write(b"x" * 80 * MIB)
    commit = commit_of(repo, tmp_path / "root")
    small = replace(request_, commit=commit, target=replace(TARGET, disk_size=64 * MIB))
    with pytest.raises(Failed, match="do not fit on a disk of 67108864 bytes"):
        make_disk(small, repo=repo.path, disks=disks, log=log)
    assert [path.name for path in disks.iterdir() if not path.name.endswith(".lock")] == []


def test_a_tree_without_a_kernel_cannot_become_a_disk(
    request_: DiskRequest, repo: Repo, disks: Path, tmp_path: Path, log: Log
) -> None:
    (tmp_path / "root/usr/lib/modules" / KERNEL / "vmlinuz").unlink()
    commit = repo.commit_dir(tmp_path / "root", subject="no kernel")
    with pytest.raises(Failed, match=r"the tree cannot be deployed: .*[Kk]ernel"):
        make_disk(replace(request_, commit=commit), repo=repo.path, disks=disks, log=log)
