# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a program told its compositor says whether it has shown a window."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.words.wayland_log import windows_of
from pipeline.words.windows import Windows

# As weston-flower of Debian 12 says it, shortened.
LINES = """\
[ 250431.022]  -> wl_display@1.get_registry(new id wl_registry@2)
[ 250431.022] wl_registry@2.global(1, "wl_compositor", 4)
[ 250431.022]  -> wl_compositor@4.create_surface(new id wl_surface@19)
[ 250431.022]  -> xdg_wm_base@13.get_xdg_surface(new id xdg_surface@20, wl_surface@19)
[ 250431.022]  -> xdg_surface@20.get_toplevel(new id xdg_toplevel@21)
[ 250431.022]  -> xdg_toplevel@21.set_title("Flower")
[ 250431.022]  -> wl_surface@19.commit()
[ 250431.022] xdg_toplevel@21.configure(0, 0, array[0])
[ 250431.022] xdg_surface@20.configure(4)
[ 250431.022]  -> xdg_surface@20.ack_configure(4)
[ 250431.022]  -> wl_surface@19.attach(wl_buffer@23, 0, 0)
[ 250431.022]  -> wl_surface@19.damage(0, 0, 200, 200)
[ 250431.022]  -> wl_surface@19.commit()
""".splitlines()
SHOWN = Windows(shown=True, title="Flower")


def of(lines: list[str]) -> Windows:
    return windows_of("\n".join(lines))


def test_a_window_is_shown_with_its_last_step_and_not_before() -> None:
    assert of(LINES) == SHOWN
    for end in range(len(LINES)):
        assert not of(LINES[:end]).shown, end


@pytest.mark.parametrize("left_out", [3, 4, 9, 10])
def test_no_step_of_it_can_be_left_out(left_out: int) -> None:
    assert not of([line for at, line in enumerate(LINES) if at != left_out]).shown


def test_a_newer_library_writes_it_otherwise() -> None:
    newer = [
        line.replace("@", "#").replace("] ", "] {Default Queue} ", 1).replace(".022", ":022")
        for line in LINES
    ]
    assert of(newer) == SHOWN


def test_an_empty_surface_shows_nothing() -> None:
    lines = [line.replace("wl_buffer@23", "nil") for line in LINES]
    assert not of(lines).shown


def test_another_surface_of_a_program_is_no_window() -> None:
    lines = [line.replace("wl_surface@19.attach", "wl_surface@30.attach") for line in LINES]
    lines = [*lines, "[ 1.000]  -> wl_surface@30.commit()"]
    assert not of(lines).shown


def test_what_the_compositor_refused_is_told() -> None:
    found = of([*LINES[:7], '[ 1.000] wl_display@1.error(xdg_surface@20, 3, "no buffer")'])
    assert found.error == 'xdg_surface@20, 3, "no buffer"'


def test_other_lines_are_passed_over() -> None:
    other = ["warning: it is cold", "[ 1.0] hello@x.y(", "[12.5] wl_surface@19.commit()" * 400]
    mixed = [part for line in LINES for part in (*other, line)]
    assert of(mixed) == SHOWN


@given(some.text(max_size=200) | some.permutations(LINES).map("\n".join))
def test_nothing_breaks_it(text: str) -> None:
    windows_of(text)
