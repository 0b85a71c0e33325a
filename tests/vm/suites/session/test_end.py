# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is done in a session, and how its end is told.

``tests/vm/test_session.py`` and ``test_x_session.py`` run it: a suite like any other, whose order
matters, since the last test ends the session.
"""

import pytest

from pipeline.words.desktop_entry import App
from pipeline.words.session import SessionType
from pipeline.words.symptoms import Cause
from vmtests.bench import Bench
from vmtests.desktop import Desktop, the_desktop
from vmtests.following import GuestFailed

TERMINALS = {SessionType.WAYLAND: ("foot",), SessionType.X11: ("xterm", "-e")}


@pytest.fixture
def desktop(bench: Bench) -> Desktop:
    return the_desktop(bench)


def test_what_is_typed_arrives_in_a_window(desktop: Desktop) -> None:
    desktop.wait_for_frame()
    script = "read -r word; echo $word >$HOME/word"
    terminal = TERMINALS[desktop.spec.type]
    own = desktop.start(App(name="terminal", argv=(*terminal, "sh", "-c", script)))
    assert desktop.wait_for_window(own, timeout_s=20.0).windows.shown
    desktop.machine.send_text("Hello_1\n")
    read = "cat /var/home/testuser/word 2>/dev/null"
    typed = desktop.machine.wait_until(lambda: desktop.machine.shell(read).text, "a word")
    assert typed == "Hello_1"


def test_a_program_that_ends_badly_is_told_with_what_it_said(desktop: Desktop) -> None:
    own = desktop.start(App(name="bad", argv=("sh", "-c", "echo it is broken; exit 3")))
    found = desktop.wait_for_window(own, timeout_s=20.0)
    assert (found.code, found.last, found.windows.shown) == (3, "it is broken", False)


def test_a_program_that_talks_without_end_is_cut_and_stopped(desktop: Desktop) -> None:
    own = desktop.start(App(name="loud", argv=("yes", "loud")))
    size = f"stat -c %s /run/ostci-apps/{own}.log"
    cut = desktop.machine.wait_until(
        lambda: int(desktop.machine.shell(size).text or 0) >= 1024**2, "a megabyte"
    )
    assert cut
    assert int(desktop.machine.shell(size).text) == 1024**2
    desktop.stop(own)
    assert desktop.machine.shell("pidof yes").code == 1


def test_the_end_of_the_compositor_ends_what_waits_for_it(desktop: Desktop) -> None:
    desktop.check()
    name = desktop.spec.name
    desktop.machine.succeeds(["sh", "-c", f"kill -SEGV $(pidof {name})"])
    with pytest.raises(GuestFailed, match=rf"^{name} ended with exit code 139; ") as caught:
        desktop.machine.wait_until(lambda: desktop.check(), "the end", timeout_s=20.0)
    assert caught.value.cause is Cause.SESSION_ENDED
