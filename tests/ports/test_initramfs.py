# SPDX-License-Identifier: LGPL-2.1-or-later
"""An initramfs is made of a tree alone, and what the tree lacks is told.

That one boots is seen by every test that boots a machine.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.ports.dracut import dracut_initramfs
from pipeline.ports.initramfs import initramfs_digest, make_initramfs, needed_modules
from pipeline.ports.log import Log
from pipeline.words.errors import Failed

KERNEL = "6.1.0-test"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with this machine's busybox, any program for the other, and pretended modules."""
    made = tmp_path / "root"
    modules = made / "usr/lib/modules" / KERNEL
    modules.mkdir(parents=True)
    for name in ("virtio_blk", "virtio", "ext4", "mbcache", "crc32c_generic"):
        (modules / f"{name}.ko").write_bytes(name.encode())
    (modules / "modules.dep").write_text(
        "virtio_blk.ko: virtio.ko\nvirtio.ko:\next4.ko: mbcache.ko\nmbcache.ko:\n"
        "crc32c_generic.ko:\n"
    )
    (modules / "modules.builtin").write_text("kernel/drivers/virtio/virtio_pci.ko\n")
    (made / "usr/bin").mkdir()
    shutil.copy("/bin/busybox", made / "usr/bin/busybox")
    (made / "usr/lib/ostree").mkdir()
    shutil.copy("/bin/true", made / "usr/lib/ostree/ostree-prepare-root")
    for library in ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"):
        place = made / f"usr{library}"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)
    (made / "lib64").symlink_to("usr/lib64")
    (made / "lib").symlink_to("usr/lib")
    return made


def names_in(archive: bytes) -> list[str]:
    argv = ["cpio", "--list", "--quiet"]
    return (
        subprocess.run(argv, input=archive, capture_output=True, check=True).stdout.decode().split()
    )


def test_it_holds_programs_libraries_and_modules(root: Path, log: Log) -> None:
    names = names_in(make_initramfs(root, KERNEL, log))
    assert {"init", "bin/busybox", "usr/lib/ostree/ostree-prepare-root", "dev/console"} <= set(
        names
    )
    assert {"lib-modules/virtio_blk.ko", "lib-modules/ext4.ko", "modules"} <= set(names)
    assert any(name.endswith("libc.so.6") for name in names)
    assert any(name.endswith("ld-linux-x86-64.so.2") for name in names)


def test_equal_trees_give_equal_bytes(root: Path, tmp_path: Path, log: Log) -> None:
    other = tmp_path / "elsewhere"
    shutil.copytree(root, other, symlinks=True)
    assert make_initramfs(root, KERNEL, log) == make_initramfs(other, KERNEL, log)


def test_a_module_comes_after_what_it_needs(root: Path) -> None:
    names = [path.stem for path in needed_modules(root / "usr/lib/modules" / KERNEL)]
    assert names.index("virtio") < names.index("virtio_blk")
    assert names.index("mbcache") < names.index("ext4")
    # Of which no list of the kernel's says that ext4 cannot mount anything without it.
    assert names.index("crc32c_generic") < names.index("ext4")


@pytest.mark.parametrize(
    ("missing", "message", "hint"),
    [
        ("usr/bin/busybox", "the tree has no /usr/bin/busybox", "add busybox-static"),
        (
            "usr/lib/ostree/ostree-prepare-root",
            "the tree has no /usr/lib/ostree",
            "add ostree-boot",
        ),
        ("usr/lib/x86_64-linux-gnu/libc.so.6", "the tree has no library libc.so.6", ""),
        (f"usr/lib/modules/{KERNEL}/modules.dep", "the tree has no modules.dep", ""),
    ],
)
def test_what_the_tree_lacks_is_told(
    root: Path, log: Log, missing: str, message: str, hint: str
) -> None:
    (root / missing).unlink()
    with pytest.raises(Failed, match=message) as failed:
        make_initramfs(root, KERNEL, log)
    assert hint in failed.value.hint


def test_a_kernel_that_could_not_find_its_disk_is_refused(root: Path, log: Log) -> None:
    (root / "usr/lib/modules" / KERNEL / "modules.dep").write_text("ext4.ko:\n")
    with pytest.raises(Failed, match="has no virtio_blk") as failed:
        make_initramfs(root, KERNEL, log)
    assert "initramfs: dracut" in failed.value.hint


def test_an_unknown_kernel_is_refused(root: Path, log: Log) -> None:
    with pytest.raises(Failed, match=r"the tree has no modules of kernel 5\.0"):
        make_initramfs(root, "5.0", log)


def test_a_link_out_of_the_tree_is_followed_inside_of_it(root: Path, log: Log) -> None:
    (root / "usr/bin/busybox").rename(root / "usr/bin/other")
    (root / "usr/bin/busybox").symlink_to("/../../usr/bin/other")
    assert "bin/busybox" in names_in(make_initramfs(root, KERNEL, log))
    (root / "usr/bin/other").unlink()
    (root / "usr/bin/busybox").unlink()
    (root / "usr/bin/busybox").symlink_to("/bin/busybox")
    with pytest.raises(Failed, match="the tree has no /usr/bin/busybox"):
        make_initramfs(root, KERNEL, log)


def test_a_tree_without_dracut_cannot_be_asked_for_it(root: Path, log: Log) -> None:
    with pytest.raises(Failed, match="the tree has no dracut") as failed:
        dracut_initramfs(root, KERNEL, log)
    assert failed.value.hint == "add dracut to the base's packages"


def test_the_digest_is_of_what_makes_it() -> None:
    assert len(initramfs_digest()) == 64
    assert initramfs_digest() == initramfs_digest()
