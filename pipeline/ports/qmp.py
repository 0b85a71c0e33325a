# SPDX-License-Identifier: LGPL-2.1-or-later
"""Talk to a running QEMU over its machine protocol (QMP), without knowing what it runs.

``qemu.qmp`` is asyncio; here it runs in a thread of its own and looks like plain calls with a
deadline. Events are handed on as they come, in the order in which QEMU sent them.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError, Runstate

from pipeline.words.errors import Trouble

CONNECT_S = 20.0
"""How long a socket may take to answer; QEMU makes it before anything runs."""
COMMAND_S = 20.0
FILE_S = 120.0
"""What takes a file begins with it; being late must not look like a bad file."""
_RETRY_S = 0.02
# The package writes what it also raises, each try to connect too.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, kw_only=True)
class QmpEvent:
    """An event as QEMU sent it; ``time`` is this machine's monotonic clock."""

    name: str
    data: Mapping[str, Any] = field(default_factory=dict)
    time: float = 0.0


class _Tap(EventListener):
    """Hand each event on where it is read: none is left in a queue when QEMU is gone."""

    def __init__(self, tell: Callable[[QmpEvent], None]) -> None:
        super().__init__()
        self._tell = tell

    async def put(self, event: Any) -> None:
        data = event.get("data", {})
        self._tell(QmpEvent(name=str(event["event"]), data=data, time=time.monotonic()))


class Monitor:
    """A connection to QEMU; made by ``connect``."""

    def __init__(self, name: str, on_event: Callable[[QmpEvent], None] | None) -> None:
        self.name = name
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qmp", daemon=True)
        self._thread.start()
        self._client = QMPClient(name)
        self._gone = threading.Event()
        if on_event is not None:
            self._client.register_listener(_Tap(on_event))

    def execute(self, command: str, *, deadline_s: float = COMMAND_S, **arguments: Any) -> Any:
        """Give a command and tell its answer; an underscore in an option stands for a hyphen.

        Raises Trouble when QEMU refuses, is gone, or does not answer within the deadline.
        """
        given = {key.replace("_", "-"): value for key, value in arguments.items()}
        if self._gone.is_set():
            raise self._is_gone(command)
        try:
            return self._wait(self._client.execute(command, given or None), deadline_s)
        except LateError as error:
            what = f"QEMU did not answer {command} within {deadline_s:g} s"
            raise Trouble(what, where=self.name) from error
        except ExecuteError as error:
            raise Trouble(f"QEMU refused {command}: {error}", where=self.name) from error
        except (QMPError, EOFError, OSError) as error:
            raise self._is_gone(command) from error

    def send_file(self, name: str, handle: int) -> None:
        """Give QEMU an open file, which its commands then know as ``fd:NAME``; raises Trouble."""

        async def give() -> None:
            # It goes out with the next bytes that are written, which is the command.
            self._client.send_fd_scm(handle)
            await self._client.execute("getfd", {"fdname": name})

        try:
            self._wait(give(), FILE_S)
        except ExecuteError as error:
            raise Trouble(f"QEMU took no file: {error}", where=self.name) from error
        except (QMPError, EOFError, OSError, LateError) as error:
            raise self._is_gone("take a file") from error

    def screendump(self, path: Path, *, kind: str = "png", deadline_s: float = COMMAND_S) -> None:
        """Let QEMU write what its screen shows as PNG or PPM, with the rights that QEMU has."""
        self.execute("screendump", filename=str(path), format=kind, deadline_s=deadline_s)

    def is_gone(self) -> bool:
        """Tell whether QEMU closed the connection, after its last event was handed on."""
        return self._gone.is_set()

    def wait_gone(self, timeout_s: float) -> bool:
        """Wait until QEMU has closed the connection."""
        return self._gone.wait(timeout_s)

    def _is_gone(self, command: str) -> Trouble:
        return Trouble(f"QEMU is gone, it cannot do {command}", where=self.name)

    def _wait(self, work: Any, timeout_s: float | None) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except LateError:
            future.cancel()
            raise

    def _open(self, path: Path, is_alive: Callable[[], bool], until: float) -> None:
        while True:
            left = max(0.1, until - time.monotonic())
            try:
                self._wait(self._client.connect(str(path)), left)
                break
            except (QMPError, EOFError, OSError, LateError) as error:
                if not is_alive():
                    raise self._is_gone("connect") from error
                if time.monotonic() >= until:
                    what = f"QEMU does not answer on {path}: {error}"
                    raise Trouble(what, where=self.name) from error
            threading.Event().wait(_RETRY_S)
        asyncio.run_coroutine_threadsafe(self._watch(), self._loop)

    async def _watch(self) -> None:
        try:
            while self._client.runstate == Runstate.RUNNING:
                await self._client.runstate_changed()
            await self._end()
        finally:
            self._gone.set()

    async def _end(self) -> None:
        try:
            await self._client.disconnect()
        except (QMPError, EOFError, OSError):
            return  # that QEMU hung up is what this waits for

    def _close(self) -> None:
        try:
            self._wait(self._end(), 5.0)
        except LateError:
            return  # the thread is a daemon: it ends with the process
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5.0)
            self._gone.set()
            if not self._thread.is_alive():
                self._loop.close()


@contextmanager
def connect(
    path: Path,
    *,
    name: str = "",
    is_alive: Callable[[], bool] = lambda: True,
    on_event: Callable[[QmpEvent], None] | None = None,
    deadline_s: float = CONNECT_S,
) -> Iterator[Monitor]:
    """Connect to QEMU's socket, again and again until it answers or QEMU is no longer alive.

    ``on_event`` is called in another thread and must be quick. Raises Trouble.
    """
    monitor = Monitor(name or path.stem, on_event)
    try:
        monitor._open(path, is_alive, time.monotonic() + deadline_s)
        yield monitor
    finally:
        monitor._close()
