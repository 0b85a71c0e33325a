# SPDX-License-Identifier: LGPL-2.1-or-later
"""The directories of a master and its worker, and how the two are started.

Layout of the home, ``buildbot/`` of the work directory unless told otherwise::

    master/master.toml    where the work directory is, and the ports
    master/secrets/       one file a secret, for its owner alone
    master/buildbot.tac   starts the master with the master.cfg of ostci
    master/state.sqlite   Buildbot's own database; deleting it loses no push, verdict or promotion
    master/twistd.log     the master's log
    master/quarantine/    what remote workers sent, until it was verified
    worker/buildbot.tac   starts one process with all slots
    worker/NAME/          where the commands of a slot begin
    builder/              the home of the worker that has a user of its own, see worker_user
"""

import errno
import importlib.metadata
import importlib.util
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.files import remove_tree, write_text
from pipeline.ports.log import Log
from pipeline.ports.master_settings import (
    MasterSettings,
    read_master_settings,
    says_worker_user,
    write_place,
)
from pipeline.ports.worker_user import (
    HOME,
    default_user,
    prepare_worker_user,
    starts_worker,
    worker_argv,
)
from pipeline.words.errors import Trouble

_UPGRADE_S = 300.0
QUARANTINE = "quarantine"
_MARK = ".upgraded"
_CONFIG = "master.cfg"
LONGEST_LINE = 1024**2
_LOG_BYTES = 10 * 1024**2
_LOG_FILES = 5
_LOG = """\
# Bounded: Twisted itself would keep every log that it has turned over.
from twisted.python import logfile
from twisted.python.log import FileLogObserver, ILogObserver

log = logfile.LogFile.fromFullPath(
    {log!r}, rotateLength={bytes}, maxRotatedFiles={files}
)
application.setComponent(ILogObserver, FileLogObserver(log).emit)
"""
_MASTER_TAC = """\
# Written by ostci up at each start; what is changed here is lost.
from buildbot.master import BuildMaster
from twisted.application import service

basedir = {home!r}
configfile = {config!r}
# Buildbot's own commands look for these very words.
application = service.Application('buildmaster')
master = BuildMaster(basedir, configfile, umask=0o022)
master.log_rotation.rotateLength = {bytes}
master.log_rotation.maxRotatedFiles = {files}
master.setServiceParent(application)
"""
_WORKER_TAC = """\
# Written by ostci up at each start; what is changed here is lost.
from pathlib import Path

from buildbot_worker.bot import Worker
from twisted.application import service

password = Path({secret!r}).read_text().strip()
application = service.Application("buildbot-worker")
for name in {names!r}:
    place = Path({home!r}, name)
    place.mkdir(exist_ok=True)
    worker = Worker(
        "127.0.0.1", {port}, name, password, str(place), 600, umask=0o022, maxdelay=5
    )
    # Longer lines are cut, and some of them lost: a plan has long ones.
    worker.bot.max_line_length = {line}
    worker.setServiceParent(application)
"""


@dataclass(frozen=True, kw_only=True)
class Home:
    """A master's home that is ready to be started."""

    settings: MasterSettings
    master: Path
    worker: Path
    shared: str = ""
    """Why what builds and boots has no user of its own, where nobody has said that it shall not."""

    @property
    def builder(self) -> Path:
        """Where the worker with a user of its own has its home."""
        return self.master.parent / HOME

    @property
    def dock(self) -> Path:
        """Where the dock begins; it writes nothing."""
        return self.master

    @property
    def programs(self) -> tuple[str, ...]:
        """What is to be kept up."""
        dock = ("dock",) if self.settings.remote.workers else ()
        return ("master", "worker", *dock, *((HOME,) if starts_worker(self.settings) else ()))

    def argv(self, name: str) -> list[str | Path]:
        """Write the command of one of the programs that stays in the foreground."""
        if name == HOME:
            return worker_argv(self.settings, self.master.parent)
        if name == "dock":
            module = [sys.executable, "-m", "pipeline.cli.main"]
            work = str(self.settings.workdir.root)
            return [*module, "-C", work, "dock", "--dir", self.master]
        place = getattr(self, name)
        return [
            twistd(),
            "--nodaemon",
            "--pidfile=",
            f"--logfile={place / 'twistd.log'}",
            f"--python={place / 'buildbot.tac'}",
        ]


