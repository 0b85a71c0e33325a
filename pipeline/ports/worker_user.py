# SPDX-License-Identifier: LGPL-2.1-or-later
"""The worker of this machine under a user of its own: what builds and boots cannot read the keys.

It is a worker as those of other machines are (``worker_home``), with a home in ``buildbot/builder``
that is that user's alone. ``ostci up`` starts it where it is root; who is not cannot change users,
and a unit of the system does it (``ansible/``).
"""

import os
import pwd
import sys
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.log import Log
from pipeline.ports.master_settings import MasterSettings
from pipeline.words.errors import BadInput, Trouble

HOME = "builder"
_PASSWORD = "builder.password"
_ROOM_GIB = 1
_TRY_S = 60.0
_TRY = "import os, sys; import pipeline.cli.worker; os.scandir(sys.argv[1])"


def starts_worker(settings: MasterSettings) -> bool:
    """Tell whether ``ostci up`` is to start a worker of another user."""
    return bool(settings.worker_user) and os.geteuid() == 0


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
    argv = [*_become(account, place), sys.executable, "-c", _TRY, str(place)]
    done = process.run(argv, log=log, cwd=Path("/"), ok=(), deadline_s=_TRY_S)
    if done.code:
        said = (done.error_text.strip().splitlines() or ["it says nothing"])[-1]
        raise Trouble(
            f"user {account.pw_name} cannot run ostci here: {said}",
            where=f"{place}, {sys.executable}",
            hint="let others enter the directories above, or leave worker-user out of [master]",
        )


def worker_argv(settings: MasterSettings, home: Path) -> list[str | Path]:
    """Write the command that is the worker, in the foreground."""
    place = home / HOME
    return [
        *_become(_account(settings.worker_user), place),
        *(sys.executable, "-m", "pipeline.cli.main"),
        *worker_words(settings, password=home / _PASSWORD, place=place),
    ]


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


def _hide(settings: MasterSettings) -> None:
    """Let nobody else into the master's directory, the keys and the ledger.

    What SQLite puts beside a database gets that one's mode.
    """
    settings.home.chmod(0o700)
    workdir = settings.workdir
    workdir.keys.mkdir(mode=0o700, exist_ok=True)
    workdir.keys.chmod(0o700)
    if not workdir.archive.exists():
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
