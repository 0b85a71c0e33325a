# SPDX-License-Identifier: LGPL-2.1-or-later
"""Walls round a program that is not trusted: bubblewrap, and what has to stand outside of it.

From outside in: ``unshare --pid --kill-child``, so that nothing outlives the sandbox whoever is
killed; ``sandbox_inner``, which mounts, joins control groups, sets rlimits and, where we are root,
becomes a user that no other sandbox has (inside a user namespace alone the limit of processes
does not hold, and files would be root's); then ``bwrap``: no network, nothing of the host but the
given tree, read-only. An ordinary user gets the same walls in a user namespace.

What goes over a limit is dead within seconds, and Failed says which limit it was. Nobody who
reads what a sandbox wrote meets a process of it: the kernel ends a process namespace before the
end of its first process is told.
"""

import json
import math
import os
import platform
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.ports import process, sandbox_inner, terminal, trees
from pipeline.ports.files import lock
from pipeline.ports.limits import Group, control_group, rlimits
from pipeline.ports.log import Log
from pipeline.ports.opens import Opens, collect
from pipeline.ports.seccomp import filter_program
from pipeline.ports.walls import Over, Walls, binds, bubblewrap
from pipeline.ports.watch import Watch, follow
from pipeline.words.errors import Failed, Interrupted, Trouble

__all__ = ["Opens", "Upper", "Walls", "interact", "read_upper", "run", "run_over"]

FIRST_USER = 64000
"""Debian keeps 60000 to 64999 for uses like this one; one user for each sandbox at a time."""
USERS = 256
_LAST_USER = FIRST_USER + USERS
_SLOTS = Path("/run/ostci/users")


def run(
    walls: Walls,
    argv: Sequence[str],
    *,
    log: Log,
    deadline_s: float | None = None,
    on_line: Callable[[str], None] | None = None,
    ok: Sequence[int] = (0,),
    what: str = "the build",
    merge: bool = False,
    opened: Opens | None = None,
) -> process.Finished:
    """Run a program within walls, to its end and that of all it started.

    ``deadline_s`` counts where the limits give more time. Of each output the last MiB is kept,
    ``merge`` puts both in the first; ``on_line`` gets each line. ``opened`` is filled with the
    files of the root that were opened.

    Raises Failed that names the limit, or for a code not in ``ok`` (``ok=()`` takes every code);
    Trouble where no walls can be made.
    """
    walls = _within(walls, deadline_s)
    over = None if opened is None else Over()
    with _ready(walls, argv, over=over, merge=merge, opened=opened, log=log) as ready:
        return _judge(_run(walls, argv, ready, on_line, what, log), ready, ok, what)


def run_over(
    walls: Walls,
    lower: Path,
    upper: Path,
    work: Path,
    argv: Sequence[str],
    *,
    log: Log,
    deadline_s: float | None = None,
    on_line: Callable[[str], None] | None = None,
    ok: Sequence[int] = (0,),
    what: str = "the build",
    merge: bool = False,
) -> process.Finished:
    """Run a program as root of a tree that it may change; the changes land in ``upper``.

    ``lower`` is only read, so it may be hardlinked to a repository. Writable are its ``/usr`` and
    ``/etc`` (``/usr/etc`` where the tree has that). ``upper`` and ``work`` are empty directories
    beside each other; ``read_upper`` tells what the first holds then. Raises as ``run`` does.
    """
    walls = replace(_within(walls, deadline_s), root=lower)
    over = Over(upper=upper, work=work)
    with _ready(walls, argv, over=over, merge=merge, log=log) as ready:
        return _judge(_run(walls, argv, ready, on_line, what, log), ready, ok, what)


def interact(walls: Walls, argv: Sequence[str], *, log: Log) -> int:
    """Run a program within walls at this process' own terminal; tells its exit code."""
    with (
        terminal.pair() as (here, there),
        _ready(walls, argv, terminal=True, log=log) as ready,
        process.start(
            ready.command,
            log=log,
            pass_fds=ready.handles,
            stdin=there,
            stdout=there,
            stderr=there,
            grace_s=0,
        ) as child,
    ):
        return terminal.relay(child, here)


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """All that a sandbox needs is there, as long as the ``with`` it came from lasts."""

    command: list[str]
    handles: tuple[int, ...]
    group: Group
    places: tuple[Path, ...]
    status: int

    def was_made(self) -> bool:
        """Tell whether bubblewrap came as far as to report the end of the program."""
        with suppress(BlockingIOError):
            return b'"exit-code"' in os.read(self.status, 4096)
        return False


def _within(walls: Walls, deadline_s: float | None) -> Walls:
    if deadline_s is None or deadline_s >= walls.limits.time_s:
        return walls
    return replace(walls, limits=replace(walls.limits, time_s=math.ceil(deadline_s)))