def twistd(extra: str = "master") -> Path:
    """Find the program that both are run by; raises Trouble where Buildbot is not installed."""
    found = Path(sys.executable).with_name("twistd")
    wanted = "buildbot" if extra == "master" else "buildbot_worker"
    programs = [found, *([found.with_name("buildbot")] if extra == "master" else [])]
    is_there = all(one.is_file() for one in programs)
    if not is_there or importlib.util.find_spec(wanted) is None:
        raise Trouble("Buildbot is not installed here", hint=f"pip install 'ostci[{extra}]'")
    return found


def config_file() -> Path:
    """Find ``master.cfg``: at the top of the sources, or where an installation has put it."""
    for folder in (Path(__file__).resolve().parents[2], Path(sys.prefix) / "share" / "ostci"):
        if (folder / _CONFIG).is_file():
            return folder / _CONFIG
    raise Trouble("there is no master.cfg of ostci", hint="pip install 'ostci[master]'")


def environment() -> Mapping[str, str]:
    """Tell what master and worker see of our environment; their commands inherit no more."""
    kept = ("HOME", "USER", "OSTCI_CACHE", "TMPDIR")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **found}


def prepare(
    home: Path, *, work: Path, port: int, worker_port: int, dock_port: int = 0, log: Log
) -> Home:
    """Make or bring up to date the directories; raises BadInput for wrong settings.

    A ``dock_port`` of 0 is any that is free.
    """
    master, worker = home / "master", home / "worker"
    for place in (master, worker):
        place.mkdir(parents=True, exist_ok=True)
    user, shared = "", ""
    if not says_worker_user(work):
        user, shared = default_user(work, home, log=log)
    write_place(
        master,
        work=work,
        port=port,
        worker_port=worker_port,
        dock_port=dock_port or free_port(),
        worker_user=user,
    )
    settings = read_master_settings(master)
    config = str(config_file())
    text = _MASTER_TAC.format(home=str(master), config=config, bytes=_LOG_BYTES, files=_LOG_FILES)
    write_text(master / "buildbot.tac", text + log_of(master))
    text = _WORKER_TAC.format(
        secret=str(master / "secrets" / "worker"),
        names=(*settings.run_slots, *settings.work_slots),
        home=str(worker),
        port=worker_port,
        line=LONGEST_LINE,
    )
    write_text(worker / "buildbot.tac", text + log_of(worker))
    # What was sent to a master that was killed is sent again.
    remove_tree(master / QUARANTINE)
    _upgrade(settings, log)
    prepare_worker_user(settings, home, log=log)
    return Home(settings=settings, master=master, worker=worker, shared=shared)


def log_of(place: Path, *, bytes: int = _LOG_BYTES, files: int = _LOG_FILES) -> str:
    """Write what a program's log is, for its ``buildbot.tac``; ``files`` old ones are kept."""
    return _LOG.format(log=str(place / "twistd.log"), bytes=bytes, files=files)


def is_upgraded(settings: MasterSettings) -> bool:
    """Tell whether Buildbot's database is there and was made for the Buildbot that is installed."""
    mark = settings.home / _MARK
    here = settings.database or (settings.home / "state.sqlite").is_file()
    return mark.is_file() and mark.read_text() == _mark(settings) and bool(here)


def _mark(settings: MasterSettings) -> str:
    version = importlib.metadata.version("buildbot")
    return f"{version} {settings.database}" if settings.database else version


def _upgrade(settings: MasterSettings, log: Log) -> None:
    """Bring Buildbot's database up to date; takes seconds, so only after a change of version."""
    if is_upgraded(settings):
        return
    buildbot = Path(sys.executable).with_name("buildbot")
    argv: list[str | Path] = [buildbot, "upgrade-master", "--quiet", settings.home]
    done = process.run(argv, log=log, env=environment(), deadline_s=_UPGRADE_S, ok=())
    if done.code:
        # It says on standard output what is wrong.
        told = "\n".join([*done.text.splitlines(), *done.error_text.splitlines()[-5:]])
        hint = process.repeat_line(argv)
        raise Trouble(f"Buildbot's database cannot be used:\n{told}", hint=f"to repeat: {hint}")
    write_text(settings.home / _MARK, _mark(settings))


def free_port() -> int:
    """Find a port of this host that nobody listens on at the moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def check_free(port: int, *, hint: str) -> None:
    """Raise Trouble where a port of this host cannot be listened on."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the programs will
        try:
            one.bind(("127.0.0.1", port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            what = f"something listens on port {port} already" if taken else f"port {port}: {error}"
            raise Trouble(what, hint=hint) from error


def answers(port: int, timeout_s: float = 1.0) -> bool:
    """Tell whether somebody listens on a port of this host."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout_s):
            return True
    except OSError:
        return False
