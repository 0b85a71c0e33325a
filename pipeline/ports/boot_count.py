# SPDX-License-Identifier: LGPL-2.1-or-later
"""Boot as a loader that counts: an entry that has tries left has one less after each look.

The counter is in the entry's file name, ``NAME+LEFT-DONE.conf``; one whose tries are used up comes
after all others. Who boots well takes the counter away; see ``stages/fixture/boot-count.sh``.
Format: https://systemd.io/AUTOMATIC_BOOT_ASSESSMENT/
"""

import re
from pathlib import Path

from pipeline.ports import image, process
from pipeline.ports.log import Log
from pipeline.words.errors import Trouble

_ENTRIES = "/boot/loader/entries"
_COUNTED = re.compile(r"(?P<name>.+)\+(?P<left>\d{1,9})(?:-(?P<done>\d{1,9}))?\.conf")
_LONG_S = 600.0


def next_boot(layer: Path, into: Path, *, log: Log) -> image.BootEntry:
    """Tell what a layer boots now that no machine uses it, and count the boot on the layer.

    Raises Failed for a disk without anything to boot.
    """
    chosen = image.boot_entry(layer, into, log=log)
    counted = after_one_more(chosen.file)
    if counted is not None:
        log.detail(f"counting: {chosen.file} is {counted} now")
        _rename(layer, into, chosen.file, counted, log=log)
    return chosen


def after_one_more(file: str) -> str | None:
    """Name an entry's file after one more try; None for one that is not counted, or used up."""
    found = _COUNTED.fullmatch(file)
    if found is None or int(found["left"]) == 0:
        return None
    return f"{found['name']}+{int(found['left']) - 1}-{int(found['done'] or 0) + 1}.conf"


def _rename(layer: Path, into: Path, old: str, new: str, *, log: Log) -> None:
    # Both names were checked when they were read. debugfs counts no links with these two.
    requests = [f"ln {_ENTRIES}/{old} {_ENTRIES}/{new}", f"unlink {_ENTRIES}/{old}"]

    def change(raw: Path) -> None:
        state = image.debugfs(raw, ["show_super_stats -h"], log=log)
        if "needs_recovery" in state:
            image.debugfs(raw, ["journal_run"], log=log, writable=True)
        image.debugfs(raw, requests, log=log, writable=True)
        if f"/{new}/" not in image.debugfs(raw, [f"ls -p {_ENTRIES}"], log=log):
            raise Trouble(f"the boot of {old} could not be counted on its disk")

    if image.has_fuse():
        with image.exported(layer, log=log, writable=True) as raw:
            change(raw)
        return
    raw, whole = into / "counted", into / "counted.qcow2"
    try:
        process.run(["qemu-img", "convert", "-O", "raw", layer, raw], log=log, deadline_s=_LONG_S)
        change(raw)
        image.to_qcow2(raw, whole, log=log)
        whole.replace(layer)
    finally:
        for path in (raw, whole):
            path.unlink(missing_ok=True)
