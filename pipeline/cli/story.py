# SPDX-License-Identifier: LGPL-2.1-or-later
"""The story of a sample's demo: what is pushed, as the ``demo.json`` in its folder tells."""

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.sample import STORY


@dataclass(frozen=True, kw_only=True)
class Push:
    """One edit of a sample's own component."""

    component: str
    file: str
    old: str
    new: str
    subject: str


@dataclass(frozen=True, kw_only=True)
class Story:
    """What a sample's demo does: a harmless push, then one that breaks the boot."""

    change: Push
    breakage: Push


def read_story(manifest: Path) -> Story:
    """Read the sample's ``demo.json``."""
    found = json.loads((manifest.with_suffix("") / STORY).read_text())
    return Story(change=Push(**found["change"]), breakage=Push(**found["breakage"]))
