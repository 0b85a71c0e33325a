# SPDX-License-Identifier: LGPL-2.1-or-later
"""A manifest with every source pinned to a revision."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.words.manifest import Manifest
from pipeline.words.records import plain
from pipeline.words.refs import Key, Revision


@dataclass(frozen=True, kw_only=True)
class Pin:
    """What one source was resolved to.

    ``describe`` is git's name of the revision for people; ``tree`` the git tree id, equal for
    commits of equal content. ``patches`` maps each patch file to its SHA-256. ``local`` marks a
    working copy: always built again, its ``revision`` a hash of the files.
    """

    revision: Revision
    describe: str = ""
    tree: str = ""
    subject: str = ""
    patches: Mapping[str, str] = field(default_factory=dict)
    children: "Mapping[str, Pin]" = field(default_factory=dict)
    submodules: Mapping[str, Revision] = field(default_factory=dict)
    local: bool = False
    commit_time: int = 0
    """Seconds since 1970 of the git commit: the fixed time its build runs with."""


@dataclass(frozen=True, kw_only=True)
class BasePin:
    """What the base was resolved to: the hash of its inputs, and its packages with versions."""

    key: Key
    packages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The manifest and its pins; equal snapshots give equal trees."""

    manifest: Manifest
    pins: Mapping[str, Pin]
    base: BasePin
    patches: Pin | None = None
    """The patch source; what counts of it are the SHA-256 sums that are in the pins."""

    @property
    def digest(self) -> str:
        """The SHA-256 of what decides the trees: not times, subjects or texts for people."""
        return hashlib.sha256(deciding_json(self).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """Write JSON in one way only: sorted keys, no spaces, plain ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def deciding_json(snapshot: Snapshot) -> str:
    """Write what decides the trees, the text that ``Snapshot.digest`` is the hash of."""
    return canonical_json(_deciding(snapshot))


def manifest_digest(manifest: Manifest) -> str:
    """Hash what a manifest says of its trees, not how it is written."""
    value: dict[str, Any] = plain(manifest)
    _strip_manifest(value)
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _deciding(snapshot: Snapshot) -> dict[str, Any]:
    value: dict[str, Any] = plain(snapshot)
    value.pop("patches")
    _strip_manifest(value["manifest"])
    for pin in value["pins"].values():
        _strip_pin(pin)
    return value


def _strip_manifest(manifest: dict[str, Any]) -> None:
    """Leave out what decides about no tree: what is kept of old ones, who waits, what is tried."""
    for ignored in ("retention", "unit", "queue_bound"):
        manifest.pop(ignored)
    for target in manifest["targets"]:
        for ignored in ("flaky", "passes_to_count"):
            target.pop(ignored, None)
    for component in manifest["components"]:
        for ignored in ("line", "reasons", "irc_room", "merge_requests"):
            component.pop(ignored, None)


def _strip_pin(pin: dict[str, Any]) -> None:
    for ignored in ("describe", "subject", "commit_time"):
        pin.pop(ignored, None)
    for child in pin["children"].values():
        _strip_pin(child)
