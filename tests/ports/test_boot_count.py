# SPDX-License-Identifier: LGPL-2.1-or-later
"""Boots are counted on the layer, as a loader would; what is booted next follows from it."""

from pathlib import Path

import pytest

from pipeline.ports import image
from pipeline.ports.boot_count import after_one_more, next_boot
from pipeline.ports.log import Log


@pytest.mark.parametrize(
    ("file", "after"),
    [
        ("ostree-2+3-0.conf", "ostree-2+2-1.conf"),
        ("ostree-2+1.conf", "ostree-2+0-1.conf"),
        ("a+b+1-2.conf", "a+b+0-3.conf"),
        ("ostree-2+0-3.conf", None),
        ("ostree-2.conf", None),
        ("a+b.conf", None),
        ("", None),
        ("+1.conf", None),
    ],
)
def test_one_more_try_is_one_less(file: str, after: str | None) -> None:
    assert after_one_more(file) == after


def _disk(into: Path, names: list[str], log: Log) -> Path:
    entries = into / "root/boot/loader.1/entries"
    entries.mkdir(parents=True)
    (into / "root/boot/loader").symlink_to("loader.1")
    (into / "root/boot/kernel").write_text("a kernel")
    for version, name in enumerate(names, 1):
        text = f"title {name}\nversion {version}\noptions which={version}\nlinux /kernel\n"
        (entries / name).write_text(text)
    uuid = "6f737463-6900-4000-8000-000000000002"
    size = 16 * 1024**2
    image.make_ext4(into / "root", into / "raw", size=size, label="x", uuid=uuid, log=log)
    image.to_qcow2(into / "raw", into / "disk.qcow2", log=log)
    image.overlay(into / "disk.qcow2", into / "layer.qcow2", log=log)
    return into / "layer.qcow2"


@pytest.mark.parametrize("fuse", [True, False])
def test_a_tree_that_never_boots_well_is_given_up(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch, fuse: bool
) -> None:
    if fuse and not image.can_export():
        pytest.skip(f"{image.FUSE} cannot be opened")
    if not fuse:
        monkeypatch.setattr(image, "has_fuse", lambda: False)
    layer = _disk(tmp_path, ["old.conf", "new+2-0.conf"], log)
    seen = [next_boot(layer, tmp_path / "boot", log=log) for _ in range(4)]
    assert [one.options for one in seen] == ["which=2", "which=2", "which=1", "which=1"]
    assert [one.file for one in seen[:2]] == ["new+2-0.conf", "new+1-1.conf"]
    with image._readable(layer, tmp_path, log=log) as raw:
        listed = image.debugfs(raw, ["ls -p /boot/loader/entries"], log=log)
    assert "/new+0-2.conf/" in listed and "/new+1-1.conf/" not in listed
    assert "/old.conf/" in listed
