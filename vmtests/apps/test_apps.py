# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each desktop entry of the tree is started in its session: it shows a window, or ends well.

They run one after the other, as the session's user, each in a unit of its own. A picture of each is
kept, and ``apps.json`` has what came of all.
"""

import re
import time

import pytest

from pipeline.words.desktop_entry import App
from pipeline.words.symptoms import Cause
from vmtests.bench import Bench
from vmtests.bench import bench as the_bench
from vmtests.desktop import Desktop, the_desktop
from vmtests.evidence import Evidence
from vmtests.following import GuestFailed
from vmtests.machine import Machine

pytestmark = pytest.mark.cold
"""They need the machine in which the session is, and no other."""
_WINDOW_S = 20.0
_found: list[dict[str, str | float]] = []


@pytest.fixture
def desktop(bench: Bench) -> Desktop:
    """The session; once it is over, what would run in it is skipped."""
    found = the_desktop(bench)
    if _found and found.over():
        pytest.skip(f"the session is over: {found.over()}")
    return found


@pytest.mark.named
@pytest.mark.parametrize("app", the_bench().parameters.apps, ids=lambda app: app.name)
def test_app(app: App, desktop: Desktop, watched: Machine, evidence: Evidence) -> None:
    if app.skip:
        pytest.skip(app.skip)
    if app.problem:
        raise GuestFailed(f"its desktop entry is malformed: {app.problem}")
    row: dict[str, str | float] = {"name": app.name, "title": app.title, "icon": app.icon_file}
    _found.append(row)
    began = time.monotonic()
    try:
        row["state"] = _started(app, desktop, watched)
    except GuestFailed as error:
        row["state"], row["message"] = "failed", error.what
        raise
    finally:
        row["seconds"] = round(time.monotonic() - began, 1)
        evidence.write("apps.json", _found)
    if app.icon_problem:
        row["message"] = app.icon_problem
        evidence.write("apps.json", _found)
        raise GuestFailed(app.icon_problem)


def _started(app: App, desktop: Desktop, machine: Machine) -> str:
    """Start it and tell how it shows that it works; raises GuestFailed where it does not."""
    picture = f"app-{_file(app.name)}"
    before = desktop.glance()
    own = desktop.start(app)
    try:
        found = desktop.wait_for_window(own, timeout_s=_WINDOW_S)
        if found.windows.shown:
            machine.note(f"a window: {found.windows.title or 'without a title'}")
            desktop.wait_for_change(picture, before)
            # What fails at once when it has drawn, fails.
            found = desktop.look(own)
        if found.code:
            how = "with its window there" if found.windows.shown else "without a window"
            said = f": {found.last}" if found.last else ""
            cause = Cause.CORE_DUMP if found.code in (132, 134, 135, 136, 139) else Cause.TEST
            raise GuestFailed(f"it ended with exit code {found.code}, {how}{said}", cause=cause)
    finally:
        if machine.is_alive():
            desktop.stop(own)
    return "window" if found.windows.shown else "exited"


def _file(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:80]
