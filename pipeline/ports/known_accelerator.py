# SPDX-License-Identifier: LGPL-2.1-or-later
"""What was last found to run machines with, for those that must not load libvirt to know it."""

import json
import os
from pathlib import Path


def known_accelerator() -> tuple[str, float] | None:
    """Tell kind and slowness (1.0 is KVM) as ``accelerator`` left them; None for nothing yet."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    cache = Path(os.environ.get("OSTCI_CACHE") or f"{home}/ostci")
    try:
        found = json.loads((cache / "accelerator.json").read_bytes())
        return str(found["kind"]), float(found["speed"])
    except (OSError, ValueError, KeyError):
        return None  # it is a cache: whoever needs a machine makes it again
