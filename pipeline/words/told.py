# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a master's page tells of a try to whoever goes along with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.words.run import RunRecord


@dataclass(frozen=True, kw_only=True)
class ToldTry:
    """How a try goes. ``log`` is the next piece of its run's log, which then is read up to ``at``.

    ``facts`` is what became of it, where that was written down, as ``ostci try --json`` has it.
    """

    state: str
    message: str
    is_over: bool
    run: str = ""
    record: RunRecord | None = None
    log: str = ""
    at: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
