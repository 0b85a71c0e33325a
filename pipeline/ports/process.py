# SPDX-License-Identifier: LGPL-2.1-or-later
"""The one door through which other programs are started.

Argument lists only, no shell; a deadline on each; the command in the log before it runs, and a
line that repeats it when it fails. Every child leads a session of its own and dies with this
process (``PR_SET_PDEATHSIG``); ``stop_all`` ends every tree of processes that is still alive.
"""

import ctypes
import functools
import os
import selectors
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.ports.log import Log
from pipeline.words.errors import Interrupted, Trouble

Argument = str | Path
_PR_SET_PDEATHSIG = 1
_TAIL = 64 * 1024
_LONGEST = 2000
_POLL_S = 0.002
_DYING_S = 5.0
_libc = ctypes.CDLL(None, use_errno=True)
_alive: set["Child"] = set()
_alive_lock = threading.Lock()
_stopping = threading.Event()


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A program that ended: its code (negative: a signal), what it wrote, its seconds."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def text(self) -> str:
        """Standard output as text without its last line feed."""
        return self.stdout.decode("utf-8", "backslashreplace").rstrip("\n")

    @property
    def error_text(self) -> str:
        """The end of standard error as text."""
        return self.stderr.decode("utf-8", "backslashreplace").rstrip("\n")


class CommandError(Trouble):
    """A program failed. Whoever knows that it means more (a wrong branch, a test) says so."""

    def __init__(self, finished: Finished, *, repeat: str, why: str = "") -> None:
        last = finished.error_text.splitlines()[-3:]
        what = why or f"{finished.argv[0]} ended with {describe_code(finished.code)}"
        super().__init__("; ".join([what, *last]), hint=f"to repeat it: {repeat}")
        self.finished = finished


def describe_code(code: int) -> str:
    """Say what an exit code means: ``exit code 2``, ``signal SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def repeat_line(
    argv: Sequence[Argument], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Write the command as it can be pasted into a shell, with its directory and environment.

    Words that nobody could paste are cut short.
    """
    words = [shlex.join(_short(str(word)) for word in argv)]
    if env is not None:
        words.insert(0, _environment(env))
    if cwd is not None:
        words.insert(0, f"cd {shlex.quote(str(cwd))} &&")
    return " ".join(words)


def _environment(env: Mapping[str, str]) -> str:
    """Write ``env`` and its words; what is our own, too, stays by name: it may be a secret."""
    own = {name for name, value in env.items() if os.environ.get(name) == value}
    words = ["env"]
    if not set(os.environ) <= set(env):
        words += ["-i", *(f'{name}="${name}"' for name in sorted(own))]
    return " ".join(
        [*words, *(shlex.quote(f"{name}={env[name]}") for name in sorted(env.keys() - own))]
    )


def _with_sbin(env: Mapping[str, str]) -> dict[str, str]:
    """Add to PATH where Debian keeps mke2fs and others, which an ordinary user's does not have."""
    found = dict(env)
    words = found.get("PATH", "").split(":")
    if "PATH" in found and "/usr/sbin" not in words:
        found["PATH"] = ":".join([*words, "/usr/sbin", "/sbin"])
    return found


def _short(word: str) -> str:
    return word if len(word) <= _LONGEST else f"{word[:_LONGEST]}… ({len(word)} characters)"


def _in_child(parent: int) -> None:
    # Runs between fork and exec. The flag is kept across exec of programs without setuid bits.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # Who was killed before that is no parent any more, and nothing would end what we become. One
    # outside of our process namespace is 0.
    if os.getppid() not in (parent, 0):
        os._exit(128 + signal.SIGKILL)


