# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the end of an X server is told, which ends all that is drawn by it.

``tests/vm/test_x_session.py`` runs it, apart from the other suite of that name: each can end its
session but once.
"""

import pytest

from pipeline.words.symptoms import Cause
from vmtests.bench import Bench
from vmtests.desktop import the_desktop
from vmtests.following import GuestFailed


def test_the_end_of_the_server_is_what_ended_the_session(bench: Bench) -> None:
    desktop = the_desktop(bench)
    desktop.wait_for_frame()
    desktop.machine.succeeds(["sh", "-c", "kill -SEGV $(pidof Xorg)"])
    with pytest.raises(GuestFailed, match=r"^Xorg ended with exit code 134; ") as caught:
        desktop.machine.wait_until(lambda: desktop.check(), "the end", timeout_s=20.0)
    assert caught.value.cause is Cause.SESSION_ENDED
    assert "Caught signal 11 (Segmentation fault)" in caught.value.what
