# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command lines that workers are given, and what their exit codes mean to Buildbot.

Each command is the first process of a namespace of its own: whatever it started, however far it
moved away, is dead with it. The namespace itself dies with the worker (``--pdeathsig``), since
Buildbot's own way of killing leaves those who left their process group.
"""

import os
from collections.abc import Mapping, Sequence

from buildbot.process.results import CANCELLED, EXCEPTION, FAILURE, SUCCESS

from pipeline.ports.master_settings import MasterSettings
from pipeline.words.errors import EXIT_PASSED, BadInput, Failed, Interrupted, Trouble

_RESULTS = {
    EXIT_PASSED: SUCCESS,
    Failed.exit_code: FAILURE,
    BadInput.exit_code: FAILURE,
    Interrupted.exit_code: CANCELLED,
}
GRACE_S = 2
"""What a command has between being asked to end and being killed."""


def result_of(code: int) -> int:
    """Tell Buildbot's result of an exit code; 3 and whatever is unknown are exceptions."""
    return int(_RESULTS.get(code, EXCEPTION))


def is_trouble(code: int) -> bool:
    """Tell whether the same command may end otherwise when it is given again."""
    return code == Trouble.exit_code


def is_bug(code: int) -> bool:
    """Tell whether it is our bug, which trying again does not mend; a signal's code is below 0."""
    return code > 0 and code not in _RESULTS and not is_trouble(code)


def walled(argv: Sequence[object], *, as_root: bool | None = None) -> list[object]:
    """Put a command into a process namespace that dies with the worker.

    Only root may make one without a user namespace, in which ``ostci`` could make none of its own
    any more; without, the command still dies with the worker.
    """
    tied = ["setpriv", "--pdeathsig", "KILL"]
    if os.geteuid() != 0 if as_root is None else not as_root:
        return [*tied, *argv]
    return [*tied, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *argv]


def ostci(settings: MasterSettings, *words: object) -> list[object]:
    """Write an ``ostci`` command on the work directory, as a worker is given it."""
    return walled(["ostci", "-C", str(settings.workdir.root), *words])


def environment(settings: MasterSettings) -> Mapping[str, str]:
    """Tell the environment that steps set; the worker was started with little else."""
    return {"PATH": settings.path, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
