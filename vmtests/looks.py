# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a test sees of a guest: units, core dumps, deployments, its screen, its last words.

What the journal tells is taken from there: nothing is started in the guest for it.
"""

import re
import time
from pathlib import Path

from pipeline.ports.domain import Domain
from pipeline.stages.disking.boot_files import silent_on
from pipeline.words.guest_state import (
    CoreDump,
    Deployment,
    core_dumps,
    parse_coredumpctl,
    parse_status,
)
from pipeline.words.journal import Entry
from pipeline.words.keyboard import keys_of
from pipeline.words.symptoms import Cause, Symptom
from vmtests.commands import SHELL_S, Commands
from vmtests.following import GuestFailed

_DEPLOYMENT = re.compile(r"/ostree/deploy/[^/]+/deploy/([0-9a-f]{64})\.\d+$")


class Looks(Commands):
    """The verbs that look."""

    @property
    def domain(self) -> Domain | None:
        """libvirt's object, while there is one."""
        return self._following.domain if self._following is not None else None

    def failed_units(self) -> tuple[str, ...]:
        """List the units that have failed and did not start again, as the journal tells.

        Left out are those whose failure is among the manifest's known messages.
        Nothing is started in the guest for it. A failure that somebody has reset counts still;
        ``systemctl_failed`` has systemd's own view.
        """
        self._catch_up()
        failed = {unit for unit, state in self.watch.units.items() if state == "failed"}
        return tuple(sorted(failed - self.watch.excused))

    def silent_units(self) -> tuple[str, ...]:
        """List the units whose failure the journal would not tell; no tree needs to have any."""
        return silent_on(Path(self.parameters.disk.path))

    def systemctl_failed(self) -> tuple[str, ...]:
        """List the units that systemd in the guest calls failed now; takes a program's start."""
        options = ["--failed", "--plain", "--no-legend", "--no-pager"]
        shown = self.succeeds(["systemctl", "list-units", *options])
        return tuple(sorted(line.split()[0] for line in shown.splitlines() if line.split()))

    def coredumps(self) -> tuple[CoreDump, ...]:
        """List what has dumped core or died of a fault: program, signal and pid, oldest first.

        The journal of this boot tells it; where the guest has coredumpctl, earlier boots, too.
        """
        self._catch_up()
        found = {dump.pid: dump for dump in core_dumps(self._running().entries)}
        if self.has("coredumpctl"):
            # It ends with 1 where there are none.
            shown = self.run(["coredumpctl", "list", "--json=short", "--no-pager", "--quiet"])
            earlier = {dump.pid: dump for dump in parse_coredumpctl(shown.text)}
            found = {**earlier, **found}
        return tuple(found.values())

    def booted_commit(self) -> str:
        """Tell the commit of the deployment that is the guest's root; raises GuestFailed for none.

        The kernel tells it: a deployment is a directory that is mounted as the root.
        """
        root = self._running().root(SHELL_S * self.speed)
        found = _DEPLOYMENT.search(root)
        if found is None:
            raise GuestFailed(
                f"the guest's root is no deployment: {root or 'nothing'} is mounted there",
                cause=Cause.WRONG_COMMIT,
            )
        return found[1]

    def deployments(self) -> tuple[Deployment, ...]:
        """List the deployments, as ``ostree admin status`` in the guest does."""
        return parse_status(self.run_ostree_status())

    def ostree_status(self) -> tuple[str, ...]:
        """List the lines of ``ostree admin status``; the booted deployment's starts with ``*``."""
        return tuple(line.strip() for line in self.run_ostree_status().splitlines())

    def run_ostree_status(self) -> str:
        """Tell what ``ostree admin status`` prints."""
        return self.succeeds(["ostree", "admin", "status"])

    def screenshot(self, name: str = "test") -> Path:
        """Write what the screen shows into the evidence; tells the file."""
        path = self._evidence.directory / f"screenshot-{name}.png"
        self._running().domain.screenshot(path)
        return path

    def send_keys(self, *keys: str, hold_ms: int = 100) -> None:
        """Press keys one after the other, each a key name of QEMU or a chord as ``ctrl-alt-f2``."""
        with self._log.step(f"press {' '.join(keys)}", about=self.name):
            following = self._running()
            following.give_up_if_lost()
            following.domain.send_keys(keys, hold_ms=hold_ms)

    def send_text(self, text: str) -> None:
        """Type a text on a US keyboard."""
        self.send_keys(*keys_of(text))

    def entries(self) -> tuple[Entry, ...]:
        """List what the journal has told so far, oldest first."""
        self._catch_up()
        return tuple(self._following.entries) if self._following is not None else ()

    def mark(self, name: str) -> None:
        """Note a milestone of the boot; it is among the timings as ``NAME_s``."""
        domain = self._running().domain
        self.watch.marks.setdefault(name, time.monotonic() - domain.started)

    def symptoms(self, *causes: Cause) -> tuple[Symptom, ...]:
        """List what was seen that a clean boot does not show, of these causes."""
        self._catch_up()
        return tuple(one for one in self.watch.symptoms if one.cause in causes)

    def console(self) -> str:
        """Tell the last lines of the console."""
        return self._running().console()

    def last_words(self) -> str:
        """Tell the last lines of console and journal, as a failure shows them."""
        return self._following.last_words() if self._following is not None else self._said
