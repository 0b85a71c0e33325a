# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci up``: bring up a Buildbot master and its worker, and keep them up.

What dies is started again, later and later while it keeps dying. Nothing is lost when any of the
three is killed: pushes are in the ledger, and what was under way is started again.
"""

import argparse
import os
import select
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from pipeline.cli.house import House
from pipeline.cli.open import open_house
from pipeline.ports import process
from pipeline.ports.files import lock
from pipeline.ports.log import Log
from pipeline.ports.master_home import (
    Home,
    answers,
    check_free,
    environment,
    free_port,
    prepare,
    twistd,
)
from pipeline.ports.master_settings import DOCK_PORT
from pipeline.ports.static_http import parse_address
from pipeline.ports.worker_home import WorkerHome
from pipeline.ports.worker_user import starts_worker
from pipeline.words.errors import EXIT_PASSED, Trouble

_GRACE_S = 20.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_WELL_S = 60.0
"""What ran so long had started well: when it dies, it is started again at once."""
_START_S = 120.0
_TAIL_LINES = 15
_OWN = "it is started by a unit of its own (ostci worker --name local)"


class Kept:
    """A program that is started again whenever it ends."""

    def __init__(
        self, name: str, home: Home | WorkerHome, log: Log, *, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.child: process.Child | None = None
        self.due = 0.0
        self._home = home
        self._env = env
        self._log = log
        self._stack = ExitStack()
        self._pause_s = _FIRST_PAUSE_S
        self._started = 0.0

    def start_when_due(self) -> None:
        """Start it, unless it runs or its pause is not over."""
        if self.child is not None or time.monotonic() < self.due:
            return
        argv = self._home.argv(self.name)
        place = getattr(self._home, self.name)
        self._started = time.monotonic()
        self.child = self._stack.enter_context(
            process.start(
                argv,
                log=self._log,
                cwd=place,
                env=self._env or environment(),
                stdout=None,
                stderr=None,
                grace_s=_GRACE_S,
            )
        )
        self._log.fact(f"{self.name} started, process {self.child.pid}")

    def look(self) -> None:
        """Take notice of its end, and settle when it is started again."""
        if self.child is None or (code := self.child.poll()) is None:
            return
        self._stack.close()
        self.child = None
        if time.monotonic() - self._started > _WELL_S:
            self._pause_s = _FIRST_PAUSE_S
        self.due = time.monotonic() + self._pause_s
        words = f"{self.name} ended with {process.describe_code(code)}"
        again = f"it is started again in {self._pause_s:.0f} s"
        self._log.warning(f"{words}; {again}; {self.log_path} ends with\n{self.last_lines}")
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def wait(self, at_most_s: float) -> None:
        """Wait until it ends, its pause is over, or the time is."""
        _wait([self], at_most_s)

    def stop(self) -> None:
        """End it, with time to put its work back into the queue."""
        self._stack.close()

    @property
    def log_path(self) -> Path:
        """Its own log."""
        place: Path = getattr(self._home, self.name)
        return place / "twistd.log"

    @property
    def last_lines(self) -> str:
        """The end of its log."""
        if not self.log_path.is_file():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-_TAIL_LINES:])


def do_up(options: argparse.Namespace) -> int:
    """Bring up master and worker, and keep them up until somebody stops it."""
    twistd()
    house = open_house(options)
    _ = house.manifest  # a wrong one is told before anything is started
    root = house.workdir.root
    place: Path = (options.dir or root / "buildbot").resolve()
    port, worker_port = (given or free_port() for given in (options.port, options.worker_port))
    dock_port = DOCK_PORT if options.worker_port else 0
    if options.dock_port is not None:
        dock_port = options.dock_port
    place.mkdir(parents=True, exist_ok=True)
    with lock(place / "up.lock", what="ostci up", wait_s=0), gently_stopped():
        with house.log.step("prepare"):
            home = prepare(
                place,
                work=root,
                port=port,
                worker_port=worker_port,
                dock_port=dock_port,
                log=house.log,
            )
        # Else one would answer that is not ours, and ours would be started again for ever.
        check_free(port, hint="ostci up --port 0")
        check_free(worker_port, hint="ostci up --worker-port 0")
        if home.settings.remote.local is not None:
            _, dock_port = parse_address(home.settings.remote.local_dock)
            check_free(dock_port, hint="ostci up --dock-port 0")
        keep_up(home, house)
    return EXIT_PASSED


@contextmanager
def gently_stopped() -> Iterator[None]:
    """Let Ctrl-C and TERM end the ``with`` without killing first: work is put back."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def keep_up(home: Home, house: House) -> None:
    """Start both and start again what ends, until interrupted."""
    kept = [Kept(name, home, house.log) for name in home.programs]
    told = False
    deadline = time.monotonic() + _START_S
    try:
        while True:
            for one in kept:
                one.look()
                one.start_when_due()
            if not told and answers(home.settings.port):
                told = True
                _tell(home)
            if not told and time.monotonic() > deadline:
                raise Trouble(
                    f"the master does not answer after {_START_S:.0f} s:\n{kept[0].last_lines}",
                    where=str(kept[0].log_path),
                )
            _wait(kept, 0.2 if not told else None)
    finally:
        # The master first: it puts what its worker does back into the queue.
        for one in kept:
            one.stop()


def _wait(kept: Sequence[Kept], at_most_s: float | None) -> None:
    """Wait until one ends, a pause is over, or the time is."""
    pauses = [max(0.0, one.due - time.monotonic()) for one in kept if one.child is None]
    times = [*pauses, *([at_most_s] if at_most_s is not None else [])]
    handles = [os.pidfd_open(one.child.pid) for one in kept if one.child is not None]
    try:
        select.select(handles, [], [], min(times) if times else None)
    finally:
        for handle in handles:
            os.close(handle)


def _tell(home: Home) -> None:
    settings = home.settings
    print(f"Buildbot          {settings.url}")
    print(f"work directory    {settings.workdir.root}")
    hooks = ", ".join(f"{settings.url}change_hook/{kind}" for kind in settings.hooks)
    if hooks:
        print(f"push hooks        {hooks}")
    remote = settings.remote
    if settings.worker_user:
        how = f"logs to {home.builder}/twistd.log"
        print(
            f"worker user       {settings.worker_user}: {how if starts_worker(settings) else _OWN}"
        )
    elif home.shared:
        print(f"worker user       none: {home.shared}")
    if remote.others:
        names = ", ".join(one.name for one in remote.others)
        print(f"remote workers    {names}: at {remote.listen}, from {remote.dock_url}")
    print(f"logs              {home.master}/twistd.log, {home.worker}/twistd.log")
    print("stop it with Ctrl-C", flush=True)
