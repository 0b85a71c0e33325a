# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a command works on: settings, manifest, repositories, ledger; opened when first used.

A work directory has an ``ostci.toml``::

    manifest = "debian.yaml"      # relative to the work directory
    jobs = 2                      # cores to use; all by default
    machines = "qemu:///embed"    # or qemu:///system, qemu:///session
    address = "127.0.0.1:8080"    # where ostci serve listens
    ledger = "postgresql:///ostci"   # a file of SQLite here by default
    keep-machines = 72            # hours for which ostci attach enters the machine of a failed test
    artifacts = true              # publish what promoted trees are made of, for ostci try --from

In one that is for tries of what a server has (``ostci try --from``) stands in their place::

    server = "https://ci.example.org"

and perhaps a table ``[master]``, see ``ports/master_settings``.
"""

import json
import os
import platform
import shlex
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipeline.ports.files import lock, write_text
from pipeline.ports.ledger_place import KEY, SETTINGS, ledger_url
from pipeline.ports.log import Log
from pipeline.ports.workdir import ADDRESS, RunDir, Workdir
from pipeline.words.errors import BadInput
from pipeline.words.manifest import DEBIAN_SUITE

if TYPE_CHECKING:  # each of these takes a while to import and few commands need all
    from pipeline.ports.artifacts import Artifacts
    from pipeline.ports.git import Mirrors
    from pipeline.ports.gpg import Keyring
    from pipeline.ports.ledger import Ledger
    from pipeline.ports.ostree import Repo
    from pipeline.words.manifest import Manifest

    M = TypeVar("M", bound=Mirrors)

CLIENTS_KEY = "clients.gpg"
_DURATIONS = "durations.json"
SERVED = "served.json"
"""In a work directory without a manifest of its own: the snapshot that a server has had last."""
KEEP_MACHINES_H = 72
_KEYS = {
    "manifest": str,
    "jobs": int,
    "machines": str,
    "address": str,
    "artifacts": bool,
    "keep-machines": int,
    "server": str,
    KEY: str,
    "master": dict,
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What ``ostci.toml`` says, defaults filled in."""

    manifest: Path
    jobs: int
    machines: str = "qemu:///embed"
    address: str = ADDRESS
    ledger: str
    """Its URL, see ``ports/ledger_place``."""
    artifacts: bool = False
    keep_machines_h: int = KEEP_MACHINES_H
    """Hours for which the machines of tests that failed can be entered; 0: none is kept."""
    server: str = ""
    """Whose artifacts tries begin from; then there is no manifest here."""


def find_root(given: Path | None) -> Path:
    """Find the work directory: given, in the environment, or here or above."""
    named = given or (Path(os.environ["OSTCI_WORKDIR"]) if "OSTCI_WORKDIR" in os.environ else None)
    here = (named or Path.cwd()).resolve()
    for path in [here] if named else [here, *here.parents]:
        if (path / SETTINGS).is_file():
            return path
    where = str(here) if named else f"{here} and above"
    raise BadInput(
        f"no work directory: there is no {SETTINGS} in {where}",
        hint="make one: ostci init DIR MANIFEST",
    )


def read_settings(root: Path) -> Settings:
    """Read ``ostci.toml``; raises BadInput for what it cannot hold."""
    path = root / SETTINGS
    try:
        found = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise BadInput(str(error), where=str(path)) from error
    for key, value in found.items():
        kind = _KEYS.get(key)
        if kind is None or not isinstance(value, kind):
            wanted = f"wants a {kind.__name__}" if kind else f"is none of {', '.join(_KEYS)}"
            raise BadInput(f"{key} {wanted}", where=str(path))
    if ("manifest" in found) == ("server" in found):
        raise BadInput("it names no manifest, nor a server instead of one", where=str(path))
    return Settings(
        manifest=(root / found.get("manifest", SERVED)).resolve(),
        jobs=max(1, found.get("jobs", len(os.sched_getaffinity(0)))),
        machines=found.get("machines", Settings.machines),
        address=found.get("address", Settings.address),
        ledger=ledger_url(Workdir(root), found.get(KEY), where=str(path)),
        artifacts=found.get("artifacts", Settings.artifacts),
        keep_machines_h=max(0, found.get("keep-machines", KEEP_MACHINES_H)),
        server=found.get("server", ""),
    )


def must_be_new(root: Path) -> None:
    """Raise BadInput where there is a work directory already."""
    if (root / SETTINGS).exists():
        raise BadInput(f"{root} is a work directory already", hint=f"edit {root / SETTINGS}")


def init(root: Path, manifest: Path) -> None:
    """Make a work directory for a manifest; raises BadInput where there is one already."""
    must_be_new(root)
    if not manifest.is_file():
        raise BadInput(f"there is no manifest {manifest}")
    root.mkdir(parents=True, exist_ok=True)
    Workdir(root.resolve()).make()
    write_text(root / SETTINGS, f'manifest = "{os.path.relpath(manifest, root)}"\n')


def init_served(root: Path, server: str) -> None:
    """Make a work directory for tries of what a server has."""
    must_be_new(root)
    root.mkdir(parents=True, exist_ok=True)
    Workdir(root.resolve()).make()
    write_text(root / SETTINGS, f"server = {json.dumps(server)}\n")


