# SPDX-License-Identifier: LGPL-2.1-or-later
"""Icons: which file a name stands for, by the Icon Theme Specification 0.13.

https://specifications.freedesktop.org/icon-theme-spec/latest/. Files are known by their paths
alone; who has them looks into what was found.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

THEMES = "usr/share/icons"
UNTHEMED = (THEMES, "usr/share/pixmaps")
DEFAULT = "hicolor"
LARGEST = 512 * 1024
"""Bytes of an ``index.theme``."""
LARGEST_ICON = 4 * 1024**2
SIZE = 48
_ENDINGS = (".png", ".svg", ".xpm")
_MOST_DIRECTORIES = 4000
_MOST_THEMES = 16


@dataclass(frozen=True, kw_only=True)
class Directory:
    """A directory of a theme, and the sizes in pixels that its icons are for."""

    path: str
    smallest: int
    largest: int

    def distance(self, size: int) -> int:
        """Tell how far from a size it is; 0 for one that it is meant for."""
        return max(self.smallest - size, size - self.largest, 0)


@dataclass(frozen=True, kw_only=True)
class Theme:
    """What an ``index.theme`` says."""

    directories: tuple[Directory, ...] = ()
    inherits: tuple[str, ...] = ()


def parse_theme(data: bytes) -> Theme:
    """Read an ``index.theme``; what is malformed in it is left out, as desktops do."""
    groups: dict[str, dict[str, str]] = {}
    group: dict[str, str] = {}
    for line in data[:LARGEST].decode("utf-8", "replace").splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            group = groups.setdefault(line[1:-1], {})
        elif "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            group.setdefault(key.strip(), value.strip())
    own = groups.get("Icon Theme", {})
    paths = [path for path in _list(own.get("Directories", "")) if path in groups]
    found = [_directory(path, groups[path]) for path in paths[:_MOST_DIRECTORIES]]
    return Theme(
        directories=tuple(one for one in found if one is not None),
        inherits=tuple(_list(own.get("Inherits", ""))[:_MOST_THEMES]),
    )


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _directory(path: str, keys: Mapping[str, str]) -> Directory | None:
    def number(key: str, otherwise: int) -> int:
        text = keys.get(key, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else otherwise

    size, scale = number("Size", 0), number("Scale", 1)
    if not size or scale != 1:
        return None
    kind = keys.get("Type", "Threshold")
    spread = number("Threshold", 2) if kind == "Threshold" else 0
    if kind == "Scalable":
        smallest, largest = number("MinSize", size), number("MaxSize", size)
        return Directory(path=path, smallest=smallest, largest=largest)
    return Directory(path=path, smallest=size - spread, largest=size + spread)


def find_icon(
    name: str,
    files: Collection[str],
    theme_of: Callable[[str], Theme | None],
    *,
    theme: str = DEFAULT,
    size: int = SIZE,
) -> str | None:
    """Find the file of an icon, as a path from the root without its first slash; None for none.

    ``files`` are all paths below ``UNTHEMED``, ``theme_of`` reads a theme that is there.
    """
    if "/" in name or not name:
        return None
    for one in _order(theme, theme_of):
        found = _in_theme(name, one, files, theme_of(one) or Theme(), size)
        if found:
            return found
    for place in UNTHEMED:
        for ending in _ENDINGS:
            if f"{place}/{name}{ending}" in files:
                return f"{place}/{name}{ending}"
    return None


def _order(theme: str, theme_of: Callable[[str], Theme | None]) -> list[str]:
    """List a theme and those that it inherits from, depth first, the default one last."""
    order: list[str] = []
    todo = [theme]
    while todo and len(order) < _MOST_THEMES:
        one = todo.pop(0)
        found = theme_of(one) if one not in order and "/" not in one else None
        if found is not None:
            order.append(one)
            todo = [*found.inherits, *todo]
    return [*(one for one in order if one != DEFAULT), DEFAULT]


def _in_theme(name: str, theme: str, files: Collection[str], of: Theme, size: int) -> str | None:
    by_distance = sorted(of.directories, key=lambda one: one.distance(size))
    for directory in by_distance:
        for ending in _ENDINGS:
            path = f"{THEMES}/{theme}/{directory.path}/{name}{ending}"
            if path in files:
                return path
    return None


def icon_problem(path: str, data: bytes) -> str:
    """Say what is wrong with the file of an icon; nothing for one that begins as it should."""
    if len(data) > LARGEST_ICON:
        return f"is larger than {LARGEST_ICON} bytes"
    begins = {
        ".png": data.startswith(b"\x89PNG\r\n\x1a\n"),
        ".svg": b"<svg" in data[: 64 * 1024] or b":svg" in data[: 64 * 1024],
        ".xpm": b"XPM" in data[:64],
    }
    ending = path[path.rfind(".") :]
    return "" if begins.get(ending, False) else f"does not hold what {ending} says"
