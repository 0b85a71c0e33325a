# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Debian archive of a few packages of our own, made in a second: what apt says of it is known."""

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipeline.ports.mmdebstrap import Archive

ARCHITECTURE = "amd64"


def make_archive(directory: Path, *, library: str = "2-1") -> Archive:
    """Make, or make anew, an archive: ``tool`` needs ``library``, ``broken`` needs nobody."""
    pool = directory / "pool"
    pool.mkdir(parents=True, exist_ok=True)
    for old in pool.glob("*.deb"):
        old.unlink()
    _package(pool, "seed", "1", {"usr/share/seed": "1\n"}, "Essential: yes")
    _package(pool, "apt", "9", {"usr/share/apt": "9\n"})
    _package(pool, "library", library, {"usr/lib/library.txt": f"{library}\n"})
    _package(pool, "tool", "1.0", {"usr/bin/tool": "#!/bin/sh\n"}, "Depends: library")
    _package(pool, "broken", "1", {"usr/share/broken": ""}, "Depends: nobody")
    lists = directory / f"dists/here/main/binary-{ARCHITECTURE}"
    lists.mkdir(parents=True, exist_ok=True)
    scan = ["dpkg-scanpackages", "--multiversion", "pool"]
    packages = subprocess.run(scan, cwd=directory, capture_output=True, check=True).stdout
    (lists / "Packages").write_bytes(packages)
    _release(directory / "dists/here")
    return Archive(
        suite="here",
        architecture=ARCHITECTURE,
        sources=(f"deb [trusted=yes] file:{directory} here main",),
    )


def _package(pool: Path, name: str, version: str, files: Mapping[str, str], *fields: str) -> None:
    root = pool / name
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "DEBIAN").mkdir(exist_ok=True)
    control = [
        *(f"Package: {name}", f"Version: {version}", f"Architecture: {ARCHITECTURE}"),
        *("Maintainer: Nobody <nobody@example.org>", "Priority: optional", *fields),
        f"Description: {name} of a test",
    ]
    (root / "DEBIAN/control").write_text("\n".join([*control, ""]))
    argv = ["dpkg-deb", "--build", "--root-owner-group", str(root), str(pool)]
    subprocess.run(argv, capture_output=True, check=True)


def _release(place: Path) -> None:
    lines = ["Suite: here", "Codename: here", "Components: main", f"Architectures: {ARCHITECTURE}"]
    lines += ["Date: Wed, 25 Nov 2026 12:00:00 UTC", "SHA256:"]
    for path in sorted(place.rglob("Packages")):
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        lines.append(f" {digest} {len(data)} {path.relative_to(place)}")
    (place / "Release").write_text("\n".join([*lines, ""]))
