# SPDX-License-Identifier: LGPL-2.1-or-later
"""An initramfs made by the dracut of a tree: large and slow, and at home on real hardware.

dracut runs as a program of the tree, in walls that show it nothing else. What is small and fast
on virtual machines is made in ``initramfs``.
"""

import tempfile
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.log import Log
from pipeline.words.errors import Failed

_PROGRAM = "usr/bin/dracut"
_MAKE_S = 1200.0
_TIME = 1640995200
"""2022-01-01, for all times in the archive."""


def dracut_initramfs(root: Path, kernel_version: str, log: Log) -> bytes:
    """Make the initramfs of one kernel from a checked-out tree that has dracut.

    Raises Failed where the tree has no dracut, or dracut fails.
    """
    if not (root / _PROGRAM).exists():
        raise Failed(
            "the tree has no dracut, and its base asks for initramfs: dracut",
            where=str(root),
            hint="add dracut to the base's packages",
        )
    with tempfile.TemporaryDirectory(prefix="ostci-dracut-") as name:
        output = Path(name)
        argv = [*_walls(root, output), *_command(kernel_version)]
        try:
            process.run(argv, log=log, deadline_s=_MAKE_S)
        except process.CommandError as error:
            said = "; ".join(error.finished.error_text.splitlines()[-3:])
            raise Failed(f"dracut made no initramfs: {said}", hint=error.hint) from error
        return (output / "initramfs.img").read_bytes()


def _walls(root: Path, output: Path) -> list[str | Path]:
    links = [path for path in sorted(root.iterdir()) if path.is_symlink()]
    merged = [path for path in links if path.readlink().is_relative_to("usr")]
    argv: list[str | Path] = ["bwrap", "--unshare-all", "--die-with-parent", "--clearenv"]
    argv += ["--setenv", "PATH", "/usr/sbin:/usr/bin", "--setenv", "LC_ALL", "C.UTF-8"]
    argv += ["--setenv", "SOURCE_DATE_EPOCH", str(_TIME)]
    argv += ["--ro-bind", root / "usr", "/usr", "--ro-bind", root / "usr/etc", "/etc"]
    for path in merged:
        argv += ["--symlink", path.readlink(), f"/{path.name}"]
    for place in ("/tmp", "/var", "/run"):
        argv += ["--tmpfs", place]
    argv += ["--dir", "/var/tmp", "--dir", "/sys", "--proc", "/proc", "--dev", "/dev"]
    return [*argv, "--bind", output, "/output", "--"]


def _command(kernel_version: str) -> list[str]:
    modules = "ostree systemd"
    return [
        *("dracut", "--force", "--no-hostonly", "--reproducible", "--quiet", "--tmpdir", "/tmp"),
        *("--add", modules, "--kver", kernel_version, "/output/initramfs.img"),
    ]
