# SPDX-License-Identifier: LGPL-2.1-or-later
"""The end of a session that GDM began; ``tests/vm/test_gnome.py`` runs it."""

import pytest

from pipeline.words.symptoms import Cause
from vmtests.bench import Bench
from vmtests.desktop import the_desktop
from vmtests.following import GuestFailed


def test_the_end_of_the_shell_ends_what_waits_for_it(bench: Bench) -> None:
    desktop = the_desktop(bench)
    desktop.wait_for_frame()
    # Of the session's user, for the login screen may have one, too. On other signals it first tells
    # where in its JavaScript it is, if it can.
    desktop.machine.succeeds(["pkill", "-KILL", "-u", desktop.uid, "-x", "gnome-shell"])
    told = r"^the session has ended; its last error: systemd: org.gnome.Shell@wayland.service: "
    with pytest.raises(GuestFailed, match=told) as caught:
        desktop.machine.wait_until(lambda: desktop.check(), "the end", timeout_s=60.0)
    assert caught.value.cause is Cause.SESSION_ENDED
