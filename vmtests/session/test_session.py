# SPDX-License-Identifier: LGPL-2.1-or-later
"""Somebody is logged in as the target says, and sees something that stays.

What the manifest says below ``session`` is what these tests go by: whose session, which one, how
one gets in.
"""

import pytest

from pipeline.words.session import Login
from pipeline.words.symptoms import Cause
from vmtests.bench import Bench
from vmtests.desktop import Desktop, seconds_between, the_desktop
from vmtests.following import GuestFailed


@pytest.fixture
def desktop(bench: Bench) -> Desktop:
    """The session; the test that asks first waits for it, and says what was wrong."""
    return the_desktop(bench)


def test_the_session_comes_up(desktop: Desktop) -> None:
    for name, seconds in desktop.machine.watch.marks.items():
        desktop.machine.note(f"{name} after {seconds:.1f} s")


def test_a_picture_is_on_the_screen(desktop: Desktop) -> None:
    desktop.wait_for_frame()


def test_it_is_the_session_that_was_asked_for(desktop: Desktop) -> None:
    found = desktop.properties()
    desktop.machine.note(", ".join(f"{name}={value}" for name, value in found.items()))
    spec = desktop.spec
    wanted = {"Name": spec.user, "Type": spec.type, "Class": "user", "Active": "yes"}
    wrong = {
        name: found.get(name, "") for name, value in wanted.items() if found.get(name) != value
    }
    if wrong:
        told = ", ".join(f"{name}={value}, not {wanted[name]}" for name, value in wrong.items())
        raise GuestFailed(f"logind says of it: {told}", cause=Cause.NO_SESSION)


def test_one_gets_in_as_was_asked_for(desktop: Desktop) -> None:
    greeter, login = desktop.greeter(), desktop.login()
    assert login is not None, "the session was there"
    if desktop.spec.login is Login.AUTOMATIC:
        assert greeter is None, "a greeter was shown before the automatic login"
        return
    assert greeter is not None, "no greeter was shown before the timed login"
    seconds = seconds_between(greeter, login)
    desktop.machine.note(f"the greeter waited for {seconds:.1f} s")
    assert seconds >= desktop.spec.delay_s, (
        f"the login came after {seconds:.1f} s, not {desktop.spec.delay_s}"
    )


def test_the_session_stays(desktop: Desktop) -> None:
    desktop.check()
    found = desktop.machine.symptoms(Cause.CORE_DUMP, Cause.OOM_KILL, Cause.OOPS)
    if found:
        raise GuestFailed(found[0].message, cause=found[0].cause)
    state = desktop.properties()
    if state.get("State") not in ("active", "online"):
        what = f"the session is {state.get('State') or 'gone'}"
        raise GuestFailed(what, cause=Cause.SESSION_ENDED)
