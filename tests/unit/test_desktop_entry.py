# SPDX-License-Identifier: LGPL-2.1-or-later
"""Desktop entries are read as the specification has them, and nothing in one breaks us."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.words.desktop_entry import LARGEST, App, app_name, parse_app

HEAD = "[Desktop Entry]\nType=Application\nName=A\n"


def parse(text: str, *, desktop: str = "weston") -> App:
    return parse_app("a", text.encode(), desktop=desktop)


def argv(command: str, more: str = "") -> tuple[str, ...]:
    found = parse(f"{HEAD}Exec={command}\n{more}")
    assert found.problem == ""
    return found.argv


def test_an_entry_as_debian_has_it() -> None:
    text = (
        "# a comment\n\n[Desktop Entry]\nType=Application\nExec=foot\nIcon=foot\nTerminal=false\n"
        "Categories=System;TerminalEmulator;\nKeywords=shell;prompt;\n\nName=Foot\nName[de]=Fuß\n"
        "GenericName = Terminal\n[Desktop Action new]\nName=New\nExec=foot -N\n"
    )
    assert parse_app("foot", text.encode()) == App(
        name="foot", title="Foot", argv=("foot",), icon="foot"
    )


def test_an_id_is_made_of_the_path() -> None:
    assert app_name("kde/org.kde.x.desktop") == "kde-org.kde.x"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("edit %f", ("edit",)),
        ("edit --file=%f %U x", ("edit", "--file=", "x")),
        ("edit %d%n", ("edit", "")),
        ("edit 100%%", ("edit", "100%")),
        ("edit --title=%c %k", ("edit", "--title=A", "/usr/share/applications/a.desktop")),
        ("edit %i", ("edit",)),
        ('"/opt/my edit" "a \\\\"b\\\\" \\\\$c \\\\\\\\" d', ("/opt/my edit", 'a "b" $c \\', "d")),
        ('env "A B=%%" edit', ("env", "A B=%", "edit")),
        ("edit\\sa", ("edit", "a")),
    ],
)
def test_a_command_becomes_words(command: str, words: tuple[str, ...]) -> None:
    assert argv(command) == words


def test_an_icon_is_handed_over_where_it_is_asked_for() -> None:
    assert argv("edit %i", "Icon=pen\n") == ("edit", "--icon", "pen")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it has no group [Desktop Entry]"),
        ("Name=A\n", "line 1: outside of any group"),
        ("[Other]\nName=A\n", "line 1: its first group is not [Desktop Entry]"),
        ("[Desktop Entry\n", "line 1: neither [GROUP] nor KEY=VALUE"),
        (HEAD + "nonsense\n", "line 4: neither [GROUP] nor KEY=VALUE"),
        (HEAD + "Na me=x\n", "line 4: 'Na me' is no key"),
        (HEAD + "Name=B\n", "line 4: a second Name="),
        (HEAD + "[Desktop Entry]\n", "line 4: a second group [Desktop Entry]"),
        ("[Desktop Entry]\nName=A\nExec=a\n", "Type is none of Application, Link, Directory"),
        (HEAD.replace("Application", "Game"), "line 2: Type is none of Application, Link, "),
        ("[Desktop Entry]\nType=Application\nExec=a\n", "Name is needed"),
        (HEAD, "Exec is needed, the command to run"),
        (HEAD + "Exec=\n", "line 4: Exec is needed, the command to run"),
        (HEAD + "Exec=%f\n", "line 4: Exec names no program"),
        (HEAD + "Exec=A=b c\n", "line 4: Exec names no program"),
        (HEAD + "Exec=a $HOME\n", "line 4: Exec has '$', which has to be quoted"),
        (HEAD + "Exec=a;b\n", "line 4: Exec has ';', which has to be quoted"),
        (HEAD + "Exec=a 'b c'\n", 'line 4: Exec has "\'", which has to be quoted'),
        (HEAD + 'Exec=a "b\n', "line 4: Exec has a quote that does not end"),
        (HEAD + 'Exec=a "b"c\n', "line 4: Exec has a quote that ends within a word"),
        (HEAD + 'Exec=a "$b"\n', "line 4: Exec has '$' within quotes, without a backslash"),
        (HEAD + 'Exec=a "%f"\n', "line 4: Exec has a field code within quotes: '%f'"),
        (HEAD + "Exec=a %q\n", "line 4: Exec has %q, which is no field code"),
        (HEAD + "Exec=a %\n", "line 4: Exec has %, which is no field code"),
        (HEAD + "Exec=a x%F\n", "line 4: Exec has %F within a word"),
        (HEAD + "Exec=a" + " b" * 200 + "\n", "line 4: Exec has more than 100 words"),
        (HEAD + "Exec=a\nTerminal=1\n", "line 5: Terminal is '1', neither true nor false"),
        (HEAD + "Exec=a\nNoDisplay=yes\n", "line 5: NoDisplay is 'yes', neither true nor false"),
        (HEAD + "Exec=a\nIcon=a\\qb\n", "line 5: Icon has the escape \\q, which is none"),
        ("#" * (LARGEST + 1), f"larger than {LARGEST} bytes"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, problem: str) -> None:
    found = parse(text)
    assert found.problem.startswith(problem), found.problem
    assert found.argv == ()


def test_what_is_no_utf8_is_told() -> None:
    assert parse_app("a", HEAD.encode() + b"Exec=\xff\n").problem == "line 4: not UTF-8"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("Hidden=true\n", "Hidden=true: as if it were not there"),
        ("NoDisplay=true\nExec=a\n", "NoDisplay=true: nobody is offered it"),
        ("OnlyShowIn=GNOME;KDE;\nExec=a\n", "OnlyShowIn=GNOME;KDE"),
        ("NotShowIn=weston;\nExec=a\n", "NotShowIn=weston"),
        ("DBusActivatable=true\n", "it is started by D-Bus alone"),
    ],
)
def test_what_nobody_is_offered_is_skipped(more: str, why: str) -> None:
    found = parse(HEAD + more)
    assert (found.skip, found.problem, found.argv) == (why, "", ())


def test_one_that_is_meant_for_this_session_is_started() -> None:
    assert parse(f"{HEAD}OnlyShowIn=GNOME;weston;\nNotShowIn=KDE;\nExec=a\n").argv == ("a",)
    assert parse("[Desktop Entry]\nType=Link\nName=A\nURL=x:\n").skip.startswith("Type=Link")


@given(
    some.binary(max_size=200)
    | some.text(alphabet="[Desktop Entry]\nType=Apliconxec%fUi\"\\$;' #", max_size=150).map(
        lambda text: f"{HEAD}{text}".encode()
    )
)
def test_nothing_breaks_it(data: bytes) -> None:
    found = parse_app("a", data)
    assert sum(map(bool, (found.problem, found.skip, found.argv))) == 1
