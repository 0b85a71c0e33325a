# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a worker says of itself, and whether it may be given work."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

FILE = "ostci.json"
"""The name under which a worker tells it when it connects."""
GIB = 1024**3


class Pool(StrEnum):
    """Whom a worker works for. What one of ``try`` built never enters ``keys/``."""

    PUSH = "push"
    TRY = "try"


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """A worker as it finds itself; sizes are in bytes. ``wrong`` is what its self-test found."""

    version: str
    arch: str
    user: int
    cores: int
    memory: int
    free: int
    room: int
    """How much has to be free before it takes work."""
    kvm: bool
    wrong: tuple[str, ...] = ()

    @property
    def as_root(self) -> bool:
        return self.user == 0


def why_aside(told: Capabilities | None, version: str) -> str:
    """Say why a worker gets no work from a master of this version; empty where it does."""
    if told is None:
        return f"it did not say what it can; it is to be started by ostci worker {version}"
    if told.version != version:
        return f"it has ostci {told.version}, the master {version}: install the master's"
    if told.wrong:
        return f"its self-test failed: {'; '.join(told.wrong)}"
    return why_no_room(told.free, told.room)


def why_no_room(free: int, room: int) -> str:
    """Say that a worker has too little disk; empty where it has enough."""
    if free >= room:
        return ""
    return f"too little disk: {free / GIB:.1f} GiB are free, it wants {room / GIB:.1f}"


def in_words(told: Capabilities) -> str:
    """Tell in a line what a worker can do."""
    machine = "KVM" if told.kvm else "no KVM"
    return (
        f"ostci {told.version}, {told.arch}, {told.cores} cores, {told.memory // GIB} GiB memory,"
        f" {told.free // GIB} GiB of disk free, {machine}"
    )


def properties(told: Capabilities) -> Mapping[str, Any]:
    """Tell the same as properties of whatever it builds."""
    return {
        "ostci-version": told.version,
        "arch": told.arch,
        "cores": told.cores,
        "memory": told.memory,
        "free": told.free,
        "kvm": told.kvm,
    }
