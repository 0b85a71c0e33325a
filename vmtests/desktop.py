# SPDX-License-Identifier: LGPL-2.1-or-later
"""The graphical session of a machine: how it is waited for, and what tests do in it.

Nothing here knows a compositor: logind tells of the session, a socket of the compositor or of the X
server, the screen of what it draws, and ``displays`` whom to ask for windows.
"""

import shlex
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.words.desktop_entry import App
from pipeline.words.journal import UNIT_FAILED, Entry
from pipeline.words.picture import Shows, difference, shows
from pipeline.words.png import NotAPicture, Picture, read_png
from pipeline.words.session import GREETER, SERVER, SPEAKER, Login, SessionSpec, last_word
from pipeline.words.symptoms import Cause
from pipeline.words.wayland_log import LARGEST
from pipeline.words.windows import Windows
from vmtests.bench import Bench
from vmtests.displays import Display, display_of
from vmtests.following import GuestFailed
from vmtests.machine import Machine

SESSION_STARTED = "8d45620c1a4348dbb17410da57c60c66"
SESSION_STOPPED = "3354939424b4456d9802ca8333ed424a"
"""systemd-logind's, see sd-messages.h."""
_PROPERTIES = ("Name", "Type", "Class", "Seat", "Active", "State", "Desktop", "VTNr")
_PLACE = "/run/ostci-apps"
_START_S = 15.0
_MOST_LOOKS = 8
_CHANGE_S = 5.0
_SMALL = 0.002
"""Of a screen: a window has more, a clock or a cursor less."""
_RUN = f"""\
log={_PLACE}/$1.log code={_PLACE}/$1.code
shift
{{
    "$@" 2>&1
    echo $? >"$code.new" && mv "$code.new" "$code"
}} | {{
    (ulimit -f {LARGEST // 512} && exec cat >"$log") 2>/dev/null
    exec cat >/dev/null
}}
"""
"""Runs a program, keeps the beginning of what it says, and lets it say more."""


_AT_MOST = "n=0; until {until} || [ $n -ge 12 ]; do sleep 0.25; n=$((n+1)); done; "
"""Waits in the guest for a few seconds: each question from outside costs it programs' starts."""


@dataclass(frozen=True, kw_only=True)
class Started:
    """What became of a program: ``code`` when it has ended, ``last`` its last own line."""

    windows: Windows
    code: int | None = None
    last: str = ""


