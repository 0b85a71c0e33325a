# SPDX-License-Identifier: LGPL-2.1-or-later
"""Deploy a commit into a plain directory, as it will be on a disk, with the fixture in its /etc.

It knows ``ostree admin`` and the list of ``words.fixture``; disks are somebody else's business.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports import process, userns
from pipeline.ports.files import full_disk
from pipeline.ports.log import Log
from pipeline.words.errors import Failed
from pipeline.words.fixture import FIXTURE, FixtureFile, fixture_of
from pipeline.words.refs import Commit, RefName
from pipeline.words.session import SessionSpec

_SOURCES = Path(__file__).parents[1] / "fixture"
# The directory is thrown away when the disk is made: nothing in it has to reach the platter,
# and the flag that keeps deployments from being changed could not be kept by mke2fs anyhow.
_ENVIRONMENT = {
    "OSTREE_SYSROOT_DEBUG": "mutable-deployments",
    "OSTREE_SYSROOT_OPTS": "skip-sync",
    "OSTREE_SUPPRESS_SYNCFS": "1",
}


@dataclass(frozen=True, kw_only=True)
class Remote:
    """Where a machine looks for newer trees; nothing that is not signed by ``key`` is taken."""

    name: str
    url: str
    key: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What is deployed: ``options`` are the kernel's, in order."""

    osname: str
    ref: RefName
    commit: Commit
    options: tuple[str, ...]
    remote: Remote | None = None
    session: SessionSpec | None = None


def deploy(what: Deployment, sysroot: Path, *, repo: Path, log: Log) -> Path:
    """Make ``sysroot`` (an empty directory) a system root with one deployment; tell its path."""
    target = f"--sysroot={sysroot}"
    _ostree(["admin", "init-fs", "--modern", str(sysroot)], log=log)
    _ostree(["admin", "os-init", what.osname, target], log=log)
    inner = f"--repo={sysroot}/ostree/repo"
    # The kernel is started directly, from the entry that ostree writes: no loader to update.
    _ostree(["config", inner, "set", "sysroot.bootloader", "none"], log=log)
    _ostree(["pull-local", "--disable-fsync", inner, str(repo), what.commit], log=log)
    remote = what.remote.name if what.remote else what.osname
    origin = sysroot.with_name(f"{sysroot.name}.origin")
    origin.write_text(f"[origin]\nrefspec={remote}:{what.ref}\n")
    options = [f"--karg-append={option}" for option in what.options]
    os_name = f"--os={what.osname}"
    argv = ["admin", "deploy", target, os_name, f"--origin-file={origin}", "--karg-none"]
    _ostree([*argv, *options, what.commit], log=log)
    origin.unlink()
    # What links of the tree point to, and ostree leaves to a first boot.
    for name, mode in (("tmp", 0o1777),):
        (sysroot / name).mkdir(exist_ok=True)
        (sysroot / name).chmod(mode)
    return sysroot / "ostree/deploy" / what.osname / "deploy" / f"{what.commit}.0"


def settings(what: Deployment) -> dict[str, tuple[int, bytes]]:
    """List what a machine's own settings are: absolute path → (mode, content)."""
    found = {}
    if what.remote is not None and what.remote.url:
        name = what.remote.name
        key = f"/etc/ostree/{name}.gpg"
        lines = [f'[remote "{name}"]', f"url={what.remote.url}", "gpg-verify=true"]
        lines += ["gpg-verify-summary=true", *([f"gpgkeypath={key}"] if what.remote.key else [])]
        found[f"/etc/ostree/remotes.d/{name}.conf"] = (0o644, "\n".join([*lines, ""]).encode())
        if what.remote.key:
            found[key] = (0o644, what.remote.key)
    return found


def furnish(deployment: Path, what: Deployment) -> None:
    """Put the fixture and the machine's settings into the deployment's ``/etc``."""
    for path, (mode, content) in settings(what).items():
        _write(deployment, path, content, mode)
    for entry in fixture_of(what.session):
        target = deployment / entry.path.lstrip("/")
        if entry.symlink:
            _make_parents(deployment, target)
            target.unlink(missing_ok=True)
            target.symlink_to(entry.symlink)
        else:
            _write(deployment, entry.path, fixture_content(entry), entry.mode)


def fixture_content(entry: FixtureFile) -> bytes:
    """Read what a file of the fixture holds."""
    if entry.source:
        return (_SOURCES / entry.source).read_bytes()
    return entry.content.encode()


def fixture_state(entries: Sequence[FixtureFile] = FIXTURE) -> list[Mapping[str, str]]:
    """Describe all of the fixture, for a hash of what a disk was made from."""
    return [
        {
            "path": entry.path,
            "mode": oct(entry.mode),
            "link": entry.symlink,
            "content": "" if entry.symlink else fixture_content(entry).decode(),
        }
        for entry in entries
    ]


def _write(deployment: Path, path: str, content: bytes, mode: int) -> None:
    target = deployment / path.lstrip("/")
    _make_parents(deployment, target)
    # Never through a link of the tree's: what is there is replaced, not written to.
    target.unlink(missing_ok=True)
    target.write_bytes(content)
    target.chmod(mode)


def _make_parents(deployment: Path, target: Path) -> None:
    at = deployment
    for part in target.parent.relative_to(deployment).parts:
        at = at / part
        if at.is_symlink() or (at.exists() and not at.is_dir()):
            at.unlink()
        if not at.exists():
            at.mkdir(mode=0o755)
            at.chmod(0o755)


def _ostree(argv: Sequence[str], *, log: Log) -> None:
    env = {**os.environ, **_ENVIRONMENT}
    try:
        process.run(userns.as_root(["ostree", *argv]), log=log, env=env, deadline_s=900.0)
    except process.CommandError as error:
        text = error.finished.error_text
        if "No space left on device" in text or "min-free-space" in text:
            words = (word.rpartition("=")[2] for word in argv)
            place = next(word for word in words if word.startswith("/"))
            raise full_disk(Path(place)) from error
        # What a deployment has to have, and this tree has not.
        if re.search(r"[Ff]ailed to find kernel|/etc and /usr/etc|No such file.*os-release", text):
            raise Failed(f"the tree cannot be deployed: {text}", hint=error.hint) from error
        raise
