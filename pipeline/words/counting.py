# SPDX-License-Identifier: LGPL-2.1-or-later
"""Numbers of things, as people write them."""


def count_of(number: int, noun: str) -> str:
    """Write ``1 disk`` and ``2 disks``; for nouns whose plural has an s and nothing else."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