class Desktop:
    """The session of one boot."""

    def __init__(self, machine: Machine, spec: SessionSpec) -> None:
        self.machine, self.spec = machine, spec
        self.id = ""
        """logind's number of the session."""
        self.uid = ""
        self.socket = ""
        self._display: Display | None = None
        self._before: dict[str, str] = {}
        self._count = 0

    # How it comes up

    def wait(self) -> None:
        """Wait for the login and for the compositor's socket; raises GuestFailed with the cause."""
        spec, machine = self.spec, self.machine
        # Somebody's patience is not stretched by a slow machine, the session's start is.
        patience_s = spec.delay_s / machine.speed if spec.login is Login.TIMED else 0.0
        what = f"a session of {spec.user}"
        found = machine.wait_until(self._login, what, timeout_s=spec.deadline_s + patience_s)
        self.id = found.get("SESSION_ID")
        machine.mark("session")
        self.uid = machine.succeeds(["id", "-u", spec.user]).strip()
        self._display = display_of(spec, self.uid)
        self.socket = machine.wait_until(
            self._socket, f"{spec.name} to listen", timeout_s=float(spec.deadline_s)
        )
        machine.mark("compositor")

    def wait_for_manager(self) -> None:
        """Wait until somebody tells of windows; those of earlier programs could be anybody's."""
        machine, find = self.machine, self.display.manager
        wait = _AT_MOST.format(until=f'[ -n "$({find})" ]')

        def look() -> bool:
            self.check()
            return bool(machine.shell(f"{wait}{find}", title="look for a window manager").text)

        what = "a window manager that tells of its windows"
        machine.wait_until(look, what, timeout_s=float(self.spec.deadline_s))

    def wait_for_frame(self) -> None:
        """Wait until there is more on the screen than a text console has; keeps the picture.

        Compositors fade in: it is kept when it looks as it did a moment ago, if that comes soon.
        """
        found = [Shows.BLANK]
        seen: list[Picture] = []

        def look() -> bool:
            self.check()
            picture = self.screen()
            found[0] = shows(picture) if picture is not None else Shows.BLANK
            if picture is None or found[0] is not Shows.GRAPHICS:
                return False
            return _settles(seen, picture)

        try:
            self.machine.wait_until(look, "a picture", timeout_s=float(self.spec.deadline_s))
        except GuestFailed as error:
            if error.cause is not Cause.TEST:
                raise
            what = f"the session is up, but the screen shows {found[0]}"
            raise GuestFailed(what, cause=Cause.NO_SESSION) from error
        self.machine.mark("frame")

    def wait_for_change(self, name: str, before: Picture | None) -> None:
        """Keep the picture of that name once it is another than ``before`` and, soon, stays.

        A compositor may be slow to show what a program has drawn, or not do so where something else
        is above it: no failure, but noted.
        """
        seen: list[Picture] = []
        enough = time.monotonic() + _CHANGE_S * self.machine.speed

        def look() -> bool:
            self.check()
            picture = self.screen(name)
            if time.monotonic() >= enough:
                return True
            if picture is None or (before and difference(before, picture).share < _SMALL):
                return False
            return _settles(seen, picture)

        self.machine.wait_until(look, "another picture")
        if not seen:
            self.machine.note("the screen is as it was before")

    def glance(self) -> Picture | None:
        """Look at the screen without keeping what it shows."""
        path = self.machine.screenshot("glance")
        found = _picture(path)
        path.unlink()
        return found

    def screen(self, name: str = "session") -> Picture | None:
        """Look at the screen, which is kept by that name; None for no sane picture."""
        return _picture(self.machine.screenshot(name))

    def check(self) -> None:
        """Raise GuestFailed once the session is over, with what its compositor said last."""
        ended = self.over()
        if ended:
            raise GuestFailed(ended, cause=Cause.SESSION_ENDED)

    def over(self) -> str:
        """Say how the session or its X server ended; nothing while it has not."""
        said: dict[str, list[str]] = {SPEAKER: [], SERVER: []}
        error = ""
        for entry in self.machine.entries():
            if entry.message_id == SESSION_STOPPED and entry.get("SESSION_ID") == self.id:
                return "the session has ended" + (f"; its last error: {error}" if error else "")
            is_error = entry.priority <= 3 or entry.message_id == UNIT_FAILED
            if is_error and self.uid and entry.get("_UID") == self.uid:
                error = f"{entry.speaker}: {entry.message}"[:200]
            if entry.speaker in said:
                before = said[entry.speaker]
                if entry.priority <= 3:
                    last = last_word(before)
                    return entry.message + (f"; it said last: {last}" if last else "")
                before.append(entry.message)
        return ""

    def properties(self) -> dict[str, str]:
        """Tell what logind knows of the session."""
        options = [f"--property={name}" for name in _PROPERTIES]
        shown = self.machine.succeeds(["loginctl", "show-session", *options, "--", self.id])
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)

    def login(self) -> Entry | None:
        """Find the entry with which logind tells of the session."""
        for entry in self.machine.entries():
            if entry.message_id == SESSION_STARTED and entry.get("USER_ID") == self.spec.user:
                return entry
        return None

    def greeter(self) -> Entry | None:
        """Find the entry with which a greeter began to wait for somebody."""
        accounts = self.spec.manager.accounts
        for entry in self.machine.entries():
            is_screen = entry.message_id == SESSION_STARTED and entry.get("USER_ID") in accounts
            if is_screen or entry.speaker == GREETER:
                return entry
        return None

    def _login(self) -> Entry | None:
        self.check()
        for unit in self.spec.manager.units:
            if self.machine.watch.units.get(unit) == "failed":
                raise GuestFailed(f"{unit} has failed", cause=Cause.NO_SESSION)
        return self.login()

    def _socket(self) -> str:
        self.check()
        find = self.display.socket
        wait = _AT_MOST.format(until=f'[ -n "$({find})" ]')
        found = self.machine.shell(f"{wait}{find}", title="look for a socket").text.split()
        return found[0] if found else ""

    # What is done in it

    @property
    def display(self) -> Display:
        assert self._display is not None, "wait() has found whose session it is"
        return self._display

    def start(self, app: App) -> str:
        """Start an application as the session's user; tells what it is called in the guest."""
        self._count += 1
        own = f"app-{self._count}"
        home = f"/var/home/{self.spec.user}"
        runtime = f"/run/user/{self.uid}"
        environment = {
            "HOME": home,
            "USER": self.spec.user,
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": runtime,
            "XDG_SESSION_TYPE": self.spec.type,
            "XDG_CURRENT_DESKTOP": self.spec.name,
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus",
            **self.display.environment(self.socket),
        }
        argv = ["systemd-run", "--quiet", "--collect", f"--unit=ostci-{own}"]
        argv += [f"--uid={self.spec.user}", f"--working-directory={home}"]
        argv += ["--property=TimeoutStopSec=5"]
        argv += [f"--setenv={name}={value}" for name, value in environment.items()]
        argv += ["--", "/bin/sh", f"{_PLACE}/run", own, *app.argv]
        prepare = f"mkdir -p {_PLACE} && chown {self.uid} {_PLACE} && cat >{_PLACE}/run <<'END'\n"
        script = f"{prepare}{_RUN}END\n{self.display.listing}\n{shlex.join(argv)}"
        done = self.machine.shell(script, timeout_s=_START_S, title=f"start {own}")
        if done.code != 0:
            raise GuestFailed(f"{app.name} cannot be started: {done.error_text.strip()[-200:]}")
        self._before[own] = done.text
        return own

    def look(self, own: str) -> Started:
        """Tell what a program that was started has come to."""
        name, before = f"{_PLACE}/{own}", self._before[own]
        news = self.display.has_news(f"{name}.log", before)
        wait = _AT_MOST.format(until=f"[ -e {name}.code ] || {news}")
        # In one line, so that what is in it cannot be taken for the next.
        listing = f"{{ {self.display.listing}; }} | tr '\\n' '\\t'; echo"
        script = f"{wait}cat {name}.code 2>/dev/null || echo -; {listing}; cat {name}.log"
        said = self.machine.shell(script, timeout_s=_START_S, title=f"look at {own}").text
        code, now, text = (*said.split("\n", 2), "", "")[:3]
        last = [line for line in text.splitlines() if line.strip() and not line.startswith("[")]
        return Started(
            windows=self.display.windows(before, now.replace("\t", "\n"), text),
            code=int(code) if code.strip().isdigit() else None,
            last=last[-1].strip()[:200] if last else "",
        )

    def wait_for_window(self, own: str, *, timeout_s: float) -> Started:
        """Wait until a program shows a window or has ended."""
        newest = [Started(windows=Windows())]

        def look() -> bool:
            self.check()
            newest[0] = self.look(own)
            return newest[0].windows.shown or newest[0].code is not None

        try:
            self.machine.wait_until(look, "a window", timeout_s=timeout_s)
        except GuestFailed as error:
            if error.cause is not Cause.TEST:
                raise
            said = newest[0].windows.error or newest[0].last
            why = f"; it said: {said}" if said else ""
            raise GuestFailed(f"no window within {timeout_s:.0f} s{why}") from error
        # What it said last may come after its end.
        return newest[0] if newest[0].code is None else self.look(own)

    def stop(self, own: str) -> None:
        """End a program, with all that it has started."""
        # It may have ended by itself, or be ending: either is fine.
        wait = _AT_MOST.format(until=self.display.is_as_it_was(self._before[own]))
        script = f"systemctl stop ostci-{own}.service; {wait}"
        self.machine.shell(script, timeout_s=_START_S, title=f"stop {own}")