class House:
    """One work directory and all that belongs to it."""

    def __init__(self, root: Path, *, log: Log) -> None:
        self.workdir = Workdir(root.resolve())
        self.settings = read_settings(self.workdir.root)
        self.log = log
        self.tmp = self.workdir.tmp
        """For files of this process alone; ``repair.locked`` gives it a directory of its own."""

    @cached_property
    def manifest(self) -> "Manifest":
        """The manifest as it is now; its warnings are logged.

        What it names on this machine, such as patches, is there: else nothing was begun yet.
        """
        from pipeline.cli.manifest_commands import load

        path = self.settings.manifest
        if self.settings.server:
            return self._served_manifest(path)
        if not path.is_file():
            hint = f"see manifest in {self.workdir.root / SETTINGS}"
            raise BadInput(f"there is no manifest {path}", hint=hint)
        manifest, warnings = load(path)
        for warning in warnings:
            self.log.warning(str(warning))
        return manifest

    def _served_manifest(self, path: Path) -> "Manifest":
        from pipeline.words.records import from_json
        from pipeline.words.snapshot import Snapshot

        if not path.is_file():
            what = f"nothing was taken from {self.settings.server} yet"
            raise BadInput(what, hint=self.command("try", "COMPONENT=DIR"))
        return from_json(Snapshot, path.read_bytes(), where=str(path)).manifest

    @cached_property
    def repo(self) -> "Repo":
        """The repository to build with."""
        from pipeline.ports.ostree import Mode, Repo

        return Repo(self.workdir.repo, log=self.log).create(Mode.BARE_USER)

    @cached_property
    def archive(self) -> "Repo":
        """The repository that is served."""
        from pipeline.ports.ostree import Mode, Repo

        return Repo(self.workdir.archive, log=self.log).create(Mode.ARCHIVE)

    @cached_property
    def artifacts(self) -> "Artifacts":
        """The artifacts by recipe and key."""
        from pipeline.ports.artifacts import Artifacts

        return Artifacts(self.repo, self.workdir.cache / "artifacts.sqlite")

    @cached_property
    def mirrors(self) -> "Mirrors":
        """The git mirrors."""
        from pipeline.ports.git import Mirrors

        return _mirrors(self, Mirrors)

    @cached_property
    def ledger(self) -> "Ledger":
        """The ledger."""
        from pipeline.ports.ledger import Ledger

        return Ledger(self.settings.ledger)

    @cached_property
    def keyring(self) -> "Keyring":
        """The key that promotion signs with; made when first used."""
        from pipeline.ports.gpg import Keyring

        keyring = Keyring(self.workdir.keys, log=self.log)
        keyring.ensure(f"{self.manifest.osname} (ostci)")
        return keyring

    def clients_key(self) -> bytes:
        """Tell the public key that clients trust: on a worker the master's, which is fetched."""
        fetched = self.workdir.keys / CLIENTS_KEY
        return fetched.read_bytes() if fetched.is_file() else self.keyring.export()

    def command(self, *words: str) -> str:
        """Write an ``ostci`` command on this work directory, to be pasted."""
        return " ".join(["ostci", "-C", shlex.quote(str(self.workdir.root)), *words])

    def expected_s(self, stage: str) -> float | None:
        """Tell how many seconds a stage took when it last did its work here."""
        return self._durations().get(stage)

    def note_duration(self, stage: str, seconds: float) -> None:
        """Remember how long a stage took."""
        with lock(self.workdir.lock("durations"), what="a note of how long it took", wait_s=60.0):
            durations = {**self._durations(), stage: round(seconds, 1)}
            write_text(self.workdir.cache / _DURATIONS, json.dumps(durations, indent=2) + "\n")

    def _durations(self) -> dict[str, float]:
        try:
            found: dict[str, float] = json.loads((self.workdir.cache / _DURATIONS).read_text())
        except (FileNotFoundError, ValueError):
            return {}  # the cache may be deleted, or cut short: then nothing is expected
        return found

    @property
    def arch(self) -> str:
        """The architecture that this machine builds."""
        machine = platform.machine()
        if machine not in self.manifest.architectures:
            wanted = ", ".join(self.manifest.architectures)
            raise BadInput(f"this machine is {machine}, the manifest wants {wanted}")
        return machine

    def last_run(self, result: str = "run") -> RunDir:
        """Find the newest run that has a result; raises BadInput where there is none."""
        for version in reversed(self.workdir.versions()):
            run = self.workdir.run(version)
            if run.file(result).is_file():
                return run
        raise BadInput("there is no such run yet", hint=self.command("run"))


def _mirrors(house: House, kind: "type[M]") -> "M":
    from pipeline.stages.base import shared_cache

    base, shared = house.manifest.base, shared_cache()
    return kind(
        house.workdir.mirrors,
        log=house.log,
        suite=base.suite or DEBIAN_SUITE,
        debian_mirrors=base.mirrors,
        downloads=shared / "downloads" if shared else None,
    )


def late_mirrors(house: House) -> "Mirrors":
    """Open mirrors of what a server has resolved: they fetch what is to be built, when it is."""
    from pipeline.ports.git_late import LateMirrors

    mirrors = _mirrors(house, LateMirrors)
    mirrors.copies = house.workdir.runs
    return mirrors


def tried_artifacts(house: House, run: str) -> "Artifacts":
    """Open the artifacts as a try sees them: those of all, and its own."""
    from pipeline.ports.tried_artifacts import TriedArtifacts

    index = house.workdir.cache / "artifacts.sqlite"
    return TriedArtifacts(house.repo, index, osname=house.manifest.osname, run=run)
