# SPDX-License-Identifier: LGPL-2.1-or-later
"""URLs that sources may have: schemes from a list, and nothing that a program could misread."""

import posixpath
import re

from pipeline.words.findings import Wrong, did_you_mean

GIT_SCHEMES = ("https", "http", "ssh", "git", "file")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)(/.*)?")
_HOST = re.compile(
    r"([A-Za-z0-9_][A-Za-z0-9_.~-]*@)?([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?"
)
_SSH_SHORT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[A-Za-z0-9_~./].*")


def check_url(text: str, *, schemes: tuple[str, ...] = GIT_SCHEMES, relative_to: str = "") -> str:
    """Let through a URL of the schemes, or a path; raises Wrong for anything else.

    Paths are absolute or begin with ``./`` or ``../``; these are taken from ``relative_to``.
    """
    if text.startswith("-"):
        raise Wrong(f"{text!r} would be read as an option", "a URL begins with https:// or so")
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise Wrong("a URL cannot have control characters")
    if re.match(r"[A-Za-z0-9+.-]*::", text):
        raise Wrong(f"{text!r} names a git transport that can run commands", _allowed(schemes))
    if text.startswith(("/", "./", "../")):
        return absolute(text, relative_to)
    found = _URL.fullmatch(text)
    if found:
        return _checked(text, found, schemes)
    if "ssh" in schemes and _SSH_SHORT.fullmatch(text):
        return text
    raise Wrong(f"{text!r} is neither a URL nor a path", f"{_allowed(schemes)}, or ./ for a path")


def absolute(path: str, relative_to: str) -> str:
    """Take a relative path from a directory, where one is known."""
    return posixpath.normpath(posixpath.join(relative_to, path)) if relative_to else path


def _checked(text: str, found: re.Match[str], schemes: tuple[str, ...]) -> str:
    scheme, host, path = found[1].lower(), found[2], found[3] or ""
    if scheme not in schemes:
        near = did_you_mean(scheme, schemes)
        raise Wrong(f"URLs with {scheme}:// are not let through", near or _allowed(schemes))
    if scheme == "file":
        if host not in ("", "localhost") or not path:
            raise Wrong(f"{text!r} names no file of this machine", "write file:///path")
        return text
    if not _HOST.fullmatch(host):
        raise Wrong(f"{host!r} is no host", f"{scheme}://HOST/PATH")
    if re.search(r"\s", text):
        raise Wrong(f"{text!r} has white space in it", "write %20")
    return text


def _allowed(schemes: tuple[str, ...]) -> str:
    return "allowed are " + ", ".join(f"{scheme}://" for scheme in schemes)