def _settles(seen: list[Picture], picture: Picture) -> bool:
    """Put a picture to those seen before; tell whether it is as the last, or waited for enough."""
    seen.append(picture)
    is_still = len(seen) > 1 and not difference(seen[-2], picture).is_large
    return is_still or len(seen) >= _MOST_LOOKS


def _picture(path: Path) -> Picture | None:
    try:
        return read_png(path.read_bytes())
    except NotAPicture:
        return None  # its size is the guest's choice, and none that a session has


class _Once:
    """The desktop of this process: brought up once, and skipped by all after it has failed."""

    desktop: Desktop | None = None
    why = ""


def the_desktop(bench: Bench) -> Desktop:
    """Bring up the session, once; what goes wrong is told by the first who asks."""
    import pytest

    if _Once.desktop is not None:
        return _Once.desktop
    if _Once.why:
        pytest.skip(f"there is no session: {_Once.why}")
    try:
        _Once.desktop = _brought_up(bench)
    except GuestFailed as error:
        _Once.why = error.what
        raise
    return _Once.desktop


def _brought_up(bench: Bench) -> Desktop:
    parameters = bench.parameters
    spec, compositor = parameters.target.session, parameters.compositor
    assert spec is not None and compositor is not None, "run_suite asks for both"
    if compositor.problem:
        raise GuestFailed(compositor.problem, cause=Cause.NO_SESSION)
    machine = bench.booted()
    if not machine.watch.is_complete:
        outcome = machine.watch.outcome
        raise GuestFailed(
            f"the boot failed: {outcome.message}", cause=outcome.cause or Cause.DEADLINE
        )
    desktop = Desktop(machine, spec)
    desktop.wait()
    if parameters.apps:
        desktop.wait_for_manager()
    return desktop


def seconds_between(first: Entry, second: Entry) -> float:
    """Tell the seconds of the guest's clock from one entry to another."""
    times = [one.get("__MONOTONIC_TIMESTAMP") for one in (first, second)]
    if not all(one.isascii() and one.isdigit() for one in times):
        return 0.0
    return (int(times[1]) - int(times[0])) / 1e6
