# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a person asks for: a try of something that is not pushed yet, or a forced run.

It is kept with the push in the ledger, and with the run of a try as ``try.json``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.words.errors import BadInput

_SENT = re.compile(
    r"sent:(?P<id>[0-9a-f]{64}):(?P<revision>[0-9a-f]{40}):(?P<name>[A-Za-z0-9_+.-]{1,40})"
)
TRY = "try"
"""The kind of a run that nothing is promoted of."""
TOLD = "told"
"""The file of such a run that tells what became of it."""


class How(StrEnum):
    """What stands in for a component's source: a copy of a directory, or another revision."""

    DIRECTORY = "directory"
    REVISION = "revision"


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """One component with another source; ``given`` is what the person wrote.

    ``revision`` is what a branch or the start of a revision was found to be; of a directory the
    hash of its files. ``sent`` names a directory that came from elsewhere.
    """

    component: str
    how: How
    given: str
    revision: str = ""
    sent: str = ""

    def words(self) -> str:
        """Tell it to a person."""
        what = f"the files of {self.given}" if self.how is How.DIRECTORY else self.given
        at = self.revision[:12]
        return f"{self.component}: {what}" + (f" at {at}" if at and at != self.given else "")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """``rebuild`` are components that are built in any case; no ``targets`` or ``suites``: all."""

    by: str = ""
    replaced: tuple[Replacement, ...] = ()
    rebuild: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trial:
    """``try.json`` of a run: ``start`` is the run whose snapshot it began from.

    Where that is a run of a ``server``, ``trees`` are its trees there, by their names.
    """

    start: str
    wish: Wish
    server: str = ""
    trees: Mapping[str, str] = field(default_factory=dict)


def sent_text(id: str, revision: str, name: str) -> str:
    """Write what stands for a directory that was sent, as ``COMPONENT=`` takes it.

    No branch can be called so.
    """
    return f"sent:{id}:{revision}:{re.sub(r'[^A-Za-z0-9_+.-]', '_', name)[:40]}"


def replacement_of(component: str, given: str) -> Replacement:
    """Read what somebody elsewhere gives for a component; no directory of ours is ever meant."""
    found = _SENT.fullmatch(given)
    if found is None:
        return Replacement(component=component, how=How.REVISION, given=given)
    return Replacement(
        component=component,
        how=How.DIRECTORY,
        given=found["name"],
        revision=found["revision"],
        sent=found["id"],
    )


def parse_pairs(given: list[str]) -> dict[str, str]:
    """Read ``COMPONENT=WHAT`` pairs; raises BadInput for anything else."""
    found: dict[str, str] = {}
    for text in given:
        name, separator, what = text.partition("=")
        if not separator or not name or not what:
            hint = "such as zlib=../zlib, zlib=my-branch or zlib=1a2b3c4"
            raise BadInput(f"not COMPONENT=DIR, BRANCH or REVISION: {text!r}", hint=hint)
        if what.startswith("-"):
            raise BadInput(f"{what!r} would be read as an option", where=name)
        if name in found:
            raise BadInput(f"{name} is replaced twice", hint=f"keep one of them: {text}")
        found[name] = what
    return found
