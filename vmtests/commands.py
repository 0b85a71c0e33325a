# SPDX-License-Identifier: LGPL-2.1-or-later
"""Commands in the guest: the one way in which a test's words reach it, a root shell.

Here is what all verbs of a machine stand on; ``machine.py`` gives it its life.
"""

import shlex
from collections.abc import Sequence

from pipeline.ports.guest import GuestResult, script_of
from pipeline.ports.log import Log
from pipeline.words.boot import BootWatch
from pipeline.words.suite import SuiteParameters
from pipeline.words.symptoms import Cause
from vmtests.evidence import Evidence
from vmtests.following import Following, GuestFailed

DEADLINE_S = 10.0
ANSWER_S = 5.0
"""How long the answer may take to come back once the guest must have killed the script."""
SHELL_S = 3.0
"""How long the guest's shell may take to be there once a test wants it."""


class Commands:
    """Runs commands in a guest that ``Machine`` starts."""

    name: str
    speed: float
    parameters: SuiteParameters
    watch: BootWatch
    """What is known of the newest boot."""
    _evidence: Evidence
    _log: Log
    _following: Following | None
    _programs: dict[str, bool]
    _said: str

    def run(self, argv: Sequence[str], *, timeout_s: float = DEADLINE_S) -> GuestResult:
        """Run a command as root; tells how it ended, well or not."""
        return self._run(f"$ {shlex.join(argv)}", script_of(argv), timeout_s)

    def shell(self, script: str, *, timeout_s: float = DEADLINE_S, title: str = "") -> GuestResult:
        """Run a script by the guest's sh, as root.

        The log calls it ``title``; else what a comment at its top says, or its first command.
        """
        return self._run(title or title_of(script), script, timeout_s)

    def succeeds(self, argv: Sequence[str], *, timeout_s: float = DEADLINE_S) -> str:
        """Run a command that must end well; tells what it printed."""
        done = self.run(argv, timeout_s=timeout_s)
        if done.code != 0:
            raise GuestFailed(f"{shlex.join(argv)} ended with {ending(done)}")
        return done.text

    def fails(self, argv: Sequence[str], *, timeout_s: float = DEADLINE_S) -> str:
        """Run a command that must not end well; tells its errors and what it printed."""
        done = self.run(argv, timeout_s=timeout_s)
        if done.code == 0:
            raise GuestFailed(f"{shlex.join(argv)} ended well, which it should not")
        return f"{done.error_text}\n{done.text}".strip()

    def has(self, program: str) -> bool:
        """Tell whether the guest has a program in its PATH."""
        if program not in self._programs:
            found = self.shell(f"command -v {shlex.quote(program)}")
            self._programs[program] = found.code == 0
        return self._programs[program]

    def note(self, text: str) -> None:
        """Tell a fact in the test's log."""
        self._log.fact(text, about=self.name)

    def is_alive(self) -> bool:
        """Tell whether a guest is there that could still answer."""
        return self.is_there() and self.watch.final is None

    def is_there(self) -> bool:
        """Tell whether a guest is there at all, be it one that has hung."""
        self._catch_up()
        return self._following is not None and self._following.ended is None

    def _run(self, title: str, script: str, timeout_s: float) -> GuestResult:
        title = title[:200]
        with self._log.step(title, about=self.name):
            done = self._ask(title.removeprefix("$ "), script, timeout_s)
            for line in done.error_text.splitlines()[-5:]:
                self._log.detail(line, about=self.name)
            return done

    def _ask(self, title: str, script: str, timeout_s: float, data: bytes = b"") -> GuestResult:
        """Have a script run, with ``data`` as its input, and no word about it in the log."""
        following = self._running()
        seconds = timeout_s * self.speed
        following.send(script, seconds=seconds, ready_s=SHELL_S * self.speed, data=data)
        return following.answer(title, seconds + ANSWER_S * self.speed)

    def _catch_up(self) -> None:
        """Take what has come since somebody last waited for something."""
        if self._following is not None:
            self._following.pump(wait_s=0.0)

    def _running(self) -> Following:
        if self._following is None:
            raise GuestFailed("the machine is not running", cause=Cause.POWERED_OFF)
        return self._following


def title_of(script: str) -> str:
    """Tell what a log calls a script: by its first line that does something, or says what."""
    for line in script.splitlines():
        line = line.strip()
        if line.startswith("# "):
            return line.removeprefix("# ")
        if line and not line.startswith(("#!", "set -")):
            return f"$ {line}"
    return "an empty script"


def ending(done: GuestResult) -> str:
    """Say how a command ended badly, with the last of its words."""
    said = "; ".join(done.error_text.splitlines()[-3:])
    return f"exit code {done.code}: {said}"
