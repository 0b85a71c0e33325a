# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a master is told: where its work directory is, where it listens, how much it does at once.

Two files say so. ``master.toml`` in the master's own directory is written by ``ostci up`` and
names the work directory and the ports; ``[master]`` in the work directory's ``ostci.toml`` is for
people::

    [master]
    runs = 4            # runs on their way at once
    slots = 2           # builds, disks and suites at once; all cores by default
    poll = 60           # seconds between two looks at all repositories
    base-poll = 3600    # seconds between two looks at the base; at once: ostci push base
    nightly = "02:00"   # the newest snapshot again, base and all suites, at that time (UTC)
    reconcile = 60      # seconds between two looks for pushes that nothing works on
    attempts = 3        # how often a push is started before it ends as trouble
    silent = 1200       # seconds without output after which a command is stopped
    longest = 14400     # seconds that a command may take
    url = "https://ci.example.org/"   # as people reach the page
    served = "https://os.example.org/"   # as people reach what ostci serve shows
    keep-logs = 90      # days that Buildbot keeps the logs of builds; runs have their own
    keep-builds = 365   # days that it keeps builds and changes; the ledger keeps how runs ended
    keep-newest = 50    # builds of each component and suite that it keeps, however old
    database = "postgresql:///buildbot"   # Buildbot's own; SQLite in its directory by default
    worker-user = "ostci-worker"   # builds and boots as this user, see worker_user; "none": as ours
    [master.users]
    alice = "operator"  # may stop; a push is gone through again with ostci run --push N

``[master.remote]`` is of workers on other machines, see ``remote_settings``.

Secrets are files of the master's directory, ``secrets/NAME``, for its owner alone: ``worker``,
``user-NAME``, ``database`` (a password), and ``hook-github``, ``hook-gitlab``, ``hook-gitea``,
``hook-plain``. A kind of hook without its secret does not exist. Who is told of pushes is in
``[master.report]``, see ``report_settings``.
"""

import os
import re
import secrets
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.ports.files import write_text
from pipeline.ports.ledger_place import KEY, is_same_database, ledger_url
from pipeline.ports.remote_settings import (
    LOCAL,
    RemoteSettings,
    RemoteWorker,
    read_remote_settings,
)
from pipeline.ports.report_settings import Receiver, check_report, read_receivers
from pipeline.ports.workdir import ADDRESS, Workdir
from pipeline.words.errors import BadInput
from pipeline.words.fitness import Pool
from pipeline.words.nightly import is_clock

PLACE = "master.toml"
HOOKS = ("github", "gitlab", "gitea", "plain")
ROLES = ("developer", "operator")
_LOCAL = "127.0.0.1"
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NUMBERS = ("runs", "slots", "poll", "reconcile", "attempts", "silent", "longest")
_DASHED = ("keep-logs", "keep-builds", "keep-newest", "base-poll")
_WORDS = ("url", "served", "path", "database", "nightly")
_USER = "worker-user"
_NOBODY = "none"
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
DOCK_PORT = 8012


@dataclass(frozen=True, kw_only=True)
class MasterSettings:
    """All that the master's configuration is made of; times are in seconds."""

    home: Path
    workdir: Workdir
    manifest: Path
    port: int = 8010
    worker_port: int = 9989
    url: str = ""
    served: str = ""
    """Where runs and verdicts are seen; it ends with a slash."""
    runs: int = 4
    slots: int = 2
    poll: int = 60
    base_poll: int = 3600
    nightly: str = ""
    """When the newest snapshot is gone through again, UTC; empty for never."""
    reconcile: int = 60
    attempts: int = 3
    silent: int = 1200
    longest: int = 14400
    path: str = ""
    """Where commands are looked for, ``ostci`` first of all."""
    # Buildbot writes what steps are made of into its log: the secrets are left out of that.
    worker_password: str = field(default="", repr=False)
    users: Mapping[str, str] = field(default_factory=dict)
    """User → role."""
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    hooks: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Kind of hook → its secret."""
    remote: RemoteSettings = field(default_factory=RemoteSettings)
    receivers: tuple[Receiver, ...] = ()
    """Who is told of pushes."""
    ledger_url: str
    """Where pushes are written down."""
    keep_logs: int = 90
    keep_builds: int = 365
    """Days, as ``keep_logs``."""
    keep_newest: int = 50
    """Builds of each builder, also of virtual ones."""
    database: str = ""
    """Where Buildbot has its own data, without the password; empty for SQLite."""
    database_password: str = field(default="", repr=False)
    worker_user: str = ""
    """Who builds and boots; empty for the master's own user."""

    @property
    def run_slots(self) -> tuple[str, ...]:
        """Names of the workers that take runs; the first one only ever takes the oldest push."""
        return tuple(f"run-{number}" for number in range(self.runs + 1))

    @property
    def work_slots(self) -> tuple[str, ...]:
        """Names of the workers of the master's user that make disks.

        They build components and boot disks, too, unless ``worker_user`` does.
        """
        return tuple(f"work-{number}" for number in range(1, self.slots + 1))

    @property
    def remote_slots(self) -> tuple[str, ...]:
        """Names of the slots of workers with homes of their own."""
        return tuple(name for one in self.remote.workers for name in one.slot_names)


