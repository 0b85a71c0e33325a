# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the base stage is asked for and what it answers; shared by the kinds of base."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.words.errors import Trouble
from pipeline.words.manifest import Base
from pipeline.words.refs import Commit
from pipeline.words.snapshot import BasePin


@dataclass(frozen=True, kw_only=True)
class BaseRequest:
    """``variants`` are the trees wanted, each the names of its package lists.

    ``offline``: no server is asked, and what is not here is Trouble.
    """

    base: Base
    osname: str
    arch: str
    variants: tuple[tuple[str, ...], ...]
    offline: bool = False


@dataclass(frozen=True, kw_only=True)
class BaseResult:
    """``variants``: names such as ``runtime+devel`` → commits; ``cached``: nothing was made."""

    pin: BasePin
    variants: Mapping[str, Commit]
    cached: bool


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What one kind of base found: ``inputs`` go into the key beside the packages."""

    inputs: Mapping[str, object]
    packages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Variant → package → version."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A variant as it comes: root file systems to convert, later ones over earlier ones, or a
    commit that has the right layout already. ``packages`` where the files do not tell."""

    archives: tuple[Path, ...] = ()
    commit: Commit | None = None
    packages: Mapping[str, str] = field(default_factory=dict)


def variant_name(lists: tuple[str, ...]) -> str:
    """Name the tree of several package lists."""
    return "+".join(lists)


def not_here(request: BaseRequest, what: str) -> Trouble:
    """Say what would have to be fetched, but must not be."""
    return Trouble(
        f"{what} is not here, and offline nothing is fetched",
        where=f"base {request.base.name}",
        hint="give the same command without --offline",
    )
