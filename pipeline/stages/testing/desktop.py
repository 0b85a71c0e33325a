# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a tree has for a graphical session: its compositor, its applications, their icons.

It is all read out of the commit, so that a tree that lacks something is told so without a boot.
"""

import difflib
from dataclasses import dataclass, replace
from functools import cached_property

from pipeline.ports.ostree import Repo
from pipeline.ports.tree_files import TreeFiles
from pipeline.words import icon_theme, session
from pipeline.words.desktop_entry import (
    LARGEST,
    PLACE,
    SESSIONS,
    SUITE,
    App,
    app_name,
    parse_app,
)
from pipeline.words.errors import BadInput
from pipeline.words.session import LoginManager, SessionSpec, SessionType

APPS = SUITE
SUITES = (session.SUITE, APPS)
APP_S = 40.0
"""What an application may take on a host with KVM, all in all."""
_MOST_APPS = 500
_PROGRAMS = ("usr/bin", "usr/sbin", "usr/local/bin", "usr/games")
_SERVER = (("Xorg", "xserver-xorg-core"), ("xauth", "xauth"))
"""Programs that an X session is started with, and their packages in Debian; GDM needs the first."""
_ASKING = ("xprop", "x11-utils")
"""What is asked for the windows of an X server."""
_TERMINALS = {SessionType.WAYLAND: ("foot",), SessionType.X11: ("xterm", "-e")}
"""The terminal emulator that a program for terminals is started in; it takes a command's words."""


@dataclass(frozen=True, kw_only=True)
class Desktop:
    """``compositor`` is what the session of that name starts; it may have a problem.

    ``skip`` says what the tree lacks for anybody to see whether applications work.
    """

    compositor: App
    apps: tuple[App, ...] = ()
    skip: str = ""

    def seconds(self, spec: SessionSpec) -> float:
        """Tell what its suites may take on a host with KVM, besides the boot."""
        return spec.deadline_s + APP_S * len(self.apps)


def desktop_of(repo: Repo, commit: str, spec: SessionSpec, *, suite: str, only: str) -> Desktop:
    """Read a tree's session, and for the suite of them its applications, or the one named.

    Raises BadInput for one that is not there.
    """
    tree = _Files(repo, commit)
    compositor = tree.compositor(spec)
    if suite != SUITE:
        return Desktop(compositor=compositor)
    paths = {app_name(path): path for path in tree.entries}
    chosen = sorted(name for name in paths if not only or name == only)
    if only and not chosen:
        near = difflib.get_close_matches(only, paths, 1)
        hint = f"did you mean {SUITE}/{near[0]}?" if near else f"the tree has {len(paths)}"
        raise BadInput(f"the tree has no application {only}", hint=hint)
    if len(chosen) > _MOST_APPS:
        repo.log.warning(f"of {len(chosen)} applications only the first {_MOST_APPS} are started")
    apps = [tree.app(paths[name], spec) for name in chosen[:_MOST_APPS]]
    skip = tree.cannot_see_windows(spec)
    return Desktop(compositor=compositor, apps=tuple(apps), skip=skip)


class _Files:
    """A tree's files, by path."""

    def __init__(self, repo: Repo, commit: str) -> None:
        self._repo, self._commit = repo, commit
        self._files = TreeFiles(repo, commit)
        self._themes: dict[str, icon_theme.Theme | None] = {}

    @cached_property
    def entries(self) -> tuple[str, ...]:
        """The paths of desktop entries, below where they are."""
        found = self._repo.below(self._commit, PLACE)
        return tuple(path for path, _ in found if path.endswith(".desktop"))

    @cached_property
    def _icons(self) -> frozenset[str]:
        return frozenset(
            f"{place}/{path}"
            for place in icon_theme.UNTHEMED
            for path, _ in self._repo.below(self._commit, place)
        )

    def compositor(self, spec: SessionSpec) -> App:
        name = spec.name
        path = f"{spec.type.place}/{name}.desktop"
        data = self._files.read(path, limit=LARGEST + 1)
        if data is None:
            return App(name=name, problem=f"the tree has no /{path}")
        found = parse_app(name, data, desktop=name, types=SESSIONS)
        if found.problem or found.skip:
            return replace(found, problem=f"/{path}: {found.problem or found.skip}", skip="")
        if not self._has_manager(spec.manager):
            others = [one for one in LoginManager if self._has_manager(one)]
            hint = f"it has {others[0]}: session: {{manager: {others[0]}}}" if others else ""
            known = "and no other login manager that is known here"
            why = f"the tree has no {spec.manager}, {hint or known}"
            return replace(found, problem=why)
        needed = _SERVER[:1] if spec.manager is LoginManager.GDM else _SERVER
        for program, package in needed if spec.type is SessionType.X11 else ():
            if not self._has_program(program):
                why = f"the tree has no {program}, which an X session needs (Debian: {package})"
                return replace(found, problem=why)
        return found

    def cannot_see_windows(self, spec: SessionSpec) -> str:
        """Tell what is missing to ask for windows; of Wayland, programs themselves tell."""
        program, package = _ASKING
        if spec.type is SessionType.WAYLAND or self._has_program(program):
            return ""
        return f"the tree has no {program}, which tells of windows (Debian: {package})"

    def app(self, path: str, spec: SessionSpec) -> App:
        name, data = app_name(path), self._files.read(f"{PLACE}/{path}", limit=LARGEST + 1)
        if data is None:
            return App(name=name, problem="it is a link to what is not there")
        found = parse_app(name, data, desktop=spec.name)
        if found.problem or found.skip:
            return found
        if found.try_exec and not self._has_program(found.try_exec):
            return replace(found, skip=f"TryExec={found.try_exec}, which the tree has not")
        if found.is_terminal:
            terminal = _TERMINALS[spec.type]
            if not self._has_program(terminal[0]):
                return replace(found, skip=f"it runs in a terminal, and there is no {terminal[0]}")
            found = replace(found, argv=(*terminal, *found.argv))
        return self._with_icon(found)

    def _with_icon(self, app: App) -> App:
        if not app.icon:
            return app
        if app.icon.startswith("/"):
            path: str | None = app.icon[1:]
        else:
            path = icon_theme.find_icon(app.icon, self._icons, self._theme)
        data = self._files.read(path, limit=icon_theme.LARGEST_ICON + 1) if path else None
        if path is None or data is None:
            where = "is not there" if path else "is in no theme"
            return replace(app, icon_problem=f"its icon {app.icon[:80]} {where}")
        wrong = icon_theme.icon_problem(path, data)
        problem = f"its icon /{path} {wrong}" if wrong else ""
        return replace(app, icon_file=path, icon_problem=problem)

    def _theme(self, name: str) -> icon_theme.Theme | None:
        if name not in self._themes:
            path = f"{icon_theme.THEMES}/{name}/index.theme"
            data = self._files.read(path, limit=icon_theme.LARGEST)
            self._themes[name] = icon_theme.parse_theme(data) if data else None
        return self._themes[name]

    def _has_manager(self, manager: LoginManager) -> bool:
        return any(map(self._has_program, manager.programs))

    def _has_program(self, program: str) -> bool:
        places = ("",) if program.startswith("/") else _PROGRAMS
        return any(self._files.find(f"{place}/{program}") is not None for place in places)