def read_master_settings(home: Path) -> MasterSettings:
    """Read both files and the secrets; raises BadInput with the place of what is wrong."""
    place = _read_toml(home / PLACE)
    work = Path(str(place.get("work", "")))
    if not work.is_absolute() or not work.is_dir():
        raise BadInput(f"work is no directory: {work}", where=str(home / PLACE), hint="ostci up")
    said = _read_toml(work / "ostci.toml")
    table = said.get("master", {})
    _check(table, str(work / "ostci.toml"))
    users = table.get("users", {})
    port = _port(place, "port", home, MasterSettings.port)
    given: dict[str, Any] = {key: table[key] for key in (*_NUMBERS, *_WORDS) if key in table}
    if "remote" in table:
        given["remote"] = read_remote_settings(
            table["remote"],
            home,
            where=str(work / "ostci.toml"),
            secret=lambda name: _secret(home, name),
        )
    given |= {key.replace("-", "_"): table[key] for key in _DASHED if key in table}
    given.setdefault("slots", len(os.sched_getaffinity(0)))
    worker_user = str(table.get(_USER, place.get(_USER, _NOBODY)))
    if worker_user != _NOBODY:
        given["worker_user"] = worker_user
        given["remote"] = _with_local(given.get("remote", RemoteSettings()), home, place, given)
    given.setdefault("url", f"http://{_LOCAL}:{port}/")
    served = str(given.get("served") or f"http://{said.get('address', ADDRESS)}/")
    given["served"] = f"{served.rstrip('/')}/"
    given.setdefault("path", f"{Path(sys.executable).parent}:{_SYSTEM_PATH}")
    where = str(work / "ostci.toml")
    ledger = ledger_url(Workdir(work), said.get(KEY), where=where)
    if given.get("database") and is_same_database(given["database"], ledger):
        what = "master.database and ledger are the same: each needs one of its own"
        raise BadInput(what, where=where, hint="createdb buildbot")
    return MasterSettings(
        home=home,
        ledger_url=ledger,
        workdir=Workdir(work),
        manifest=(work / str(said.get("manifest", ""))).resolve(),
        port=port,
        worker_port=_port(place, "worker-port", home, MasterSettings.worker_port),
        worker_password=_secret(home, "worker"),
        database_password=_optional(home, "database"),
        users=users,
        passwords={user: _secret(home, f"user-{user}") for user in users},
        hooks={kind: found for kind in HOOKS if (found := _optional(home, f"hook-{kind}"))},
        receivers=read_receivers(
            table.get("report", {}),
            secret=lambda name: _secret(home, name),
            optional=lambda name: _optional(home, name),
        ),
        **given,
    )


