# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian's packages: which versions a list of names stands for, and a root made of them.

apt answers the first question in a private directory, without downloading a package and
without reading this machine's own settings; mmdebstrap does the second, as root or, in a user
namespace, as an ordinary user. Both are given the same sources.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pipeline.ports import process, userns
from pipeline.ports.files import full_disk, lock, shared_place, write_text
from pipeline.ports.log import Log
from pipeline.words.errors import BadInput, Failed, Trouble

EPOCH = 1640995200
"""2022-01-01: the time at which every base is made, as far as its files can tell."""

VARIANTS = ("minbase", "apt", "essential", "exact")
"""How much comes with the packages that are named; of several, the first in this order."""

_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "i686": "i386",
    "armv7": "armhf",
    "riscv64": "riscv64",
    "ppc64le": "ppc64el",
}
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*(=[A-Za-z0-9][A-Za-z0-9.+:~-]*)?")
_PATTERN = re.compile(r"[a-z0-9*?\[][a-z0-9+.*?\[\]!-]*")
_SUITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_URL = re.compile(r"(https?|file|copy):/[^\s\[\]]+")
_LINE = re.compile(r"deb (\[[^\]\n]*\] )?\S+ \S+( [A-Za-z0-9._-]+)*")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_WITHOUT_DERIVED_SUITES = ("sid", "unstable", "testing", "experimental")
_UPDATE_S, _MAKE_S = 600.0, 3600.0
_WAIT_S = 900.0


_MOVED = re.compile(
    "404 |File not found|Hash Sum mismatch|unexpected size|Mirror sync in progress|not valid yet"
)


class Moved(Trouble):
    """The archive has other packages by now than its lists said: new lists will do."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Where packages come from: lines of sources.list(5), and whose packages."""

    suite: str
    architecture: str
    sources: tuple[str, ...]


def archive(suite: str, mirrors: Sequence[str], arch: str) -> Archive:
    """Understand what a manifest says of Debian; raises BadInput for what could mislead apt.

    ``mirrors`` are URLs or whole ``deb`` lines. Without any it is Debian's own, with the suite's
    updates and security fixes.
    """
    if not _SUITE.fullmatch(suite):
        raise BadInput(f"not the name of a suite of Debian: {suite!r}", where="base")
    if arch not in _ARCHITECTURES:
        raise BadInput(
            f"Debian has no architecture {arch!r}",
            where="base",
            hint=f"there are {', '.join(_ARCHITECTURES)}",
        )
    for mirror in mirrors:
        if not (_URL.fullmatch(mirror) or _LINE.fullmatch(mirror)):
            raise BadInput(
                f"not a mirror of Debian: {mirror!r}",
                where="base",
                hint="give a URL (http, https, file, copy) or a line such as "
                "'deb http://deb.debian.org/debian bookworm main'",
            )
    lines = list(mirrors) or _default_sources(suite)
    return Archive(
        suite=suite,
        architecture=_ARCHITECTURES[arch],
        sources=tuple(_signed(_whole_line(line, suite)) for line in lines),
    )


def check_names(names: Sequence[str], *, patterns: bool = False) -> None:
    """Refuse what is no name of a package; raises BadInput that lists all of them."""
    bad = [
        name
        for name in names
        if not (_NAME.fullmatch(name) or (patterns and _PATTERN.fullmatch(name)))
    ]
    if bad:
        raise BadInput(
            f"not names of packages: {', '.join(map(repr, bad))}",
            where="base.packages",
            hint="lower case letters, digits, + - and . (and =VERSION)",
        )


def is_pattern(name: str) -> bool:
    """Tell whether an entry of a list stands for several packages."""
    return any(letter in name for letter in "*?[")


def _default_sources(suite: str) -> list[str]:
    main = "http://deb.debian.org/debian"
    if suite in _WITHOUT_DERIVED_SUITES:
        return [f"deb {main} {suite} main"]
    return [
        f"deb {main} {suite} main",
        f"deb {main} {suite}-updates main",
        f"deb http://deb.debian.org/debian-security {suite}-security main",
    ]


def _whole_line(mirror: str, suite: str) -> str:
    return mirror if mirror.startswith("deb ") else f"deb {mirror} {suite} main"


def _signed(line: str) -> str:
    """Name the key that has to have signed: this machine's apt may not trust Debian's."""
    if line.startswith("deb [") or not _KEYRING.is_file():
        return line
    return f"deb [signed-by={_KEYRING}] {line.removeprefix('deb ')}"


