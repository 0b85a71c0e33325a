# SPDX-License-Identifier: LGPL-2.1-or-later
"""Find a target of a manifest by its name, also one that the name derives from others."""

from pipeline.words.manifest import Manifest, Target


def target_of(manifest: Manifest, name: str) -> Target:
    """Find a target, or derive one: ``runtime+strace`` has that component too, ``+@group`` all
    of a group. Raises BadInput with a suggestion where a part of the name is not known.
    """
    for target in manifest.targets:
        if target.name == name:
            return target
    # With the rules of how targets are written, which take a while to load.
    from pipeline.words.manifest_targets import derive_target

    return derive_target(manifest, name)