def _with_local(
    remote: RemoteSettings, home: Path, place: Mapping[str, Any], given: Mapping[str, Any]
) -> RemoteSettings:
    """Add the worker of this machine that has a user of its own."""
    local = RemoteWorker(
        name=LOCAL, pool=Pool.PUSH, slots=given["slots"], password=_secret(home, f"worker-{LOCAL}")
    )
    port = _port(place, "dock-port", home, DOCK_PORT)
    return replace(remote, workers=(*remote.workers, local), local_dock=f"{_LOCAL}:{port}")


def says_worker_user(work: Path) -> bool:
    """Tell whether people have settled who builds, be it nobody of his own."""
    table = _read_toml(work / "ostci.toml").get("master", {})
    return isinstance(table, dict) and _USER in table


def write_place(
    home: Path,
    *,
    work: Path,
    port: int,
    worker_port: int,
    dock_port: int = DOCK_PORT,
    worker_user: str = "",
) -> None:
    """Write ``master.toml`` and, where there are none yet, passwords of this machine's workers.

    ``worker_user`` is who builds where ``ostci.toml`` does not say it; empty for the master's own.
    """
    text = f'work = "{work}"\nport = {port}\nworker-port = {worker_port}\n'
    text += f"dock-port = {dock_port}\n"
    write_text(home / PLACE, text + (f'{_USER} = "{worker_user}"\n' if worker_user else ""))
    folder = home / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in ("worker", f"worker-{LOCAL}"):
        if not (folder / name).is_file():
            write_secret(home, name, secrets.token_hex(16))


def write_secret(home: Path, name: str, value: str) -> None:
    """Write a secret for its owner alone."""
    path = home / "secrets" / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(value)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise BadInput(f"there is no {path.name}", where=str(path), hint="ostci up") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInput(str(error), where=str(path)) from error


def _check(table: Any, where: str) -> None:
    if not isinstance(table, dict):
        raise BadInput("master is a table: [master]", where=where)
    for key, value in table.items():
        if key in (*_NUMBERS, *_DASHED):
            if type(value) is not int or value < 1:
                raise BadInput(f"master.{key} wants a number from 1, not {value!r}", where=where)
        elif key in _WORDS:
            if not isinstance(value, str):
                raise BadInput(f"master.{key} wants a text, not {value!r}", where=where)
            if key == "database" and not value.startswith("postgresql"):
                raise BadInput(
                    "master.database wants postgresql://…; without it, SQLite", where=where
                )
            if key == "nightly" and not is_clock(value):
                what = f"master.nightly wants a time of day, 02:00, not {value!r}"
                raise BadInput(what, where=where)
        elif key == _USER:
            if not isinstance(value, str) or not _ACCOUNT.fullmatch(value):
                raise BadInput(f"master.{key} wants an account, not {value!r}", where=where)
        elif key == "users":
            _check_users(value, where)
        elif key == "remote":
            continue  # it checks itself
        elif key == "report":
            check_report(value, where)
        else:
            known = ", ".join((*_NUMBERS, *_DASHED, *_WORDS, _USER, "users", "remote", "report"))
            raise BadInput(f"master.{key} is none of {known}", where=where)


def _check_users(users: Any, where: str) -> None:
    if not isinstance(users, dict):
        raise BadInput("master.users is a table of names and roles", where=where)
    for user, role in users.items():
        if role not in ROLES:
            wanted = " or ".join(ROLES)
            raise BadInput(f"master.users.{user} wants {wanted}, not {role!r}", where=where)


def _port(place: Mapping[str, Any], key: str, home: Path, default: int) -> int:
    value = place.get(key, default)
    if type(value) is not int or not 0 < value < 65536:
        raise BadInput(f"{key} wants a port, not {value!r}", where=str(home / PLACE))
    return value


def _secret(home: Path, name: str) -> str:
    found = _optional(home, name)
    if not found:
        path = home / "secrets" / name
        raise BadInput(
            f"there is no secret {name}", where=str(path), hint=f"install -m 600 /dev/stdin {path}"
        )
    return found


def _optional(home: Path, name: str) -> str:
    path = home / "secrets" / name
    if not path.is_file():
        return ""
    if path.stat().st_mode & 0o077:
        raise BadInput("others may read this secret", where=str(path), hint=f"chmod 600 {path}")
    return path.read_text().strip()
