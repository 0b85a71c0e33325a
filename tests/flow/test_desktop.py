# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a tree has for a graphical session is read out of its commit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.stages.test import TestRequest, run_suite
from pipeline.stages.testing.desktop import Desktop, desktop_of
from pipeline.words.errors import BadInput
from pipeline.words.manifest import Target
from pipeline.words.refs import Commit
from pipeline.words.session import LoginManager, SessionSpec, SessionType
from pipeline.words.tree import Disk, Tree
from pipeline.words.verdict import Verdict

SPEC = SessionSpec(name="weston")
X = SessionSpec(name="twm", type=SessionType.X11)
BY_GDM = SessionSpec(name="weston", manager=LoginManager.GDM)
TWM = "usr/share/xsessions/twm.desktop"
TOP = "usr/share/applications/top.desktop"
NO_XPROP = "the tree has no xprop, which tells of windows (Debian: x11-utils)"
ENTRY = "[Desktop Entry]\nType=Application\nName=A\nExec={exec}\n{more}"
INDEX = "[Icon Theme]\nDirectories=apps\n[apps]\nSize=48\n"
Look = Callable[..., Desktop]


def entry(command: str, more: str = "") -> str:
    return ENTRY.format(exec=command, more=more)


@pytest.fixture
def look(tmp_path: Path, log: Log) -> Look:
    """Commit files and look at them."""

    def look(
        files: dict[str, str], *, suite: str = "apps", only: str = "", spec: SessionSpec = SPEC
    ) -> Desktop:
        repo, commit = committed(tmp_path, files, log)
        return desktop_of(repo, commit, spec, suite=suite, only=only)

    return look


def committed(tmp_path: Path, files: dict[str, str], log: Log) -> tuple[Repo, Commit]:
    root = tmp_path / "root"
    for path, text in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            place.symlink_to(text.removeprefix("-> "))
        else:
            place.write_text(text)
    (root / "usr").mkdir(parents=True, exist_ok=True)
    repo = Repo(tmp_path / "repo", log=log).create(Mode.BARE_USER)
    return repo, repo.commit_dir(root, subject="desk")


def test_each_entry_is_an_application(look: Look) -> None:
    found = look(
        {
            "usr/share/applications/b.desktop": entry("b %U"),
            "usr/share/applications/kde/a.desktop": entry("a"),
            "usr/share/applications/bad.desktop": "nonsense",
            "usr/share/applications/gone.desktop": "-> /nowhere",
            "usr/share/applications/link.desktop": "-> kde/a.desktop",
            "usr/share/applications/mimeinfo.cache": "[MIME Cache]",
        }
    )
    assert [(app.name, app.argv, app.problem) for app in found.apps] == [
        ("b", ("b",), ""),
        ("bad", (), "line 1: neither [GROUP] nor KEY=VALUE"),
        ("gone", (), "it is a link to what is not there"),
        ("kde-a", ("a",), ""),
        ("link", ("a",), ""),
    ]


def test_programs_are_looked_for_in_the_tree(look: Look) -> None:
    apps = "usr/share/applications"
    files = {
        f"{apps}/there.desktop": entry("x", "TryExec=there\n"),
        f"{apps}/path.desktop": entry("x", "TryExec=/bin/there\n"),
        f"{apps}/gone.desktop": entry("x", "TryExec=gone\n"),
        f"{apps}/top.desktop": entry("top -d 1", "Terminal=true\n"),
        "usr/bin/there": "",
        "bin": "-> usr/bin",
    }
    found = {app.name: app for app in look(files).apps}
    assert found["there"].skip == found["path"].skip == ""
    assert found["gone"].skip == "TryExec=gone, which the tree has not"
    assert found["top"].skip == "it runs in a terminal, and there is no foot"


def test_what_is_for_a_terminal_runs_in_one(look: Look) -> None:
    files = {
        "usr/share/applications/top.desktop": entry("top -d 1", "Terminal=true\n"),
        "usr/bin/foot": "",
    }
    assert look(files).apps[0].argv == ("foot", "top", "-d", "1")


@pytest.mark.parametrize(
    ("icon", "file", "problem"),
    [
        ("pen", "usr/share/icons/hicolor/apps/pen.svg", ""),
        ("link", "usr/share/icons/hicolor/apps/link.svg", ""),
        ("/usr/lib/x/y.svg", "usr/lib/x/y.svg", ""),
        ("none", "", "its icon none is in no theme"),
        ("gone", "", "its icon gone is not there"),
        ("/usr/none.png", "", "its icon /usr/none.png is not there"),
        (
            "text",
            "usr/share/icons/hicolor/apps/text.png",
            "its icon /usr/share/icons/hicolor/apps/text.png does not hold what .png says",
        ),
    ],
)
def test_an_icon_is_found_and_looked_into(look: Look, icon: str, file: str, problem: str) -> None:
    hicolor = "usr/share/icons/hicolor"
    files = {
        "usr/share/applications/a.desktop": entry("a", f"Icon={icon}\n"),
        f"{hicolor}/index.theme": INDEX,
        f"{hicolor}/apps/pen.svg": "<svg/>",
        f"{hicolor}/apps/link.svg": "-> pen.svg",
        f"{hicolor}/apps/gone.svg": "-> none.svg",
        f"{hicolor}/apps/text.png": "text",
        "usr/lib/x/y.svg": "<svg/>",
    }
    [app] = look(files).apps
    assert (app.icon_file, app.icon_problem) == (file, problem)


