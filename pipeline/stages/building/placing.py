# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where what a build installs belongs in a tree, and which part it is of: only names.

The layout is that of the base: all in ``/usr``, ``/etc`` as ``/usr/etc``, nothing in ``/var`` but
lines of tmpfiles.d. Rules of the parts: the original's, for multiarch directories too.
"""

import posixpath
import re

from pipeline.words.refs import Part

MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
"""Links in every tree."""
_MOVED = {
    **{name: f"usr/{name}" for name in MERGED},
    "etc": "usr/etc",
    "opt": "var/opt",
    "srv": "var/srv",
    "home": "var/home",
    "root": "var/roothome",
    "mnt": "var/mnt",
    "usr/local": "var/usrlocal",
}
"""The same places as in a base, where these are links."""
_DROPPED = ("dev", "proc", "run", "sys", "tmp", "sysroot", "ostree", "media", "var/run", "var/tmp")
_KERNEL = re.compile(r"boot/(vmlinuz|config|System\.map)-([^/]+)")
_STANDARD_VAR = ("var", "var/cache", "var/lib", "var/log", "var/spool")

_LIBDIR = r"usr/lib(?:64|32|/[a-z0-9_]+-linux-gnu[a-z0-9]*)?"
_RULES: tuple[tuple[Part, re.Pattern[str]], ...] = (
    (Part.DEBUG, re.compile(r"usr/(lib|src)/debug/.*")),
    (Part.TESTS, re.compile(r"usr/(share|libexec|lib)/installed-tests/.*")),
    (Part.TESTS, re.compile(r"usr/libexec/[^/]+/installed-tests/.*")),
    (Part.DOC, re.compile(r"usr/share/(doc|gtk-doc|man|info)/.*")),
    (Part.DEVEL, re.compile(r"usr/include/.*")),
    (Part.DEVEL, re.compile(rf"(?:{_LIBDIR}|usr/share)/(pkgconfig|cmake)/.*")),
    (Part.DEVEL, re.compile(r"usr/share/(aclocal|gir-1\.0|vala|vapi)/.*")),
    (Part.DEVEL, re.compile(rf"{_LIBDIR}/[^/]+\.(a|o)")),
)
_DEVEL_LINK = re.compile(rf"{_LIBDIR}/lib[^/]+\.so")
_STATIC = re.compile(rf"({_LIBDIR}/lib[^/]+)\.a")
_LEFT_OUT = re.compile(r".*\.(la|pyc|pyo)|usr/share/info/dir|.*/perllocal\.pod|.*/\.packlist")


def place(path: str) -> str | None:
    """Tell where an installed path goes; None where it is left out with a warning.

    What is placed in ``var`` is yet to become a line of tmpfiles.d. No slash is in front.
    """
    kernel = _KERNEL.fullmatch(path)
    if kernel:
        return f"usr/lib/modules/{kernel[2]}/{kernel[1]}"
    for old, new in _MOVED.items():
        if path == old or path.startswith(f"{old}/"):
            path = new + path[len(old) :]
            break
    if any(path == top or path.startswith(f"{top}/") for top in (*_DROPPED, "boot")):
        return None
    first = path.split("/", 1)[0]
    return path if first in ("usr", "var") else None


def is_left_out(path: str) -> bool:
    """Tell whether nobody needs a file: what libtool, Python and Perl leave behind."""
    return _LEFT_OUT.fullmatch(path) is not None


def shared_twin(path: str) -> str | None:
    """Name the shared library that makes a static one needless; None for other files."""
    found = _STATIC.fullmatch(path)
    return f"{found[1]}.so" if found else None


def is_standard_var(path: str) -> bool:
    """Tell whether a directory in ``var`` is there on every system."""
    return path in _STANDARD_VAR


def part_of(path: str, *, link_to: str | None = None) -> Part:
    """Tell the part that a placed file belongs to; ``link_to`` is what a link says."""
    if link_to is not None and _DEVEL_LINK.fullmatch(path):
        return Part.DEVEL  # for linking; what runs asks for the soname
    for part, pattern in _RULES:
        if pattern.fullmatch(path):
            return part
    return Part.RUNTIME


def moved_link(path: str, new: str, to: str) -> str:
    """Rewrite a relative link that was moved so that it leads where it led.

    ``/etc`` is there under that name when the system runs, so links in it stay as they are.
    """
    if to.startswith("/") or path == new or new.startswith("usr/etc/"):
        return to
    target = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), to)).lstrip("/")
    placed = place(target) or target
    return posixpath.relpath(f"/{placed}", f"/{posixpath.dirname(new)}")


def tmpfiles_line(path: str, kind: str, *, mode: int = 0o755, link: str = "") -> str:
    """Write the line of tmpfiles.d(5) that makes one path of ``/var`` at boot.

    ``kind`` is ``d``, ``L`` or ``C``; files come from the factory directory.
    """
    name = f"/{path}".replace("%", "%%")
    if re.search(r"[\s\"'\\]", name):
        name = '"' + re.sub(r"([\"\\])", r"\\\1", name) + '"'
    if kind == "L":
        return f"L {name} - - - - {link.replace('%', '%%')}"
    return f"{kind} {name} {mode:04o} root root -"