class Child:
    """A program that runs; made by ``start``."""

    def __init__(self, popen: "subprocess.Popen[bytes]", argv: tuple[str, ...]) -> None:
        self._popen = popen
        self.argv = argv
        self.pid = popen.pid
        self.stdin: IO[bytes] | None = popen.stdin
        self.stdout: IO[bytes] | None = popen.stdout
        self.stderr: IO[bytes] | None = popen.stderr

    def poll(self) -> int | None:
        """Tell the exit code, or None while it runs."""
        return self._popen.poll()

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the end; None when it is still running after that time."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self, grace_s: float = 2.0) -> None:
        """Ask the whole tree to end, and kill what has not after the grace."""
        tree = descendants(self.pid)
        if self._popen.poll() is None and grace_s > 0:
            _signal_group(self.pid, signal.SIGTERM)
            self.wait(grace_s)
        self.kill(also=tree)

    def kill(self, also: Sequence[tuple[int, str]] = ()) -> None:
        """Kill the child, its session and everything that descends from it; they are dead then."""
        tree = self.signal_tree(also)
        self._popen.wait()
        # A kill takes its time, and nobody but the system collects what was below the child.
        until = time.monotonic() + _DYING_S
        while any(start_time(pid) == at and not _is_dead(pid) for pid, at in tree):
            if time.monotonic() > until:
                break  # it waits for a disk or a server of files; more cannot be done
            time.sleep(_POLL_S)

    def signal_tree(self, also: Sequence[tuple[int, str]] = ()) -> list[tuple[int, str]]:
        """Send SIGKILL to all that ``kill`` means and list it, without waiting for its end.

        Safe in a signal handler.
        """
        tree = [*also, *descendants(self.pid)]
        _signal_group(self.pid, signal.SIGKILL)
        for pid, started in tree:
            if start_time(pid) == started:
                _signal(pid, signal.SIGKILL)
        return tree


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def start_time(pid: int) -> str:
    """Tell when a process began, in the kernel's own words; nothing for one that is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[19]


def _is_dead(pid: int) -> bool:
    """Tell whether a process is dead, collected or not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def descendants(pid: int) -> list[tuple[int, str]]:
    """List (pid, start time) of all below a process, whatever session they moved to."""
    found: list[tuple[int, str]] = []
    todo = [pid]
    while todo:
        parent = todo.pop()
        try:
            tasks = list(Path(f"/proc/{parent}/task").iterdir())
        except (FileNotFoundError, ProcessLookupError):
            continue
        for task in tasks:
            try:
                children = [int(word) for word in (task / "children").read_text().split()]
            except (FileNotFoundError, ProcessLookupError):
                continue
            found += [(child, start_time(child)) for child in children]
            todo += children
    return found


