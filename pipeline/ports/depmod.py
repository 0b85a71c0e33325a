# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a kernel's modules need of one another, found by ``depmod`` of this machine.

A package's script does that where packages are installed; where they are only unpacked, nobody.
"""

from pathlib import Path

from pipeline.ports import process
from pipeline.ports.log import Log

_DEPMOD_S = 300.0


def add_module_lists(root: Path, kernel_version: str, *, log: Log) -> tuple[Path, ...]:
    """Write ``modules.dep`` and its like into a checked-out tree that lacks them; tells the files.

    depmod renames what it writes into place: files that were there, which may be hardlinks to a
    repository, are not written to.
    """
    directory = root / "usr/lib/modules" / kernel_version
    if (directory / "modules.dep").exists():
        return ()
    before = set(directory.iterdir())
    # An ordinary user's PATH often lacks the directory it is in.
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    argv = ["depmod", f"--basedir={root}", kernel_version]
    process.run(argv, log=log, env=env, deadline_s=_DEPMOD_S)
    return tuple(sorted(set(directory.iterdir()) - before))
