# SPDX-License-Identifier: LGPL-2.1-or-later
"""Make one disk in a process of its own, to be killed: ``grow_once REPO DISKS COMMIT``."""

import sys
from pathlib import Path

from pipeline.ports.log import Log
from pipeline.stages.disk import make_disk
from pipeline.words.refs import commit
from tests.changing import request_of

if __name__ == "__main__":
    sys.stdout.write("begins\n")
    sys.stdout.flush()
    where, disks, which = sys.argv[1:]
    make_disk(request_of(commit(which)), repo=Path(where), disks=Path(disks), log=Log())
