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
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")


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


def base_ref(osname: str, base: str, arch: str, variant: str) -> RefName:
    """Name the imported base; ``variant`` is ``runtime``, ``devel`` or several lists with ``+``."""
    return RefName(f"{osname}/bases/{base}/{arch}-{variant}")


def component_ref(osname: str, component: str, arch: str, part: Part) -> RefName:
    """Name the newest artifact of a component; ``arch`` is ``noarch`` where it is."""
    return RefName(f"{osname}/components/{component}/{arch}-{part}")


def key_ref(osname: str, key: Key, part: Part) -> RefName:
    """Name one part of the artifact that has this key."""
    return RefName(f"{osname}/keys/{key}-{part}")


def compose_ref(osname: str, tree: str) -> RefName:
    """Name the line of every composed tree; ``tree`` is ``<arch>-<target>``."""
    return RefName(f"{osname}/compose/{tree}")


def buildmaster_ref(osname: str, tree: str) -> RefName:
    """Name the newest tree that passed its gate; only promotion moves it."""
    return RefName(f"{osname}/buildmaster/{tree}")


def failed_ref(osname: str, run: str, component: str) -> RefName:
    """Name the kept build tree of a component that failed in a run."""
    return RefName(f"{osname}/failed/{run}/{component}")
