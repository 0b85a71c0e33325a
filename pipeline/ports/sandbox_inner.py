# SPDX-License-Identifier: LGPL-2.1-or-later
"""The program between ``unshare`` and ``bwrap``: mounts, limits and the change of user.

It runs as process 1 of new mount and process namespaces, by ``python -I -S``, and so imports
nothing of ours. What only root (or the root of a user namespace) can do is done here, before
anything foreign runs. ``sandbox`` writes its orders as one JSON argument:

``binds``     list of [source, name]: what is laid out below the staging directory
``overlay``   null, or {lower, room, upper, work}, mounted as ``over``; ``room`` is a directory with
              the two others, which are names in it; without it the overlay is read-only
``user``      null, or the number of the user and group to become
``mapped``    whether the overlay's files, which are root's, appear as that user's
``tell``      null, or a socket that gets an inotify descriptor of the overlay's directories
``groups``    control groups to join
``rlimits``   name without ``RLIMIT_`` → number
``terminal``  whether standard input is a terminal to be controlled by
``merge``     whether standard error goes where standard output goes
``argv``      what to become
"""

# Importing pathlib would take longer than all of this.
# ruff: noqa: PTH102, PTH112, PTH123

import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import sys
import termios
from typing import Any

STAGE = "/tmp"
"""A directory that is everywhere; in this namespace it becomes one that any user can reach."""

_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC = 2, 4, 4096, 16384
_CLONE_NEWUSER = 0x10000000
_AT_FDCWD, _AT_RECURSIVE, _AT_EMPTY_PATH = -100, 0x8000, 0x1000
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH, _MOUNT_ATTR_IDMAP = 1, 4, 0x100000
# These calls have one number on all architectures, as all calls since Linux 5.0.
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_IN_OPEN, _IN_ONLYDIR = 0x20, 0x1000000
_PR_SET_PDEATHSIG, _PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP = 1, 28, 4

_libc = ctypes.CDLL(None, use_errno=True)
Orders = dict[str, Any]


def main(text: str) -> None:
    """Do the orders, then become ``argv``."""
    orders: Orders = json.loads(text)
    for group in orders["groups"]:
        _write(f"{group}/cgroup.procs", "0")
    # Where the host itself runs out of memory, a build goes first.
    _write("/proc/self/oom_score_adj", "500")
    _stage(orders)
    if orders["user"] is not None:
        _become(orders["user"])
    if orders["overlay"] is not None:
        _mount_overlay(orders["overlay"], own_user=orders["user"] is None)
    if orders["tell"] is not None:
        _tell_opens(orders["tell"], f"{STAGE}/over")
    for name, number in orders["rlimits"].items():
        _lower_limit(getattr(resource, f"RLIMIT_{name}"), number)
    if orders["terminal"]:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if orders["merge"]:
        os.dup2(1, 2)
    # Python ignores these, and programs that it becomes would go on doing so.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    # The change of user cleared what ``unshare --kill-child`` had set.
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    os.chdir("/")
    os.execvp(orders["argv"][0], orders["argv"])


def _stage(orders: Orders) -> None:
    """Open all sources first (some may lie below the staging directory), then lay them out."""
    binds = [(os.open(source, os.O_PATH), name) for source, name in orders["binds"]]
    overlay = orders["overlay"] or {}
    layers = {
        role: os.open(overlay[role], os.O_PATH) for role in ("lower", "room") if role in overlay
    }
    _mount("tmpfs", STAGE, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
    for source, name in binds:
        _bind(source, f"{STAGE}/{name}")
    namespace = _user_namespace(orders["user"]) if orders["mapped"] else None
    for role, source in layers.items():
        _bind(source, f"{STAGE}/{role}", namespace)
    if layers:
        os.mkdir(f"{STAGE}/over")
        os.mkdir(f"{STAGE}/none")


def _bind(source: int, target: str, namespace: int | None = None) -> None:
    path = f"/proc/self/fd/{source}"
    if os.path.isdir(path):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    if namespace is None:
        _mount(path, target, "", _MS_BIND | _MS_REC, "")
        return
    # An id-mapped mount: what is root's on the disk is the build user's here, and the other way
    # round for what it writes. See mount_setattr(2).
    tree = _call(_SYS_OPEN_TREE, _AT_FDCWD, path.encode(), _OPEN_TREE_CLONE | os.O_CLOEXEC)
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_IDMAP, 0, 0, namespace)
    _call(_SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, attributes, ctypes.sizeof(attributes))
    _call(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH)


def _user_namespace(user: int) -> int:
    """Open a user namespace in which 0 is ``user``; it lives as long as the descriptor."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _check(_libc.unshare(_CLONE_NEWUSER), "unshare")
            os.write(tell, b"1")
            signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    made = os.read(ready, 1)
    try:
        if not made:
            raise OSError("no user namespace could be made")
        for name in ("uid_map", "gid_map"):
            _write(f"/proc/{child}/{name}", f"0 {user} 1")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _become(user: int) -> None:
    """Change user and group, keeping capabilities until the next program is started."""
    os.setgroups([])
    _check(_libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "prctl")
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _mount_overlay(overlay: dict[str, str], *, own_user: bool) -> None:
    """Mount the overlay; by the user who will write, because its upper files become theirs."""
    if "room" in overlay:
        upper, work = (f"{STAGE}/room/{overlay[role]}" for role in ("upper", "work"))
        options = f"lowerdir={STAGE}/lower,upperdir={upper},workdir={work},index=off"
        # Whole files in the upper layer, each by itself: what it holds is read afterwards.
        # ``userxattr`` means that already.
        options += ",userxattr" if own_user else ",metacopy=off,redirect_dir=off"
    else:
        options = f"lowerdir={STAGE}/lower:{STAGE}/none"
    _mount("overlay", f"{STAGE}/over", "overlay", _MS_NOSUID | _MS_NODEV, options)


def _tell_opens(tell: int, top: str) -> None:
    """Watch every directory below ``top`` for opens; send the descriptor and what it numbers."""
    watch = _check(_libc.inotify_init1(os.O_CLOEXEC), "inotify_init1")
    numbers: dict[int, str] = {}
    todo = [""]
    while todo:
        path = todo.pop()
        whole = os.fsencode(top + path)
        number = _libc.inotify_add_watch(watch, whole, _IN_OPEN | _IN_ONLYDIR)
        numbers[_check(number, "inotify_add_watch")] = path
        with os.scandir(whole) as entries:
            todo += [
                f"{path}/{os.fsdecode(entry.name)}"
                for entry in entries
                if entry.is_dir(follow_symlinks=False)
            ]
    text = json.dumps(numbers).encode()
    with socket.socket(fileno=tell) as pipe:
        socket.send_fds(pipe, [len(text).to_bytes(8, "big")], [watch])
        pipe.sendall(text)
    os.close(watch)


def _lower_limit(which: int, number: int) -> None:
    _, hard = resource.getrlimit(which)
    number = number if hard == resource.RLIM_INFINITY else min(number, hard)
    resource.setrlimit(which, (number, number))


def _mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    words = [word.encode() for word in (source, target, kind)]
    _check(_libc.mount(*words, ctypes.c_ulong(flags), options.encode()), f"mount {target}")


def _call(number: int, *arguments: Any) -> int:
    words = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    return _check(_libc.syscall(ctypes.c_long(number), *words), f"system call {number}")


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main(sys.argv[1])
