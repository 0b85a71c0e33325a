# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a trigger says of itself in the comments that it begins with.

``# needs:`` paths that must all be in the tree, else it has nothing to do; ``# reads:`` what
decides its result; ``# deletes:`` what it may remove; ``# components:`` directories whose files,
as far as components bring them, are listed for it in the file ``$COMPONENT_FILES``. Paths are
absolute in the tree (so ``/usr/etc``), of several words, each a shell pattern part by part. A
trigger that does not say what it reads may read everything.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, kw_only=True)
class TriggerText:
    """A script and what its head says; ``reads`` is None where everything counts."""

    name: str
    script: str
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] | None = None
    deletes: tuple[str, ...] = ()
    components: tuple[str, ...] = ()

    def may_delete(self, path: str) -> bool:
        """Tell whether the trigger declared that it removes a path, or a directory above it."""
        return any(fits(path, pattern) for pattern in self.deletes)


def parse_trigger(name: str, script: str, *, deletes: Iterable[str] = ()) -> TriggerText:
    """Read the head of a script; ``deletes`` are declared elsewhere."""
    found: dict[str, list[str]] = {"deletes": list(deletes)}
    for line in script.splitlines():
        if line and not line.startswith("#"):
            break
        word, colon, rest = line.removeprefix("#").strip().partition(":")
        if colon and word in ("needs", "reads", "deletes", "components"):
            found.setdefault(word, []).extend(rest.split())
    return TriggerText(
        name=name,
        script=script,
        needs=tuple(found.get("needs", ())),
        reads=tuple(found["reads"]) if "reads" in found else None,
        deletes=tuple(found["deletes"]),
        components=tuple(found.get("components", ())),
    )


def fits(path: str, pattern: str) -> bool:
    """Tell whether a path, or a directory above it, fits a pattern part by part.

    ``/etc`` in a pattern is the tree's ``/usr/etc``, as the trigger sees it.
    """
    wanted = [part for part in _in_tree(pattern).split("/") if part]
    given = [part for part in path.split("/") if part]
    return len(given) >= len(wanted) and all(map(fnmatchcase, given, wanted))


def _in_tree(path: str) -> str:
    return f"/usr{path}" if path == "/etc" or path.startswith("/etc/") else path
