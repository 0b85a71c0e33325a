# SPDX-License-Identifier: LGPL-2.1-or-later
"""The home of a worker on a machine of its own, and how its process is started.

Layout::

    work/              an ostci work directory, with no manifest of its own: runs bring theirs
    work/worker.json   who the worker is, and what it trusts
    slots/away-NAME-N/     where the commands of a slot begin; info/ is what the master is told
    trust/ca.pem       who signs the master's certificate; not there without TLS
    buildbot.tac       starts one process with all slots
    twistd.log         its log
"""

import os
import platform
import shutil
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline import __version__
from pipeline.ports.files import write_bytes, write_text
from pipeline.ports.master_home import LONGEST_LINE, log_of, twistd
from pipeline.ports.remote_settings import slot_name
from pipeline.ports.static_http import parse_address
from pipeline.ports.workdir import Workdir
from pipeline.words.errors import BadInput
from pipeline.words.fitness import FILE, Capabilities, in_words
from pipeline.words.records import from_json, to_json

IDENTITY = "worker.json"
_SHAKE_S = 10.0
_TAC = """\
# Written by ostci worker at each start; what is changed here is lost.
import os
from pathlib import Path

from buildbot_worker.bot import Worker
from twisted.application import service

os.environ["OSTCI_WORKDIR"] = {work!r}
password = Path({password!r}).read_text().strip()
application = service.Application("buildbot-worker")
for place in {places!r}:
    worker = Worker(
        None, None, Path(place).name, password, place, 60, umask=0o022, maxdelay=30,
        connection_string={server!r},
    )
    # Longer lines are cut, and some of them lost.
    worker.bot.max_line_length = {line}
    worker.setServiceParent(application)
"""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who a worker is; paths are absolute. ``ca`` is empty where it speaks no TLS.

    ``room`` is how many bytes have to be free before it takes a job.
    """

    name: str
    password_file: str
    room: int
    ca: str = ""


@dataclass(frozen=True, kw_only=True)
class WorkerHome:
    """A worker's home that is ready to be started."""

    root: Path
    identity: Identity
    slots: int
    server: str

    @property
    def worker(self) -> Path:
        """Where its process begins."""
        return self.root

    @property
    def workdir(self) -> Workdir:
        return Workdir(self.root / "work")

    @property
    def places(self) -> tuple[Path, ...]:
        """The directories of the slots."""
        names = (slot_name(self.identity.name, number) for number in range(1, self.slots + 1))
        return tuple(self.root / "slots" / name for name in names)

    def argv(self, _name: str) -> list[str | Path]:
        """Write the command that stays in the foreground."""
        return [
            twistd("worker"),
            "--nodaemon",
            "--pidfile=",
            f"--logfile={self.root / 'twistd.log'}",
            f"--python={self.root / 'buildbot.tac'}",
        ]

    def tell(self, told: Capabilities) -> None:
        """Write down what the master is told at the next connection."""
        for place in self.places:
            info = place / "info"
            info.mkdir(parents=True, exist_ok=True)
            write_text(info / FILE, to_json(told, indent=None))
            write_text(info / "host", f"{platform.node()}: {in_words(told)}\n")
            write_text(info / "admin", "ostci worker\n")


def prepare_worker(
    root: Path,
    *,
    name: str,
    server: str,
    password_file: Path,
    ca: Path | None,
    slots: int,
    room: int,
) -> WorkerHome:
    """Make a home or bring it up to date; raises BadInput for what cannot be."""
    host, port = parse_address(server)
    _check_secret(password_file)
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o700)
    trust = root / "trust"
    shutil.rmtree(trust, ignore_errors=True)
    connection = f"tcp:host={host}:port={port}"
    if ca is not None:
        if not ca.is_file():
            raise BadInput(f"there is no {ca}", hint="--ca: a file in PEM")
        trust.mkdir()
        write_bytes(trust / "ca.pem", ca.read_bytes())
        connection = f"tls:{host}:{port}:trustRoots={str(trust).replace(':', chr(92) + ':')}"
    identity = Identity(
        name=name,
        password_file=str(password_file),
        room=room,
        ca=str(trust / "ca.pem") if ca is not None else "",
    )
    home = WorkerHome(root=root, identity=identity, slots=slots, server=connection)
    home.workdir.root.mkdir(exist_ok=True)
    home.workdir.make()
    write_text(home.workdir.root / "ostci.toml", 'manifest = "manifest-of-the-run.yaml"\n')
    write_text(home.workdir.root / IDENTITY, to_json(identity))
    for place in home.places:
        place.mkdir(parents=True, exist_ok=True)
    text = _TAC.format(
        work=str(home.workdir.root),
        password=str(password_file),
        places=tuple(map(str, home.places)),
        server=connection,
        line=LONGEST_LINE,
    )
    write_text(root / "buildbot.tac", text + log_of(root))
    return home


def why_mistrusted(home: WorkerHome, server: str) -> str:
    """Say why the master's certificate is not to be trusted; Buildbot's own log does not.

    Empty where it is, where there is no TLS, and where nobody answers.
    """
    if not home.identity.ca:
        return ""
    host, port = parse_address(server)
    context = ssl.create_default_context(cafile=home.identity.ca)
    try:
        with socket.create_connection((host, port), timeout=_SHAKE_S) as plain:
            context.wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLError as error:
        return f"{server} is not to be trusted: {getattr(error, 'verify_message', '') or error}"
    except OSError:
        return ""  # it may not be up yet
    return ""


def read_identity(workdir: Workdir) -> Identity:
    """Read who the worker of a work directory is; raises BadInput where it is of none."""
    path = workdir.root / IDENTITY
    if not path.is_file():
        raise BadInput(f"{workdir.root} is not the work directory of a worker", hint="ostci worker")
    return from_json(Identity, path.read_bytes(), where=str(path))


def capabilities(home: Path, *, room: int, kvm: bool, wrong: tuple[str, ...] = ()) -> Capabilities:
    """Look at what this machine has."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Capabilities(
        version=__version__,
        arch=platform.machine(),
        user=os.geteuid(),
        cores=len(os.sched_getaffinity(0)),
        memory=memory,
        free=shutil.disk_usage(home).free,
        room=room,
        kvm=kvm,
        wrong=wrong,
    )


def worker_environment(env: Mapping[str, str], program: Path) -> Mapping[str, str]:
    """Tell what a worker's process sees; its commands find ``ostci`` where this one lies."""
    return {**env, "PATH": f"{program.parent}:{env['PATH']}"}


def _check_secret(path: Path) -> None:
    if not path.is_file():
        hint = f"install -m 600 /dev/stdin {path}"
        raise BadInput(f"there is no password in {path}", hint=hint)
    if path.stat().st_mode & 0o077:
        raise BadInput("others may read this password", where=str(path), hint=f"chmod 600 {path}")
