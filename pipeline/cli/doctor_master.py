# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ``ostci doctor`` knows of a master: settings, secrets, database, ports, workers."""

import json
import pwd
import stat
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from pipeline.cli.doctor import Finding
from pipeline.ports.master_home import answers, check_free, is_upgraded
from pipeline.ports.master_settings import MasterSettings, read_master_settings
from pipeline.ports.remote_settings import AWAY
from pipeline.ports.worker_user import DEFAULT, HOME
from pipeline.words.errors import Ending, Trouble

_ASK_S = 20.0
_PUBLIC = (".crt",)
"""Certificates are shown to everybody who connects."""


def examine_master(root: Path) -> list[Finding]:
    """Look at the master of a work directory, whether it runs or not; nothing where none ever did.

    Changes nothing.
    """
    home = root / "buildbot" / "master"
    if not (home / "master.toml").is_file():
        return []
    start = f"ostci -C {root} up"
    try:
        settings = read_master_settings(home)
    except Ending as error:
        return [_finding("settings", False, str(error), error.hint or f"edit {root}/ostci.toml")]
    return [
        _secrets(settings),
        _database(settings, start),
        _worker_user(settings, root),
        *(_running(settings, start) if answers(settings.port) else _stopped(settings, start)),
    ]


def _secrets(settings: MasterSettings) -> Finding:
    folder = settings.home / "secrets"
    # The modes of those that the settings name were looked at when they were read.
    secret = [path for path in folder.iterdir() if path.suffix not in _PUBLIC]
    open_ones = [path for path in (folder, *secret) if _mode(path) & 0o077]
    if open_ones:
        words = "others may read " + ", ".join(path.name for path in open_ones)
        mend = f"chmod go= {' '.join(map(str, open_ones))}"
        return _finding("secrets", False, words, mend)
    words = f"settings are good; {len(secret)} secrets, for their owner alone"
    return _finding("secrets", True, words)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _database(settings: MasterSettings, start: str) -> Finding:
    name = settings.database or "SQLite"
    if is_upgraded(settings):
        return _finding("database", True, f"{name}, made for the Buildbot that is installed")
    words = (
        f"{name} is of another Buildbot than is installed, or not there; the next start makes it"
    )
    return _finding("database", False, words, start, needed=False)


def _worker_user(settings: MasterSettings, root: Path) -> Finding:
    name = settings.worker_user
    if not name:
        words = "what builds and boots runs as the master's user, who has the keys"
        mend = f'worker-user = "{DEFAULT}" in [master] of {root}/ostci.toml'
        return _finding("worker user", False, words, mend, needed=False)
    try:
        pwd.getpwnam(name)
    except KeyError:
        mend = f"useradd --create-home --shell /usr/sbin/nologin {name}"
        return _finding("worker user", False, f"there is no account {name}", mend)
    words = f"{name} builds and boots, and cannot read keys, secrets and the ledger"
    return _finding("worker user", True, words)


def _stopped(settings: MasterSettings, start: str) -> list[Finding]:
    try:
        for port in (settings.port, settings.worker_port):
            check_free(port, hint=f"{start} --port 0 --worker-port 0")
    except Trouble as error:
        return [_finding("ports", False, f"the page does not answer, and {error}", error.hint)]
    ports = f"ports {settings.port} and {settings.worker_port} are free"
    return [_finding("up", False, f"it does not run; {ports}", start, needed=False)]


def _running(settings: MasterSettings, start: str) -> list[Finding]:
    try:
        workers = _ask(settings, "workers")["workers"]
    except (OSError, ValueError, KeyError) as error:
        words = f"what listens on port {settings.port} is not Buildbot: {error}"
        return [_finding("up", False, words, f"{start} --port 0")]
    local = settings.remote.local
    wanted = {*settings.run_slots, *settings.work_slots, *(local.slot_names if local else ())}
    here = {one["name"] for one in workers if one["connected_to"]}
    lacking = sorted(wanted - here)
    up = [_finding("up", True, f"it answers at {settings.url}")]
    away = [name for name in settings.remote_slots if name not in {*here, *wanted}]
    if away:
        # They come and go; what they do is done here meanwhile.
        words = f"on other machines, not connected: {', '.join(away)}"
        up.append(_finding("remote workers", False, words, needed=False))
    if lacking:
        words = f"not connected: {', '.join(lacking)}"
        ours = [name for name in lacking if not name.startswith(AWAY)]
        log = settings.home.parent / ("worker" if ours else HOME) / "twistd.log"
        return [*up, _finding("workers", False, words, f"tail {log}")]
    return [*up, _finding("workers", True, f"all {len(wanted)} slots are connected")]


def _ask(settings: MasterSettings, what: str) -> dict[str, Any]:
    url = f"http://127.0.0.1:{settings.port}/api/v2/{what}"
    with urllib.request.urlopen(url, timeout=_ASK_S) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def _finding(name: str, ok: bool, words: str, mend: str = "", *, needed: bool = True) -> Finding:
    return Finding(name=f"master's {name}", ok=ok, words=words, mend=mend, needed=needed)
