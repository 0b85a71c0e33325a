# SPDX-License-Identifier: LGPL-2.1-or-later
"""Disks are made without a mount, read without a change, and full ones are told."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.ports import image
from pipeline.ports.files import sha256_file
from pipeline.ports.log import Log
from pipeline.words.errors import Failed, Trouble
from tests.ordinary import ordinary_user

UUID = "6f737463-6900-4000-8000-000000000002"
MIB = 1024**2


def entry(version: int, kernel: str = "/it/vmlinuz", options: str = "root=LABEL=it") -> str:
    text = f"title It {version}\nversion {version}\nlinux {kernel}\n"
    return f"{text}initrd /it/initrd\noptions {options}\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files of a disk with one boot entry."""
    made = tmp_path / "tree"
    (made / "boot/loader.0/entries").mkdir(parents=True)
    (made / "boot/loader").symlink_to("loader.0")
    (made / "boot/it").mkdir()
    (made / "boot/it/vmlinuz").write_bytes(b"kernel")
    (made / "boot/it/initrd").write_bytes(b"initrd")
    (made / "boot/loader/entries/it-1.conf").write_text(entry(1))
    return made


def make_disk(tree: Path, path: Path, log: Log, *, size: int = 64 * MIB) -> Path:
    raw = path.with_suffix(".raw")
    image.make_ext4(tree, raw, size=size, label="it", uuid=UUID, log=log)
    image.to_qcow2(raw, path, log=log)
    return path


def test_what_a_disk_boots_is_read_from_it(tree: Path, tmp_path: Path, log: Log) -> None:
    disk = make_disk(tree, tmp_path / "disk.qcow2", log)
    found = image.boot_entry(disk, tmp_path / "into", log=log)
    assert (found.title, found.options, found.name) == ("It 1", "root=LABEL=it", "it-1")
    assert found.kernel.read_bytes() == b"kernel"
    assert found.initramfs is not None
    assert found.initramfs.read_bytes() == b"initrd"


def test_reading_changes_nothing(tree: Path, tmp_path: Path, log: Log) -> None:
    disk = make_disk(tree, tmp_path / "disk.qcow2", log)
    before = sha256_file(disk)
    image.boot_entry(disk, tmp_path / "into", log=log)
    assert sha256_file(disk) == before


def test_what_was_written_to_a_layer_counts_and_the_disk_stays(
    tree: Path, tmp_path: Path, log: Log
) -> None:
    disk = make_disk(tree, tmp_path / "disk.qcow2", log)
    before = sha256_file(disk)
    layer = tmp_path / "layer.qcow2"
    image.overlay(disk, layer, log=log)
    newer = tmp_path / "newer.conf"
    newer.write_text(entry(2, options="root=LABEL=it quiet"))
    with image.exported(layer, log=log, writable=True) as raw:
        request = f"write {newer} /boot/loader.0/entries/it-2.conf"
        image.debugfs(raw, [request], log=log, writable=True)
    assert image.boot_entry(layer, tmp_path / "a", log=log).options == "root=LABEL=it quiet"
    assert image.boot_entry(disk, tmp_path / "b", log=log).options == "root=LABEL=it"
    assert sha256_file(disk) == before


