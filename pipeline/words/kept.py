# SPDX-License-Identifier: LGPL-2.1-or-later
"""The machine of a test that failed, kept as it was: of which test, and when."""

import hashlib
from dataclasses import dataclass

_LONGEST = 100


@dataclass(frozen=True, kw_only=True)
class KeptMachine:
    """``suite`` and ``test`` are named as ``ostci test --suite SUITE/TEST`` has them.

    ``since`` is seconds since 1970. ``is_of_its_end``: it is as it was when its suite had ended,
    because other tests had the same machine. Without ``has_shell`` its shell had not answered
    by then: perhaps only its console is left.
    """

    run: str
    tree: str
    suite: str
    test: str
    since: float
    commit: str = ""
    message: str = ""
    is_of_its_end: bool = False
    has_shell: bool = True

    @property
    def key(self) -> str:
        """Name its directory."""
        return slug(f"{self.run} {self.tree} {self.suite}/{self.test}")

    def is_meant(self, path: str, suite: str) -> bool:
        """Tell whether a person means it by ``RUN/TREE/SUITE/TEST``, and a suite or its test.

        Of the path run and tree may be left out, and its end.
        """
        name = f"{self.suite}/{self.test}/"
        rest = f"{path}/" if path else ""
        rest = rest.removeprefix(f"{self.run}/").removeprefix(f"{self.tree}/")
        return name.startswith(rest) and (not suite or name.startswith(f"{suite}/"))


def slug(name: str) -> str:
    """Make the name of a file of any name, another one for each."""
    plain = "".join(char if char.isalnum() or char in "._-" else "-" for char in name)
    if plain and plain == name and len(plain) <= _LONGEST and not plain.startswith("."):
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{plain[:_LONGEST].lstrip('.')}-{digest}"
