# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names by which files of a buildroot are looked for: ``header:``, ``lib:``, ``pc:``, ``prog:``.

One rule for the base and for components, so that a program counts the same whoever brings it.
"""

import re

_MULTIARCH = r"(?:[a-z0-9_]+-linux-gnu[a-z0-9]*/)?"
_KINDS = (
    ("prog", re.compile(r"/usr/s?bin/([^/]+)")),
    ("pc", re.compile(rf"/usr/(?:lib/{_MULTIARCH}|lib64/|share/)pkgconfig/([^/]+)\.pc")),
    ("lib", re.compile(rf"/usr/(?:lib/{_MULTIARCH}|lib64/)(lib[^/]+\.(?:a|so(?:\.[^/]+)?))")),
    ("header", re.compile(rf"/usr/include/{_MULTIARCH}(.+)")),
)
_WORDS = {"header": "header {}", "lib": "library {}", "pc": ".pc file {}.pc", "prog": "program {}"}


def interface_name(path: str) -> str:
    """Name a file by its absolute path in a tree: ``/usr/include/zlib.h`` → ``header:zlib.h``.

    What is looked for in no path of its own keeps its path as its name.
    """
    for kind, pattern in _KINDS:
        found = pattern.fullmatch(path)
        if found:
            return f"{kind}:{found[1]}"
    return path


def in_words(name: str) -> str:
    """Write a name for people: ``header:zlib.h`` → ``header zlib.h``."""
    kind, separator, rest = name.partition(":")
    words = _WORDS.get(kind)
    return words.format(rest) if separator and words else f"file {name}"
