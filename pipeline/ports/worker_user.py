# SPDX-License-Identifier: LGPL-2.1-or-later
"""The worker of this machine under a user of its own: what builds and boots cannot read the keys.

It is a worker as those of other machines are (``worker_home``), with a home in ``buildbot/builder``
that is that user's alone. ``ostci up`` starts it where it is root; who is not cannot change users,
and a unit of the system does it (``ansible/``).

Unless ``worker-user`` says otherwise, a master of root takes ``ostci-worker`` where there is such
an account that can work here, and says why where not: whoever named an account wants no other way,
whoever did not wants a master first of all.
"""

import compileall
import importlib.util
import os
import pwd
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.ledger_place import sqlite_url
from pipeline.ports.log import Log
from pipeline.ports.master_settings import MasterSettings
from pipeline.words.errors import BadInput, Trouble

HOME = "builder"
DEFAULT = "ostci-worker"
"""Whom a master of root takes that was not told; ``make setup`` makes the account."""
_PASSWORD = "builder.password"
_ROOM_GIB = 1
_TRY_S = 60.0
_TRY = "import os, sys; import pipeline.cli.worker; os.stat(os.path.join(sys.argv[1], '.'))"


def starts_worker(settings: MasterSettings) -> bool:
    """Tell whether ``ostci up`` is to start a worker of another user."""
    return bool(settings.worker_user) and os.geteuid() == 0


def default_user(work: Path, home: Path, *, log: Log) -> tuple[str, str]:
    """Choose who builds for a master that was not told; tells the account, else why there is none.

    ``home`` is the directory of master and workers, ``work`` the work directory.
    """
    if os.geteuid() != 0:
        name = pwd.getpwuid(os.geteuid()).pw_name
        return (
            "",
            f"the worker shares {name}'s account: what is built or booted could read the keys",
        )
    try:
        account = _account(DEFAULT)
    except BadInput as error:
        return (
            "",
            f"what is built or booted is root: {error.what.partition(': ')[2]} ({error.hint})",
        )
    why = _why_unable(account, home, log=log)
    if why:
        told = f"{DEFAULT} cannot work here: {why} (let others enter {work} and {sys.executable})"
        return "", f"what is built or booted is root: {told}"
    return DEFAULT, ""


def prepare_worker_user(settings: MasterSettings, home: Path, *, log: Log) -> None:
    """Make what the worker needs below ``home``, and keep from it what is the master's alone.

    Raises BadInput where there is no such account, Trouble where it cannot run ostci here.
    """
    if not settings.worker_user:
        return
    _hide(settings)
    if not starts_worker(settings):
        return
    account = _account(settings.worker_user)
    compile_packages("pipeline", "vmtests")
    place = home / HOME
    place.mkdir(exist_ok=True)
    place.chmod(0o700)
    _give(place, account)
    path = home / _PASSWORD
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(settings.remote.local.password if settings.remote.local else "")
    _give(path, account)
    why = _why_unable(account, home, log=log)
    if why:
        raise Trouble(
            f"user {account.pw_name} cannot run ostci here: {why}",
            where=f"{place}, {sys.executable}",
            hint='let others enter the directories above, or worker-user = "none" in [master]',
        )


def _why_unable(account: pwd.struct_passwd, home: Path, *, log: Log) -> str:
    """Try whether an account can run ostci and reach its home, which need not be there yet."""
    place = home / HOME
    argv = [*_become(account, place), sys.executable, "-c", _TRY]
    argv.append(str(place if place.is_dir() else home))
    done = process.run(argv, log=log, cwd=Path("/"), ok=(), deadline_s=_TRY_S)
    if not done.code:
        return ""
    return (done.error_text.strip().splitlines() or ["it says nothing"])[-1]


def worker_argv(settings: MasterSettings, home: Path) -> list[str | Path]:
    """Write the command that is the worker, in the foreground."""
    place = home / HOME
    return [
        *_become(_account(settings.worker_user), place),
        *(sys.executable, "-m", "pipeline.cli.main"),
        *worker_words(settings, password=home / _PASSWORD, place=place),
    ]


def in_builder(root: Path, words: Sequence[str]) -> list[str | Path]:
    """Write a command of ``ostci`` in the home of this machine's worker, as the user it is.

    Raises BadInput where that is not there, or one is not root, with what to type there.
    """
    work = root / "buildbot" / HOME / "work"
    line = ["ostci", "-C", str(work), *words]
    if not (root / "buildbot" / HOME).is_dir():
        line[2] = "HOME-OF-THE-WORKER/work"
        hint = f"as the worker's user: {process.repeat_line(line)}"
        raise BadInput("it lies in the home of the worker of this machine", hint=hint)
    name = (root / "buildbot" / HOME).owner()
    if os.geteuid() != 0:
        hint = f"sudo runuser -u {name} -- {process.repeat_line(line)}"
        raise BadInput("it lies in the home of the worker of this machine", hint=hint)
    become = _become(pwd.getpwnam(name), work.parent)
    return [*become, sys.executable, "-m", "pipeline.cli.main", *line[1:]]


def worker_words(settings: MasterSettings, *, password: Path, place: Path) -> list[str]:
    """Write the words of ``ostci`` that make one the local worker of a master."""
    local = settings.remote.local
    assert local is not None
    return [
        *("worker", "--server", f"127.0.0.1:{settings.worker_port}", "--name", local.name),
        *("--password-file", str(password), "--dir", str(place), "--slots", str(local.slots)),
        # Whether machines boot is found out when one is: the probe would hold up the start.
        *("--room", str(_ROOM_GIB), "--no-boot"),
    ]


def compile_packages(*names: str) -> None:
    """Compile modules as far as they are not: who may not write beside them does so at each start.

    What we may not write there either is left alone.
    """
    for name in names:
        found = importlib.util.find_spec(name)
        for place in (found.submodule_search_locations or ()) if found is not None else ():
            compileall.compile_dir(place, quiet=2)


def _hide(settings: MasterSettings) -> None:
    """Let nobody else into the master's directory, the keys and the ledger.

    What SQLite puts beside a database gets that one's mode.
    """
    settings.home.chmod(0o700)
    workdir = settings.workdir
    workdir.keys.mkdir(mode=0o700, exist_ok=True)
    workdir.keys.chmod(0o700)
    if not workdir.archive.exists() and settings.ledger_url == sqlite_url(workdir.ledger):
        # Else one is missing that was there, and nobody must take an empty one for it.
        workdir.ledger.touch(mode=0o600)
    for path in workdir.root.glob(f"{workdir.ledger.name}*"):
        path.chmod(0o600)


def _account(name: str) -> pwd.struct_passwd:
    hint = f"useradd --create-home --shell /usr/sbin/nologin {name}"
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise BadInput(f"worker-user: there is no account {name}", hint=hint) from None
    if found.pw_uid == os.geteuid():
        raise BadInput(f"worker-user: {name} is who the master runs as", hint=hint)
    return found


def _give(path: Path, account: pwd.struct_passwd) -> None:
    os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _become(account: pwd.struct_passwd, place: Path) -> list[str]:
    """Write how a program is started as that user; it dies with whoever started it."""
    # A change of user clears the signal that a dying parent sends: it is asked for afterwards.
    user = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups"]
    own = (f"HOME={place}", f"USER={account.pw_name}", f"OSTCI_CACHE={place / 'cache'}")
    return ["setpriv", *user, "--pdeathsig=KILL", "--", "env", "--unset=TMPDIR", *own]
