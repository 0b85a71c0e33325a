# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a test waits for: each wait ends as soon as it cannot come true any more."""

import re
import shlex
from collections.abc import Callable, Sequence
from typing import TypeVar

from pipeline.ports.guest import script_of
from pipeline.words.journal import Entry
from pipeline.words.symptoms import Cause
from vmtests.commands import DEADLINE_S, Commands, ending
from vmtests.following import Following, GuestFailed

T = TypeVar("T")
# The kernel's own table: no program that would have to be there, nothing that connects. A look
# costs the guest a shell, so that one of them goes on for a while.
_LISTENS = """\
listens() {{
    while read -r _ at _ state _; do
        [ "$state" = 0A ] && [ "${{at##*:}}" = {port:04X} ] && return 0
    done <"$1"
    return 1
}}
for _ in 1 2 3 4 5; do
    for table in /proc/net/tcp /proc/net/tcp6; do
        [ ! -e "$table" ] || ! listens "$table" || exit 0
    done
    sleep 0.1 2>/dev/null || sleep 1
done
exit 1
"""


class Waits(Commands):
    """The verbs that wait."""

    def wait_for_unit(self, unit: str, *, timeout_s: float = 30.0) -> None:
        """Wait until a unit is active; gives up at once when it has failed or nobody starts it."""
        with self._log.step(f"wait for {unit}", about=self.name):
            look = self._is_active if self.has("systemctl") else self._is_started
            self._running().wait(lambda: look(unit), f"{unit} to start", timeout_s * self.speed)

    def wait_for_journal(
        self,
        message: str = "",
        *,
        message_id: str = "",
        unit: str = "",
        timeout_s: float = 30.0,
    ) -> Entry:
        """Wait for an entry, also one that is there already.

        ``message`` is a regular expression that is searched; what is empty is not asked for.
        """
        following = self._running()
        what = " ".join(word for word in (message, message_id, unit) if word)

        def look() -> Entry | None:
            return _find(following, re.compile(message), message_id.lower(), unit)

        with self._log.step(f"wait for a journal entry {what}", about=self.name):
            return following.wait(look, f"a journal entry {what}", timeout_s * self.speed)

    def wait_for_port(self, port: int, *, unit: str = "", timeout_s: float = 20.0) -> None:
        """Wait until something in the guest listens on a TCP port, at whatever address.

        Name the ``unit`` that is to listen, and the wait ends when that has failed, or is inactive
        and nobody starts it.
        """
        if not 0 < port < 65536:
            raise ValueError(f"a port is 1 to 65535, not {port}")
        script = _LISTENS.format(port=port)

        def look() -> bool:
            if self._ask(f"look for port {port}", script, DEADLINE_S).code == 0:
                return True
            if unit:
                is_up = self._is_active if self.has("systemctl") else self._is_started
                is_up(unit)
            return False

        with self._log.step(f"wait for port {port}", about=self.name):
            what = f"port {port} to be listened on"
            self._running().wait(look, what, timeout_s * self.speed)

    def wait_until(self, look: Callable[[], T | None], what: str, *, timeout_s: float = 30.0) -> T:
        """Call ``look`` until it tells something true, which this tells then.

        ``what`` names in the log what is waited for. What ``look`` raises ends the wait.
        """
        with self._log.step(f"wait for {what}", about=self.name):
            return self._running().wait(look, what, timeout_s * self.speed)

    def wait_until_succeeds(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> str:
        """Run a command until it ends well; tells what it printed."""
        title = shlex.join(argv)
        last = ""

        def look() -> tuple[str] | None:
            nonlocal last
            done = self._ask(title[:200], script_of(argv), DEADLINE_S)
            last = ending(done)
            return (done.text,) if done.code == 0 else None

        with self._log.step(f"wait for {title} to succeed", about=self.name):
            try:
                following = self._running()
                return following.wait(look, f"{title} to succeed", timeout_s * self.speed)[0]
            except GuestFailed as error:
                if error.cause is not Cause.TEST or not last:
                    raise
                raise GuestFailed(f"{error.what}; it ended with {last}") from error

    def _is_started(self, unit: str) -> bool:
        if self.watch.units.get(unit) == "failed":
            raise GuestFailed(f"{unit} has failed", cause=Cause.FAILED_UNIT)
        return self.watch.units.get(unit) == "started"

    def _is_active(self, unit: str) -> bool:
        properties = "--property=LoadState,ActiveState,Job"
        shown = self.succeeds(["systemctl", "show", properties, "--", unit])
        state = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        if state.get("ActiveState") == "active":
            return True
        if state.get("ActiveState") == "failed":
            raise GuestFailed(f"{unit} has failed", cause=Cause.FAILED_UNIT)
        if state.get("LoadState") == "not-found":
            raise GuestFailed(f"there is no {unit}")
        if state.get("ActiveState") == "inactive" and state.get("Job", "0") in {"", "0"}:
            raise GuestFailed(f"{unit} is inactive and nobody starts it")
        return False


def _find(
    following: Following, message: re.Pattern[str], message_id: str, unit: str
) -> Entry | None:
    for entry in following.entries:
        if (
            (not message_id or entry.message_id == message_id)
            and (not unit or entry.unit == unit)
            and message.search(entry.message)
        ):
            return entry
    return None
