# SPDX-License-Identifier: LGPL-2.1-or-later
"""A master that is told of pushes by hooks alone: its own rounds are an hour apart."""

import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

from pipeline.ports.master_settings import write_secret
from pipeline.words.push import Push
from tests.masters import Up

SECRET = "correct horse"
SETTINGS: dict[str, Any] = {"poll": 3600, "reconcile": 60}


def give_secret(up: Up) -> None:
    """Let a master that was not started yet take plain hooks."""
    (up.home / "master").mkdir(parents=True)
    write_secret(up.home / "master", "hook-plain", SECRET)


def send(up: Up, repository: Path) -> float:
    """Send the hook of a repository; tells when, in seconds since 1970."""
    body = json.dumps({"url": str(repository)}).encode()
    sign = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    at = time.time()
    code, text = up.post("change_hook/plain", body, X_Ostci_Signature=f"sha256={sign}")
    assert code == 200, text
    return at


def ended(up: Up, after: str) -> Push:
    """Wait until the push of a revision has its ending."""
    up.wait(lambda: _of(up, after) is not None, "the push is recorded")
    push = _of(up, after)
    assert push is not None
    (done,) = up.wait_ended(push, within_s=600)
    return done


def _of(up: Up, after: str) -> Push | None:
    found = [push for push in up.ledger.pushes.newest(3) if push.after == after]
    return found[-1] if found else None