@contextmanager
def _ready(
    walls: Walls,
    argv: Sequence[str],
    *,
    log: Log,
    over: Over | None = None,
    merge: bool = False,
    terminal: bool = False,
    opened: Opens | None = None,
) -> Iterator[_Ready]:
    with ExitStack() as stack:
        user = stack.enter_context(_own_user())
        group = stack.enter_context(control_group(walls.limits, log=log))
        for path in walls.writable.values():
            trees.hand_over(path, user)
        status, tell_status = os.pipe2(os.O_NONBLOCK)
        stack.callback(os.close, status)
        stack.callback(os.close, tell_status)
        seccomp = _seccomp(stack, log)
        tell = None if opened is None else stack.enter_context(collect(opened)).fileno()
        orders = {
            "binds": binds(walls, over),
            "overlay": None if over is None else over.orders(walls.root),
            "user": user,
            "mapped": user is not None and over is not None and over.upper is not None,
            "tell": tell,
            "groups": [str(path) for path in group.paths],
            "rlimits": rlimits(walls.limits, group),
            "terminal": terminal,
            "merge": merge,
            "argv": bubblewrap(
                walls, argv, over=over, status=tell_status, seccomp=seccomp, terminal=terminal
            ),
        }
        handles = tuple(one for one in (tell_status, seccomp, tell) if one is not None)
        upper = () if over is None or over.upper is None else (over.upper,)
        yield _Ready(
            command=_outer(orders),
            handles=handles,
            group=group,
            places=(*walls.writable.values(), *upper),
            status=status,
        )


def _outer(orders: Mapping[str, object]) -> list[str]:
    words = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    words += ["--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]
    inner = [sys.executable, "-I", "-S", str(sandbox_inner.__file__), json.dumps(orders)]
    return [*words, "--mount-proc", "--", *inner]


def _seccomp(stack: ExitStack, log: Log) -> int | None:
    program = filter_program(platform.machine())
    if not program:
        log.detail(f"no seccomp filter is known for {platform.machine()}")
        return None
    handle = os.memfd_create("seccomp")
    stack.callback(os.close, handle)
    os.write(handle, program)
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


@contextmanager
def _own_user() -> Iterator[int | None]:
    """Reserve a user that no other sandbox on this machine has; None where we are not root."""
    if os.geteuid() != 0:
        yield None
        return
    with ExitStack() as stack:
        user = next(filter(lambda one: _is_free(stack, one), range(FIRST_USER, _LAST_USER)), None)
        if user is None:
            raise Trouble(f"all {USERS} users for sandboxes are taken", hint=f"ls {_SLOTS}")
        # What is raised during the ``with`` is nobody's lock: nothing is caught round it.
        yield user


def _is_free(stack: ExitStack, user: int) -> bool:
    try:
        stack.enter_context(lock(_SLOTS / f"{user}.lock", what="a sandbox"))
    except Trouble:
        return False
    return True


def _run(
    walls: Walls,
    argv: Sequence[str],
    ready: _Ready,
    on_line: Callable[[str], None] | None,
    what: str,
    log: Log,
) -> process.Finished:
    with process.start(ready.command, log=log, pass_fds=ready.handles, grace_s=0) as child:
        watch = Watch(walls.limits, ready.group, ready.places)
        out, err = follow(child, watch, on_line)
        code = child.wait(10.0)
    if process.is_stopping():
        raise Interrupted(f"stopped during {what}")
    if watch.look_at_the_end(code, out + err):
        raise Failed(f"{what} {watch.reason}")
    return process.Finished(
        argv=tuple(argv),
        code=-9 if code is None else code,
        stdout=out,
        stderr=err,
        seconds=watch.seconds,
    )


def _judge(
    finished: process.Finished, ready: _Ready, ok: Sequence[int], what: str
) -> process.Finished:
    said = (finished.error_text or finished.text).splitlines()[-3:]
    if not ready.was_made():
        why = "; ".join(["no sandbox can be made", *said])
        raise Trouble(why, hint="ostci doctor tells what is missing")
    if ok and finished.code not in ok:
        ended = f"{what} ended with {process.describe_code(finished.code)}"
        raise Failed("; ".join([ended, *said]))
    return finished


# What an overlay's upper layer says


@dataclass(frozen=True, kw_only=True)
class Upper:
    """What is in an upper layer besides plain files, as absolute paths of the tree.

    ``deleted`` are gone from the lower tree; ``replaced`` are directories of which nothing below
    in the lower tree shows through any more.
    """

    deleted: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


def read_upper(upper: Path) -> Upper:
    """Read what a program deleted in the tree it ran over. Format: kernel's overlayfs.rst."""
    deleted, replaced = [], []
    for path in (upper, *upper.rglob("*")):
        place = f"/{path.relative_to(upper)}" if path != upper else "/"
        status = path.lstat()
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            deleted.append(place)
        elif stat.S_ISDIR(status.st_mode) and _is_opaque(path):
            replaced.append(place)
    return Upper(deleted=tuple(sorted(deleted)), replaced=tuple(sorted(replaced)))


def _is_opaque(path: Path) -> bool:
    names = os.listxattr(path, follow_symlinks=False)
    keys = ("trusted.overlay.opaque", "user.overlay.opaque")
    return any(
        os.getxattr(path, key, follow_symlinks=False) == b"y" for key in keys if key in names
    )