@contextmanager
def start(
    argv: Sequence[Argument],
    *,
    log: Log,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = subprocess.PIPE,
    stderr: int | IO[bytes] | None = subprocess.PIPE,
    pass_fds: Sequence[int] = (),
    grace_s: float = 2.0,
) -> Iterator[Child]:
    """Run a program for the length of the ``with``; its tree of processes is dead after it.

    Raises Trouble where it cannot be started and Interrupted once ``stop_all`` was called.
    """
    words = tuple(str(word) for word in argv)
    log.detail(f"$ {repeat_line(words, cwd=cwd)}")
    if _stopping.is_set():
        raise Interrupted("stopped before " + words[0])
    try:
        popen = subprocess.Popen(
            words,
            cwd=cwd,
            env=_with_sbin(os.environ if env is None else env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=functools.partial(_in_child, os.getpid()),
        )
    except FileNotFoundError as error:
        missing = words[0] if cwd is None or cwd.is_dir() else str(cwd)
        raise Trouble(f"{missing} is not there", hint="ostci doctor") from error
    except OSError as error:
        raise Trouble(f"{words[0]} cannot be started: {error.strerror}") from error
    child = Child(popen, words)
    with _alive_lock:
        _alive.add(child)
    try:
        yield child
    finally:
        child.terminate(0.0 if _stopping.is_set() else grace_s)
        with _alive_lock:
            _alive.discard(child)
        for pipe in (popen.stdin, popen.stdout, popen.stderr):
            if pipe is not None:
                _close_pipe(pipe)


def _close_pipe(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return  # what was still to be written to a program that ended is of no use to anybody


def run(
    argv: Sequence[Argument],
    *,
    log: Log,
    deadline_s: float = 600.0,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,
    ok: Sequence[int] = (0,),
    on_line: Callable[[str], None] | None = None,
    pass_fds: Sequence[int] = (),
) -> Finished:
    """Run a program to its end.

    Standard output is kept whole, of standard error the last 64 KiB. ``on_line`` is called with
    each line of either as it comes. Raises CommandError for a code not in ``ok`` (``ok=()``
    takes every code), or when ``deadline_s`` seconds were not enough.
    """
    started = time.monotonic()
    pipe_in = subprocess.DEVNULL if input is None else subprocess.PIPE
    with start(argv, log=log, cwd=cwd, env=env, stdin=pipe_in, pass_fds=pass_fds) as child:
        out, err, late = _read_both(child, input, started + deadline_s, on_line)
        left = max(0.1, started + deadline_s - time.monotonic())
        code = None if late else child.wait(left)
        if code is None:
            child.kill()
    finished = Finished(
        argv=child.argv,
        code=-signal.SIGKILL if code is None else code,
        stdout=bytes(out),
        stderr=bytes(err),
        seconds=time.monotonic() - started,
    )
    repeat = repeat_line(argv, cwd=cwd, env=env)
    if _stopping.is_set() and finished.code != 0:
        raise Interrupted(f"stopped during {child.argv[0]}")
    if code is None:
        why = f"{child.argv[0]} did not end within {deadline_s:.0f} s"
        raise CommandError(finished, repeat=repeat, why=why)
    if ok and finished.code not in ok:
        raise CommandError(finished, repeat=repeat)
    return finished


def _read_both(
    child: Child,
    input: bytes | None,
    until: float,
    on_line: Callable[[str], None] | None,
) -> tuple[bytearray, bytearray, bool]:
    """Read both pipes until they close; tell whether the deadline passed before."""
    out, err = bytearray(), bytearray()
    partial: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
    assert child.stdout is not None and child.stderr is not None
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ, 1)
        selector.register(child.stderr, selectors.EVENT_READ, 2)
        rest = memoryview(input or b"")
        if child.stdin is not None:
            os.set_blocking(child.stdin.fileno(), False)
            selector.register(child.stdin, selectors.EVENT_WRITE, 0)
        while selector.get_map():
            now = time.monotonic()
            if now >= until or _stopping.is_set():
                return out, err, True
            ready = selector.select(min(until - now, 0.5))
            if not ready and child.poll() is not None and not _still_open(selector):
                break
            for slot, _ in ready:
                if slot.data == 0:
                    rest = _feed(child, selector, rest)
                    continue
                data = os.read(slot.fd, 1 << 16)
                if not data:
                    selector.unregister(slot.fileobj)
                    continue
                if slot.data == 1:
                    out += data
                else:
                    err += data
                    del err[:-_TAIL]
                if on_line is not None:
                    _tell_lines(partial[slot.data], data, on_line)
    for left in partial.values():
        if left and on_line is not None:
            on_line(left.decode("utf-8", "backslashreplace"))
    return out, err, False


def _still_open(selector: selectors.BaseSelector) -> bool:
    """Tell whether something can still be read though the child has ended.

    A daemon that the program left behind may hold the pipes open for ever; what it writes is
    not waited for.
    """
    return bool(selector.select(0))


def _feed(child: Child, selector: selectors.BaseSelector, rest: memoryview) -> memoryview:
    assert child.stdin is not None
    try:
        rest = rest[os.write(child.stdin.fileno(), rest[: 1 << 16]) :]
    except BrokenPipeError:
        rest = rest[len(rest) :]
    if not rest:
        selector.unregister(child.stdin)
        _close_pipe(child.stdin)
    return rest


def _tell_lines(partial: bytearray, data: bytes, on_line: Callable[[str], None]) -> None:
    partial += data
    *whole, rest = bytes(partial).split(b"\n")
    partial[:] = rest
    for line in whole:
        on_line(line.decode("utf-8", "backslashreplace"))


def is_stopping() -> bool:
    """Tell whether ``stop_all`` was called."""
    return _stopping.is_set()


def stop_all() -> None:
    """Kill every program that runs, and start no more: for Ctrl-C and the end of a cancelled run.

    Takes no lock and waits for nothing, so that a signal handler may call it; the threads that
    wait for those programs then raise Interrupted.
    """
    _stopping.set()
    for child in tuple(_alive):
        child.signal_tree()
