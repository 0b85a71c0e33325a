# SPDX-License-Identifier: LGPL-2.1-or-later
"""Manifests that were pushed, each in a file under its digest, whatever becomes of the original."""

from pathlib import Path

from pipeline.ports.files import write_text
from pipeline.words.errors import Trouble
from pipeline.words.manifest import Manifest
from pipeline.words.records import from_json, to_json
from pipeline.words.snapshot import manifest_digest


def keep_manifest(directory: Path, manifest: Manifest) -> str:
    """Keep a manifest that is about to be pushed; tells its digest."""
    digest = manifest_digest(manifest)
    path = directory / f"{digest}.json"
    if not path.is_file():
        write_text(path, to_json(manifest))
    return digest


def read_manifest(directory: Path, digest: str) -> Manifest:
    """Read a manifest that was kept; raises Trouble where it is not there any more."""
    path = directory / f"{digest}.json"
    if not path.is_file():
        hint = "push it once more: ostci push manifest"
        raise Trouble(
            f"the manifest {digest[:12]} is not here any more", where=str(path), hint=hint
        )
    return from_json(Manifest, path.read_bytes(), where=str(path))