def test_what_a_killed_process_showed_goes_later(
    tree: Path, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = make_disk(tree, tmp_path / "disk.qcow2", log)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, new = tmp_path / "ostci-export-old", tmp_path / "ostci-export-new"
    for left in (old, new):
        left.mkdir()
        (left / "raw").touch()
    os.utime(old, (0, 0))
    with image.exported(disk, log=log) as raw:
        os.utime(raw.parent, (0, 0))
        with image.exported(disk, log=log):
            assert not old.exists() and new.exists()
            assert raw.exists(), "it is not left over: it is shown"


def test_a_mount_that_a_killed_process_left_goes_with_the_next_export(
    tree: Path, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = make_disk(tree, tmp_path / "disk.qcow2", log)
    place = tmp_path / "a place, of its own"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with subprocess.Popen(
        [sys.executable, "-c", _SHOWS, disk], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        left = Path(child.stdout.readline().strip())
        child.kill()
    assert left.parent.exists()
    with image.exported(disk, log=log):
        assert not left.parent.exists()


_SHOWS = """
import signal
import sys
from pathlib import Path
from pipeline.ports.image import exported
from pipeline.ports.log import Log
with exported(Path(sys.argv[1]), log=Log()) as raw:
    print(raw, flush=True)
    signal.pause()
"""


def test_a_disk_without_entries_is_told(tree: Path, tmp_path: Path, log: Log) -> None:
    (tree / "boot/loader/entries/it-1.conf").unlink()
    disk = make_disk(tree, tmp_path / "disk.qcow2", log)
    with pytest.raises(Failed, match="the disk has no entry to boot in /boot/loader/entries"):
        image.boot_entry(disk, tmp_path / "into", log=log)


def test_an_entry_whose_kernel_is_gone_is_told(tree: Path, tmp_path: Path, log: Log) -> None:
    (tree / "boot/it/vmlinuz").unlink()
    disk = make_disk(tree, tmp_path / "disk.qcow2", log)
    with pytest.raises(Failed, match="names /boot/it/vmlinuz, which is not there"):
        image.boot_entry(disk, tmp_path / "into", log=log)


@pytest.mark.parametrize("kernel", ["/../../etc/shadow", '/a"b', "/a b;x", "/$(x)"])
def test_a_strange_file_name_never_reaches_debugfs(
    tree: Path, tmp_path: Path, log: Log, kernel: str
) -> None:
    (tree / "boot/loader/entries/it-1.conf").write_text(entry(1, kernel=kernel))
    disk = make_disk(tree, tmp_path / "disk.qcow2", log)
    with pytest.raises(Failed, match="name a strange file"):
        image.boot_entry(disk, tmp_path / "into", log=log)


def test_files_that_do_not_fit_on_the_disk_are_told(tree: Path, tmp_path: Path, log: Log) -> None:
    with (tree / "large").open("wb") as file:
        file.write(b"x" * 80 * MIB)
    with pytest.raises(Failed, match="do not fit on a disk of 67108864 bytes") as failed:
        make_disk(tree, tmp_path / "disk.qcow2", log)
    assert "disk-size" in failed.value.hint


def test_equal_trees_give_equal_file_systems(tree: Path, tmp_path: Path, log: Log) -> None:
    one, other = tmp_path / "one.raw", tmp_path / "other.raw"
    for raw in (one, other):
        image.make_ext4(tree, raw, size=64 * MIB, label="it", uuid=UUID, log=log)
    entries = [
        image.debugfs(raw, ["ls -p /boot/loader.0/entries"], log=log) for raw in (one, other)
    ]
    assert entries[0] == entries[1]


def test_a_layer_on_nothing_is_trouble(tmp_path: Path, log: Log) -> None:
    with pytest.raises(Trouble, match=r"there is no disk .*no\.qcow2"):
        image.overlay(tmp_path / "no.qcow2", tmp_path / "layer.qcow2", log=log)


def test_the_newest_version_is_booted() -> None:
    texts = [image.parse_entry(f"it-{number}.conf", entry(number)) for number in (9, 10, 2)]
    assert image.choose_entry(texts).name == "it-10"


def test_one_that_used_up_its_tries_comes_last() -> None:
    tried = image.parse_entry("it-2+0-3.conf", entry(2))
    fresh = image.parse_entry("it-1.conf", entry(1))
    assert (tried.name, tried.tries_left) == ("it-2", 0)
    assert image.choose_entry([tried, fresh]).name == "it-1"
    assert image.choose_entry([tried]).name == "it-2"


def test_options_of_several_lines_are_one() -> None:
    text = "# a comment\nlinux /k\noptions a b\noptions c\n"
    assert image.parse_entry("x.conf", text).fields["options"] == "a b c"


READ = """
import sys
from pathlib import Path
from pipeline.ports import image
from pipeline.ports.log import Log
found = image.boot_entry(Path(sys.argv[1]), Path(sys.argv[2]), log=Log())
print(image.has_fuse(), found.options, found.kernel.read_text())
"""


def test_an_ordinary_user_reads_a_disk_where_no_fuse_can_be_had(tree: Path, log: Log) -> None:
    with ordinary_user() as user:
        disk = make_disk(tree, user.home / "disk.qcow2", log)
        layer = user.home / "layer.qcow2"
        image.overlay(disk, layer, log=log)
        with image.exported(layer, log=log, writable=True) as raw:
            newer = user.home / "newer.conf"
            newer.write_text(entry(2, options="root=LABEL=it quiet"))
            request = f"write {newer} /boot/loader.0/entries/it-2.conf"
            image.debugfs(raw, [request], log=log, writable=True)
        user.own(user.home)
        # As the namespace that a machine of an ordinary user runs in.
        argv = ["unshare", "--user", "--map-current-user", "--", sys.executable, "-c", READ]
        done = user.run([*argv, layer, user.home / "into"])
        assert done.stdout == "False root=LABEL=it quiet kernel\n", done.stderr
        left = {path.name for path in (user.home / "into").iterdir()}
        assert left == {"vmlinuz", "initramfs.img"}
