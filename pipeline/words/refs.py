# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names: of refs, and of the ids that must not be mistaken for one another."""

import re
from enum import StrEnum
from typing import NewType

from pipeline.words.errors import BadInput

Revision = NewType("Revision", str)
"""A git commit id, 40 hex digits."""
Commit = NewType("Commit", str)
"""An OSTree commit checksum, 64 hex digits."""
Key = NewType("Key", str)
"""The hash of all inputs of an artifact or a tree, 64 hex digits."""
RefName = NewType("RefName", str)
"""An OSTree ref without its remote."""

_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_REVISION = re.compile(r"[0-9a-f]{40}")
# A dot is followed by a letter or digit, which leaves ".." and ".-" for ref_part.
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_+-]|\.(?=[A-Za-z0-9_]))*")
# What OSTree allows between two slashes is letters, digits and these, no dot or dash first.
_QUOTED = {"+": "..", "@": ".-"}
_UNQUOTED = {quoted: character for character, quoted in _QUOTED.items()}


class Part(StrEnum):
    """A subtree that building one component is split into."""

    RUNTIME = "runtime"
    DEVEL = "devel"
    DOC = "doc"
    DEBUG = "debug"
    TESTS = "tests"


def is_commit(text: str) -> bool:
    """Tell whether the text has the form of an OSTree checksum."""
    return _CHECKSUM.fullmatch(text) is not None


def is_revision(text: str) -> bool:
    """Tell whether the text has the form of a full git commit id."""
    return _REVISION.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Tell whether the text can stand in a ref and a path, and never looks like an option."""
    return _NAME.fullmatch(text) is not None


def commit(text: str) -> Commit:
    """Take an OSTree checksum from outside; raises BadInput for anything else."""
    if not is_commit(text):
        raise BadInput(f"not an OSTree commit: {text!r}")
    return Commit(text)


def ref_part(name: str) -> str:
    """Write a name as OSTree takes it between two slashes: ``runtime+@all`` → ``runtime...-all``.

    Every function here that names a ref does so; no two names become one.
    """
    return re.sub(r"[+@]", lambda found: _QUOTED[found[0]], name)


def name_of_part(part: str) -> str:
    """Read back what ``ref_part`` wrote."""
    return re.sub(r"\.[.-]", lambda found: _UNQUOTED[found[0]], part)


def base_ref(osname: str, base: str, arch: str, variant: str) -> RefName:
    """Name the imported base; ``variant`` is ``runtime``, ``devel`` or several lists with ``+``."""
    return _ref(osname, "bases", base, f"{arch}-{variant}")


def component_ref(osname: str, component: str, arch: str, part: Part) -> RefName:
    """Name the newest artifact of a component; ``arch`` is ``noarch`` where it is."""
    return _ref(osname, "components", component, f"{arch}-{part}")


def key_ref(osname: str, key: Key, part: Part) -> RefName:
    """Name one part of the artifact that has this key."""
    return _ref(osname, "keys", f"{key}-{part}")


def compose_ref(osname: str, tree: str) -> RefName:
    """Name the line of every composed tree; ``tree`` is ``<arch>-<target>``."""
    return _ref(osname, "compose", tree)


def buildmaster_ref(osname: str, tree: str) -> RefName:
    """Name the newest tree that passed its gate; only promotion moves it."""
    return _ref(osname, "buildmaster", tree)


def failed_ref(osname: str, run: str, component: str) -> RefName:
    """Name the kept build tree of a component that failed in a run."""
    return _ref(osname, "failed", run, component)


def try_ref(osname: str, run: str, tree: str) -> RefName:
    """Name a tree that was only tried; it can never be on another ref."""
    return _ref(osname, "try", run, tree)


def tree_of_ref(osname: str, ref: str) -> str | None:
    """Tell of which tree a ref of composed or tried trees is; None for another ref."""
    parts = ref.removeprefix(f"{ref_part(osname)}/").split("/")
    if len(parts) == 2 and parts[0] == "compose":
        return name_of_part(parts[1])
    if len(parts) == 3 and parts[0] == "try":
        return name_of_part(parts[2])
    return None


def published_ref(osname: str, commit: Commit) -> RefName:
    """Name what a promoted tree was made of where it is published: in the archive."""
    return _ref(osname, "keys", commit)


def is_of_artifacts(ref: str) -> bool:
    """Tell whether a ref leads to what trees are made of: no client of trees is told of it."""
    return ref.count("/") == 2 and ref.split("/")[1] == "keys"


def taken_ref(osname: str, run: str, name: str) -> RefName:
    """Name what a try took from a server beside artifacts: a variant of the base, or a tree."""
    return _ref(osname, "try", run, "taken", name)


def try_keys(osname: str, run: str) -> RefName:
    """Name the place of the artifacts that a try has built; nobody else uses them."""
    return _ref(osname, "try", run, "keys")


def _ref(*names: str) -> RefName:
    return RefName("/".join(map(ref_part, names)))
