# SPDX-License-Identifier: LGPL-2.1-or-later
"""What lies beside a disk: kernel, initramfs and a record of its boot entry, for its first boot.

Apart from how disks are made, because a suite loads this before its machine starts.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports import image
from pipeline.ports.log import Log
from pipeline.words.errors import Trouble


@dataclass(frozen=True, kw_only=True)
class BootRecord:
    """A disk's boot entry; ``silent`` are the units that may fail without a word in the journal."""

    title: str
    options: str
    name: str
    initramfs: bool
    silent: tuple[str, ...]


def boot_files(disk: Path) -> tuple[Path, Path, Path]:
    """Name the copies beside a disk: boot record, kernel, initramfs."""
    stem = disk.with_suffix("")
    return (
        stem.with_name(f"{stem.name}.boot.json"),
        stem.with_name(f"{stem.name}.vmlinuz"),
        stem.with_name(f"{stem.name}.initramfs"),
    )


def first_boot(disk: Path, *, into: Path, log: Log) -> image.BootEntry:
    """Tell what a fresh disk boots: from the copies beside it, else by looking into it."""
    record_path, kernel, initramfs = boot_files(disk)
    if not record_path.is_file():
        return image.boot_entry(disk, into, log=log)
    record = _read_record(record_path)
    return image.BootEntry(
        title=record.title,
        kernel=kernel,
        initramfs=initramfs if record.initramfs else None,
        options=record.options,
        name=record.name,
    )


def silent_on(disk: Path) -> tuple[str, ...]:
    """List the units of a disk that may fail without a word in the journal; raises Trouble."""
    return _read_record(boot_files(disk)[0]).silent


def can_boot(path: Path) -> bool:
    """Tell whether all is beside a disk that a boot needs: files go one by one when it is cleaned.

    Without its record a test would not know which units fail in silence.
    """
    record, kernel, initramfs = boot_files(path)
    if not record.is_file() or not kernel.is_file():
        return False
    return initramfs.is_file() or not _read_record(record).initramfs


def _read_record(path: Path) -> BootRecord:
    """Read a record without what checks all others: that takes 65 ms to load, before a boot."""
    try:
        value = json.loads(path.read_bytes())
        return BootRecord(**{**value, "silent": tuple(value["silent"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError) as error:
        hint = "remove it and its disk, and run again"
        raise Trouble(f"no boot record: {error}", where=str(path), hint=hint) from error
