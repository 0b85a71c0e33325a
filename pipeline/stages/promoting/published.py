# SPDX-License-Identifier: LGPL-2.1-or-later
"""Verdicts for everybody, as JSON files beside the repository.

``verdicts/<commit>.json`` for reading, ``verdicts/<commit>.json.asc`` for believing: the same text
with its signature in one file, so that nobody sees one without the other. ``verdicts.json`` lists
the newest decision on every tree.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.ports.files import write_text
from pipeline.ports.gpg import Keyring
from pipeline.ports.ledger import Ledger, PromotionRow, VerdictRow

_LISTED = 200
_LOOKED_AT = 10 * _LISTED


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """Writes what the ledger knows into a directory that is served."""

    ledger: Ledger
    keyring: Keyring
    into: Path

    def publish(self, rows: Iterable[PromotionRow]) -> None:
        """Publish the verdicts on the commits of these decisions, and the list."""
        with self.keyring.unlocked():
            for row in rows:
                self._write(f"verdicts/{row.commit}.json", self._told(row))
            self._write("verdicts.json", self._list())

    def sign_again(self) -> None:
        """Sign what is published with the key that signs now."""
        with self.keyring.unlocked():
            for path in sorted(self.into.rglob("*.json")):
                signed = self.keyring.sign_text(path.read_text())
                write_text(path.with_name(f"{path.name}.asc"), signed)

    def _write(self, name: str, value: object) -> None:
        text = json.dumps(value, indent=2, sort_keys=True) + "\n"
        write_text(self.into / name, text)
        write_text(self.into / f"{name}.asc", self.keyring.sign_text(text))

    def _told(self, row: PromotionRow) -> dict[str, Any]:
        tree = self.ledger.tree(row.commit)
        return {
            **_decision(row),
            "snapshot": tree.snapshot if tree else "",
            "components": self.ledger.components(row.commit),
            "verdicts": [_attempt(one) for one in self.ledger.attempts(row.commit)],
            "published": _utc(time.time()),
        }

    def _list(self) -> list[dict[str, Any]]:
        newest: dict[tuple[str, str, str], PromotionRow] = {}
        for row in self.ledger.promotions(limit=_LOOKED_AT):
            newest.setdefault((row.osname, row.tree, row.commit), row)
        return [_decision(row) for row in list(newest.values())[:_LISTED]]


def _decision(row: PromotionRow) -> dict[str, Any]:
    return {
        "osname": row.osname,
        "tree": row.tree,
        "commit": row.commit,
        "run": row.run,
        "state": row.state,
        "reason": row.reason,
        "gate": dict(row.gate),
        "when": _utc(row.ended if row.ended is not None else row.began),
    }


def _attempt(row: VerdictRow) -> dict[str, Any]:
    return {
        "suite": row.suite,
        "attempt": row.attempt,
        "verdict": row.verdict,
        "run": row.run,
        "cause": row.cause,
        "message": row.message,
        "seconds": row.seconds,
        "evidence": row.evidence,
        "when": _utc(row.recorded),
    }


def _utc(when: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