def test_one_of_them_is_looked_at_alone(look: Look) -> None:
    files = {f"usr/share/applications/{name}.desktop": entry(name) for name in ("one", "two")}
    assert [app.name for app in look(files, only="two").apps] == ["two"]
    with pytest.raises(BadInput, match="the tree has no application twoo") as caught:
        look(files, only="twoo")
    assert caught.value.hint == "did you mean apps/two?"


def test_a_session_that_is_not_there_is_told(look: Look) -> None:
    place = "usr/share/wayland-sessions/weston.desktop"
    assert look({}, suite="session").compositor.problem == f"the tree has no /{place}"


def test_a_session_is_read_and_what_is_wrong_with_it(look: Look) -> None:
    place = "usr/share/wayland-sessions/weston.desktop"
    files = {place: entry("weston"), "usr/share/applications/a.desktop": entry("a")}
    told = "the tree has no greetd, and no other login manager that is known here"
    assert look(files).compositor.problem == told
    found = look({"usr/sbin/greetd": ""})
    assert (found.compositor.argv, found.compositor.problem) == (("weston",), "")
    assert len(found.apps) == 1
    assert look({}, suite="session").apps == ()


@pytest.mark.parametrize(
    ("program", "other", "told"),
    [
        ("greetd", BY_GDM, "the tree has no gdm, it has greetd: session: {manager: greetd}"),
        ("gdm3", SPEC, "the tree has no greetd, it has gdm: session: {manager: gdm}"),
        ("gdm", SPEC, "the tree has no greetd, it has gdm: session: {manager: gdm}"),
    ],
)
def test_a_tree_with_another_login_manager_is_told_which(
    look: Look, program: str, other: SessionSpec, told: str
) -> None:
    files = {"usr/share/wayland-sessions/weston.desktop": entry("weston")}
    files[f"usr/sbin/{program}"] = ""
    assert look(files, suite="session", spec=other).compositor.problem == told
    its_own = SPEC if other is BY_GDM else BY_GDM
    assert look(files, suite="session", spec=its_own).compositor.problem == ""


def test_a_session_of_x_needs_a_server_and_its_entry_may_be_older(look: Look) -> None:
    assert look({}, suite="session", spec=X).compositor.problem == f"the tree has no /{TWM}"
    text = entry("twm").replace("=Application", "=XSession")
    files = {TWM: text, "usr/sbin/greetd": ""}
    told = "the tree has no {}, which an X session needs (Debian: {})"
    for program, package in (("Xorg", "xserver-xorg-core"), ("xauth", "xauth")):
        problem = look(files, suite="session", spec=X).compositor.problem
        assert problem == told.format(program, package)
        files = {f"usr/bin/{program}": ""}
    found = look(files, suite="session", spec=X).compositor
    assert (found.argv, found.problem) == (("twm",), "")
    assert look({TWM: entry("twm").replace("=Application", "=Bar")}, spec=X).compositor.problem


def test_whoever_is_asked_for_windows_has_to_be_there(look: Look) -> None:
    found = look({TOP: entry("top", "Terminal=true\n")}, spec=X)
    assert found.skip == NO_XPROP
    assert found.apps[0].skip == "it runs in a terminal, and there is no xterm"
    assert look({}).skip == ""
    found = look({"usr/bin/xprop": "", "usr/bin/xterm": ""}, spec=X)
    assert (found.skip, found.apps[0].argv) == ("", ("xterm", "-e", "top"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("junk", "line 1: neither [GROUP] nor KEY=VALUE"),
        (entry("weston", "Hidden=true\n"), "Hidden=true: as if it were not there"),
        (entry("weston; halt"), "line 4: Exec has ';', which has to be quoted"),
    ],
)
def test_what_is_wrong_with_a_session_is_told(look: Look, text: str, problem: str) -> None:
    place = "usr/share/wayland-sessions/weston.desktop"
    assert look({place: text}, suite="session").compositor.problem == f"/{place}: {problem}"


@pytest.mark.parametrize(
    ("suite", "session", "files", "message"),
    [
        ("session", None, {}, "x86_64-t has no graphical session"),
        ("apps", None, {}, "x86_64-t has no graphical session"),
        ("apps", SPEC, {}, "x86_64-t has no applications"),
        ("apps", X, {TOP: entry("top")}, NO_XPROP),
    ],
)
def test_a_tree_without_is_skipped_by_name_and_nothing_is_booted(
    suite: str,
    session: SessionSpec | None,
    files: dict[str, str],
    message: str,
    tmp_path: Path,
    log: Log,
) -> None:
    repo, commit = committed(tmp_path, files, log)
    tree = Tree(
        name="x86_64-t",
        arch="x86_64",
        target="t",
        commit=commit,
        content="",
        version="1",
        snapshot="",
    )
    request = TestRequest(
        run="20260101.0",
        tree=tree,
        target=Target(name="t", session=session),
        disk=Disk(commit=commit, path="/none", ref=f"x/{suite}", osname="x", size=1),
        suite=suite,
        into=tmp_path / "evidence",
        repo=repo.path,
    )
    result = run_suite(request, cache=tmp_path, tmp=tmp_path, log=log)
    assert (result.verdict, result.message) == (Verdict.SKIPPED, message)
    assert replace(result, evidence="").tests == ()