class PrivateApt:
    """apt with lists of packages of its own, in a directory that may be deleted at any time."""

    def __init__(self, source: Archive, directory: Path, *, log: Log) -> None:
        self.source = source
        self.directory = directory
        self.log = log

    def update(self, *, max_age_s: float) -> float:
        """Fetch the lists anew if they are older; tell their age in seconds.

        Raises Trouble where a mirror cannot be reached: old lists are not passed off as new.
        """
        with self._locked():
            age = self.age()
            if age is not None and 0 <= age <= max_age_s:
                return age
            self._configure()
            options = ["-o", "APT::Update::Error-Mode=any", "-o", "Acquire::Retries=2"]
            self._apt([*options, "update"], deadline_s=_UPDATE_S)
            write_text(self._stamp, "")
            return 0.0

    def age(self) -> float | None:
        """Tell the age of the lists in seconds; None where there are none."""
        return time.time() - self._stamp.stat().st_mtime if self._stamp.is_file() else None

    @property
    def _stamp(self) -> Path:
        return self.directory / "updated"

    def versions(self, variant: str, names: Sequence[str]) -> dict[str, str]:
        """Tell name → version of all that a root of these packages consists of.

        Raises Failed for names that the archive does not have, or that cannot go together.
        """
        wanted = [name for name in names if not is_pattern(name)]
        argv = ["--simulate", "--yes", "install", *self._patterns(variant), "--", *wanted]
        with self._locked():
            said = self._apt(argv, deadline_s=_UPDATE_S).text
        found = dict(re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", said, re.MULTILINE))
        if variant == "exact":
            found = {
                name: version
                for name, version in found.items()
                if any(fnmatchcase(name, entry.partition("=")[0]) for entry in names)
            }
        return dict(sorted(found.items()))

    def download(self, packages: Mapping[str, str], into: Path) -> list[Path]:
        """Fetch packages of these versions, and check them; tells their files, by name.

        Raises Moved where the archive no longer has what its lists say. apt reads the lists of a
        ``file:`` archive where they lie: it may take another version for the one it was asked for.
        """
        into.mkdir(parents=True, exist_ok=True)
        wanted = [f"{name}={version}" for name, version in packages.items()]
        with self._locked():
            self._apt(["download", "--", *wanted], deadline_s=_MAKE_S, cwd=into)
        files = sorted(into.glob("*.deb"))
        for path in files:
            argv: list[str | Path] = ["dpkg-deb", "--show", "--showformat=${Package} ${Version}"]
            name, _, version = process.run([*argv, path], log=self.log).text.partition(" ")
            if packages.get(name) != version:
                told = f"{name} {packages.get(name, 'none')} → {version}"
                raise Moved(f"the archive has moved on since its lists were read: {told}")
        return files

    def get_source(self, argv: Sequence[str], cwd: Path | None) -> str:
        """Ask for source packages (``apt-get source ARGV``), verified; tells what apt said.

        The lists must be of sources: lines that begin with ``deb-src``.
        """
        with self._locked():
            return self._apt(["source", *argv], deadline_s=_MAKE_S, cwd=cwd).text

    def state(self) -> str:
        """Hash what the lists say, so that an answer can be kept as long as they do not change."""
        lists = self.directory / "var/lib/apt/lists"
        parts = []
        for path in sorted(lists.glob("*Release")):
            # An InRelease file has the hashes of all other lists in it.
            parts.append(f"{path.name} {hash_text(path.read_text(errors='replace'))}")
        return hash_text("\n".join(parts))

    def _patterns(self, variant: str) -> list[str]:
        # As mmdebstrap chooses: by the suite's own idea of what is essential or required.
        suite = self.source.suite
        ours = f"?or(?archive(^{suite}$),?codename(^{suite}$))"
        ours += f",?architecture({self.source.architecture})"
        essential = f"?narrow({ours},?essential)"
        required = f"?narrow({ours},?and(?priority(required),?not(?essential)))"
        found = {
            "minbase": [essential, required, "apt"],
            "apt": [essential, "apt"],
            "essential": [essential],
            "exact": [],
        }
        return found[variant]

    def _configure(self) -> None:
        for name in ("etc/apt/preferences.d", "etc/apt/apt.conf.d", "var/lib/apt/lists/partial"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        (self.directory / "var/cache/apt/archives/partial").mkdir(parents=True, exist_ok=True)
        (self.directory / "var/lib/dpkg").mkdir(parents=True, exist_ok=True)
        write_text(self.directory / "var/lib/dpkg/status", "")
        write_text(self.directory / "etc/apt/sources.list", "\n".join([*self.source.sources, ""]))
        settings = {
            "Dir": str(self.directory),
            "Dir::State::status": str(self.directory / "var/lib/dpkg/status"),
            "APT::Architecture": self.source.architecture,
            "APT::Architectures": self.source.architecture,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::http::Timeout": "30",
            "Acquire::https::Timeout": "30",
            "Dir::Etc::Trusted": "/etc/apt/trusted.gpg",
            "Dir::Etc::TrustedParts": "/etc/apt/trusted.gpg.d/",
        }
        lines = [f"{name} {json.dumps(value)};" for name, value in settings.items()]
        write_text(self.directory / "apt.conf", "\n".join([*lines, ""]))

    def _apt(
        self, argv: Sequence[str], *, deadline_s: float, cwd: Path | None = None
    ) -> process.Finished:
        env = {**_environment(), "APT_CONFIG": str(self.directory / "apt.conf")}
        words = ["apt-get", "--quiet", *argv]
        try:
            return process.run(words, log=self.log, env=env, cwd=cwd, deadline_s=deadline_s)
        except process.CommandError as error:
            raise classify(error, self.directory) from error

    def _locked(self) -> AbstractContextManager[None]:
        return lock(self.directory / "lock", what="apt's lists", wait_s=_WAIT_S)


def bootstrap(
    source: Archive,
    variant: str,
    names: Sequence[str],
    output: Path,
    *,
    temporary: Path,
    log: Log,
) -> None:
    """Make a root of packages as a tar archive; equal packages give equal bytes.

    ``temporary`` needs room for the root (or /var/tmp, where not everybody can come to it). Raises
    Failed where packages cannot be installed, and Trouble where they cannot be had.
    """
    check_names(names)
    temporary.mkdir(parents=True, exist_ok=True)
    argv: list[str | Path] = [
        # What it mounts in the root goes with it, also when it is killed; a user's own namespace
        # does the same.
        *(("unshare", "--mount", "--propagation=private", "--") if os.geteuid() == 0 else ()),
        "mmdebstrap",
        f"--variant={variant}",
        "--format=tar",
        f"--architectures={source.architecture}",
        '--aptopt=Acquire::Languages "none"',
        "--aptopt=Acquire::Retries 2",
        # The root is thrown away when anything goes wrong; nothing is gained by waiting for disks.
        "--dpkgopt=force-unsafe-io",
    ]
    if names:
        argv.append(f"--include={','.join(names)}")
    env = {
        **_environment(),
        "SOURCE_DATE_EPOCH": str(EPOCH),
        # The initramfs is made by us: Debian's takes a third of the time.
        "INITRD": "No",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    argv += [source.suite, output, *source.sources]
    on_line = lambda line: log.detail(line, about="mmdebstrap")  # noqa: E731
    with _passable(temporary) as place:
        env["TMPDIR"] = str(place)
        try:
            process.run(argv, log=log, env=env, deadline_s=_MAKE_S, on_line=on_line)
        except process.CommandError as error:
            raise classify(error, place) from error


@contextmanager
def _passable(temporary: Path) -> Iterator[Path]:
    """Find a directory for mmdebstrap that everybody can come to, which a home is often not.

    In the namespace that it makes for an ordinary user, root is one of the subordinate ids.
    """
    way = (temporary, *temporary.parents)
    if os.geteuid() == 0 or all(one.stat().st_mode & 0o001 for one in way):
        yield temporary
        return
    with shared_place(Path("/var/tmp"), "ostci-base-", remove=userns.remove_tree) as place:
        yield place


def unpack_to_tar(package: Path, output: Path, *, log: Log) -> None:
    """Write the files of a binary package as a tar archive."""
    with (
        output.open("wb") as file,
        process.start(["dpkg-deb", "--fsys-tarfile", package], log=log, stdout=file) as child,
    ):
        said = child.stderr.read().decode(errors="replace") if child.stderr else ""
        if child.wait(_UPDATE_S) != 0:
            raise Failed(f"cannot be unpacked: {said.strip()}", where=package.name)


def classify(error: process.CommandError, directory: Path) -> Exception:
    """Tell whose fault it is that apt or mmdebstrap failed."""
    text = f"{error.finished.stdout.decode(errors='replace')}\n{error.finished.error_text}"
    if "No space left on device" in text:
        return full_disk(directory)
    missing = sorted(set(re.findall(r"Unable to locate package (\S+)", text)))
    missing += sorted(set(re.findall(r"Package '?([a-z0-9+.-]+)'? has no installation cand", text)))
    missing += sorted(set(re.findall(r"Version '\S+' for '\S+' was not found", text)))
    if missing:
        return Failed(
            f"the archive has no package {', '.join(missing)}",
            where="base",
            hint="look for the name at packages.debian.org, and for the suite it is in",
        )
    if "unmet dependencies" in text or "Unable to correct problems" in text:
        wrong = [line.strip() for line in text.splitlines() if " Depends: " in line]
        return Failed(
            f"packages that cannot go together: {'; '.join(wrong[:3])}",
            where="base",
            hint=error.hint,
        )
    reasons = "|".join(
        ["Failed to fetch", "Could not resolve", "Unable to connect", "is not signed", "NO_PUBKEY"]
    )
    told = [line for line in text.splitlines() if re.search(reasons, line)]
    if told:
        return (Moved if any(map(_MOVED.search, told)) else Trouble)(
            f"the mirror does not answer as it should: {told[0].strip()}",
            where="base",
            hint=error.hint,
        )
    return error


def _environment() -> dict[str, str]:
    """What apt and mmdebstrap see: nothing of the person's own but the way to the network."""
    kept = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HOME", "USER", "LOGNAME")
    found = {
        name: value for name, value in os.environ.items() if name in kept or name.lower() in kept
    }
    path = os.environ.get("PATH", "")
    if "/sbin" not in path.split(":"):
        path = f"{path}:/usr/sbin:/sbin"
    return {**found, "PATH": path, "LC_ALL": "C.UTF-8"}


def hash_text(text: str) -> str:
    """Hash a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
