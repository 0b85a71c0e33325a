# SPDX-License-Identifier: LGPL-2.1-or-later
"""What building one component produced, and what others may see of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.words.refs import Commit, Key, Part, Revision

BASE = "base"
"""The provider's name under which a used-set lists packages of the base."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One build's outcome; kept in the metadata of its commits, so that it travels with them.

    ``used`` maps provider (a component's name, or ``base``) → name → interface digest of what
    the build really opened; for the base, package → version. ``interface`` maps name → digest:
    what others can see. Names are ``header:zlib.h``, ``lib:libz.so.1``, ``pc:zlib``, ``prog:gzip``,
    or a path for other files.
    """

    component: str
    arch: str
    recipe: Key
    key: Key
    revision: Revision
    used: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    interface: Mapping[str, str] = field(default_factory=dict)
    commits: Mapping[Part, Commit] = field(default_factory=dict)
    """Only parts that have files."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """What the recipe is the hash of (``keys.Recipe``): from it the plan tells what changed."""
    warnings: int = 0
    deprecations: int = 0
    build_s: float = 0.0
