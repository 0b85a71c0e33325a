# SPDX-License-Identifier: LGPL-2.1-or-later
"""One real base to build in, for all tests that compile something.

Made by the base stage from Debian's packages, once: the shared cache keeps it, so that whoever
asks again waits a second. It holds what the four build systems need and nothing that boots.
"""

from dataclasses import dataclass
from pathlib import Path

from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.stages.base import BaseRequest, import_base, resolve_base
from pipeline.words.manifest import Base, BaseKind
from pipeline.words.refs import Commit
from pipeline.words.snapshot import BasePin

ARCH = "x86_64"
OSNAME = "os"
BASE = Base(
    name="debian",
    kind=BaseKind.DEBIAN,
    suite="bookworm",
    packages={
        "devel": (
            *("autoconf", "automake", "binutils", "ccache", "cmake", "g++", "gcc", "gettext"),
            *("libc6-dev", "libtool", "make", "meson", "pkg-config"),
        )
    },
    initramfs="none",
)
MAX_AGE_S = 24 * 3600.0
"""Tests do not mind lists of yesterday; asking Debian's mirrors anew may make another base."""


@dataclass(frozen=True, kw_only=True)
class BuildBase:
    """The pin that belongs into a snapshot, and the commit to build in."""

    pin: BasePin
    commit: Commit


def build_base(repo: Repo, cache: Path, *, log: Log) -> BuildBase:
    """Have the base in a repository."""
    request = BaseRequest(base=BASE, osname=OSNAME, arch=ARCH, variants=(("devel",),))
    pin = resolve_base(request, cache=cache, log=log, max_age_s=MAX_AGE_S)
    result = import_base(request, pin, repo=repo, cache=cache, log=log)
    return BuildBase(pin=pin, commit=result.variants["devel"])
