# SPDX-License-Identifier: LGPL-2.1-or-later
"""The windows of a program, whoever tells of them."""

from dataclasses import dataclass

LONGEST_TITLE = 80
LONGEST_ERROR = 200


@dataclass(frozen=True, kw_only=True)
class Windows:
    """``shown``: a window was put on the screen; ``error``: what was refused, or why none is told.

    Title and error are a guest's word, and cut.
    """

    shown: bool = False
    title: str = ""
    error: str = ""
