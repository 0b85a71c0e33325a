# SPDX-License-Identifier: LGPL-2.1-or-later
"""The smallest manifest that is good, and ways to make others of it."""

import json
from typing import Any

import yaml

from pipeline.words.errors import Problem
from pipeline.words.manifest import Manifest
from pipeline.words.manifest_text import parse_manifest, read_manifest

SMALLEST = """\
osname: myos
base:
  debian: {suite: bookworm, packages: {runtime: [systemd], devel: [gcc]}}
components:
  - src: git:https://example.org/zlib.git
"""


def with_keys(**keys: Any) -> str:
    """Write the smallest manifest with other keys at the top; ``on_failed`` means ``on-failed``."""
    data = yaml.safe_load(SMALLEST)
    for key, value in keys.items():
        data[key.replace("_", "-")] = value
    return json.dumps(data)


def with_component(**keys: Any) -> str:
    """Write the smallest manifest with one component more, ``one`` where it has no name."""
    given = {key.replace("_", "-"): value for key, value in keys.items()}
    more = {"name": "one", "src": "git:https://example.org/one.git", **given}
    src = "git:https://example.org/zlib.git"
    return with_keys(components=[{"src": src}, more])


def parsed(text: str, *, relative_to: str = "/manifests") -> Manifest:
    """Read a manifest that is good and gives no warning."""
    manifest, warnings = parse_manifest(text, "os.yaml", relative_to=relative_to)
    assert warnings == ()
    return manifest


def problems_of(text: str) -> tuple[Problem, ...]:
    """List what is wrong with a manifest."""
    return read_manifest(text, "os.yaml", relative_to="/manifests").problems


def messages_of(text: str) -> list[str]:
    """List what is wrong with a manifest, without places."""
    return [problem.message for problem in problems_of(text)]
