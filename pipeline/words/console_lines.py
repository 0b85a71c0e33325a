# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lines that a manifest wants to see on the console of a boot, and those it does not."""

import re
from collections.abc import Mapping

from pipeline.words.errors import BadInput


class ConsoleLines:
    """Patterns, each with what it stands for; remembers which of the required were seen."""

    def __init__(self, required: Mapping[str, str], forbidden: Mapping[str, str]) -> None:
        """Raises BadInput for a pattern that is none."""
        self._missing = {_compiled(one): what or one for one, what in required.items()}
        self._forbidden = {_compiled(one): what or one for one, what in forbidden.items()}

    @property
    def missing(self) -> dict[str, str]:
        """List the required patterns that were not seen, with what they stand for."""
        return {pattern.pattern: what for pattern, what in self._missing.items()}

    def take(self, text: str) -> str | None:
        """Take a line; tell what it stands for if it is forbidden."""
        for pattern in [one for one in self._missing if one.search(text)]:
            del self._missing[pattern]
        return next((what for one, what in self._forbidden.items() if one.search(text)), None)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        hint = "it is a regular expression of Python's re"
        raise BadInput(f"console line {pattern!r}: {error}", hint=hint) from error
