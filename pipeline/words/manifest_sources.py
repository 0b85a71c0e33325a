# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where files come from: the text of ``src``, prefixes, and which URLs are let through.

URLs end as arguments of git and others, so only what is listed here passes: git alone knows
transports that run commands (``ext::``), and a word that begins with a dash is an option.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pipeline.words.findings import Findings, Wrong, one_of
from pipeline.words.manifest import Source, SourceKind
from pipeline.words.manifest_schema import ArchivePinKeys, PinKeys, SourceKeys, SourcesKeys
from pipeline.words.manifest_values import parse_debian_version
from pipeline.words.refs import is_revision
from pipeline.words.source_urls import absolute, check_url
from pipeline.words.yaml_nodes import Path

KINDS = tuple(kind.value for kind in SourceKind)
ARCHIVES = (SourceKind.TARBALL, SourceKind.ZIPFILE)
FILE_SCHEMES = ("https", "http", "file")
DEFAULT_BRANCH = "master"
"""The original's, for a source that names no branch, tag or revision."""

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_REVISION_NAME = re.compile(r"[A-Za-z0-9_][^\s:?*\[\\\x00-\x1f\x7f]*")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Makes sources of a manifest's texts; says what is wrong with them to ``findings``."""

    findings: Findings
    prefixes: Mapping[str, str] = field(default_factory=dict)
    original: bool = False
    relative_to: str = ""

    def with_prefixes(self, prefixes: Mapping[str, str]) -> "Sources":
        """Check the prefixes, once each, and take them for what is read from now on."""
        for prefix, expansion in prefixes.items():
            path = ("vcsconfig", prefix)
            if prefix in KINDS and prefix != SourceKind.DEBIAN:
                self.findings.problem(path, f"{prefix!r} is a kind of source", key=True)
            elif expansion.partition(":")[0] not in KINDS:
                kind = expansion.partition(":")[0]
                hint = one_of(kind, KINDS)
                self.findings.problem(path, f"{expansion!r} begins with no kind of source", hint)
            else:
                self._check_expansion(expansion, path)
        return replace(self, prefixes=prefixes)

    def _check_expansion(self, expansion: str, path: Path) -> None:
        kind, _, start = expansion.partition(":")
        try:
            # What will be appended is checked where it stands; here, anything does.
            self._location(SourceKind(kind), f"{start}xx")
        except Wrong as wrong:
            self.findings.problem(path, wrong.message.replace(f"{start}xx", start), wrong.hint)

    def read(self, keys: SourceKeys, path: Path) -> Source | None:
        """Make the source of a component; None where that was told to be wrong."""
        wrong = self.findings.is_wrong
        if keys.has("src") == keys.has("sources"):
            if keys.has("src"):
                self.findings.problem((*path, "sources"), "src and sources say the same", key=True)
            elif not wrong(*path, "src") and not wrong(*path, "sources"):
                self.findings.problem(
                    (*path, "src"), "a component needs src", "such as git:https://…"
                )
            return None
        if keys.has("src"):
            return self.read_text(keys.src, keys, path)
        for name in ("branch", "tag", "revision", "checksum", "versions"):
            if keys.has(name):
                message = f"{name} stands beside sources"
                self.findings.problem((*path, name), message, "write it within", key=True)
        return self._read_mapping(keys.sources, (*path, "sources"))

    def read_text(self, text: str, keys: PinKeys, path: Path) -> Source | None:
        """Make a source of what ``src`` says and the keys beside it."""
        where = (*path, "src")
        prefix, colon, rest = text.partition(":")
        if prefix in self.prefixes and colon:
            if self.findings.is_wrong("vcsconfig", prefix):
                return None
            kind, _, location = (self.prefixes[prefix] + rest).partition(":")
        elif colon and prefix in KINDS:
            kind, location = prefix, rest
        elif self.findings.is_wrong("vcsconfig") or self.findings.is_wrong("vcsconfig", prefix):
            return None
        else:
            self.findings.problem(where, *self._no_kind(text, prefix if colon else ""))
            return None
        return self._make(SourceKind(kind), location, keys, path, where)

    def _no_kind(self, text: str, prefix: str) -> tuple[str, str]:
        if text.startswith("-"):
            return f"{text!r} would be read as an option", "src begins with git:, local: or so"
        if prefix in ("http", "https", "ssh", "file"):
            return f"{text!r} does not say what is there", f"did you mean 'git:{text}'?"
        if text.startswith(("/", ".")) or not prefix:
            return f"{text!r} does not say what is there", f"did you mean 'local:{text}'?"
        known = [*KINDS, *self.prefixes]
        return f"{prefix!r} is neither a kind of source nor in vcsconfig", one_of(prefix, known)

    def _read_mapping(self, keys: SourcesKeys, path: Path) -> Source | None:
        given = [kind for kind in KINDS if keys.has(kind)]
        if len(given) != 1:
            if not any(self.findings.is_wrong(*path, kind) for kind in KINDS):
                told = f"this has {' and '.join(given)}" if given else ""
                message = f"sources needs one of {', '.join(KINDS)}"
                self.findings.problem(path, message, told)
            return None
        where = (*path, given[0])
        return self._make(SourceKind(given[0]), getattr(keys, given[0]), keys, path, where)

    def _make(
        self, kind: SourceKind, location: str, keys: PinKeys, path: Path, where: Path
    ) -> Source | None:
        try:
            location, version = self._location(kind, location)
        except Wrong as wrong:
            self.findings.problem(where, wrong.message, wrong.hint)
            return None
        source = Source(kind=kind, location=location)
        source = self._pinned(source, keys, path)
        if isinstance(keys, ArchivePinKeys):
            source = self._checked(source, keys, path, where)
        if version and source.versions:
            self.findings.problem((*path, "versions"), "src names a version already", key=True)
        return replace(source, versions=(version,)) if version else source

    def _location(self, kind: SourceKind, text: str) -> tuple[str, str]:
        """Check a location; tells it, and for Debian the version that stood beside it."""
        if kind is SourceKind.GIT:
            return check_url(text, relative_to=self.relative_to), ""
        if kind in ARCHIVES:
            return check_url(text, schemes=FILE_SCHEMES, relative_to=self.relative_to), ""
        if kind is SourceKind.LOCAL:
            if text.startswith("-") or not text or "://" in text:
                raise Wrong(f"{text!r} is no path", "such as local:../zlib")
            return absolute(text, self.relative_to), ""
        name, equals, version = text.partition("=")
        if not _PACKAGE.fullmatch(name):
            raise Wrong(f"{name!r} is no name of a Debian source package", "such as debian:zlib")
        return name, parse_debian_version(version) if equals else ""

    def _pinned(self, source: Source, keys: PinKeys, path: Path) -> Source:
        """Take branch, tag or revision; the narrowest in the original's, one of them in ours."""
        given = [name for name in ("revision", "tag", "branch") if keys.has(name)]
        for name in ("tag", "branch"):
            if name in given and not _is_git_name(getattr(keys, name)):
                self.findings.problem((*path, name), f"{getattr(keys, name)!r} is no {name} of git")
        if source.kind is not SourceKind.GIT:
            for name in () if self.original else given:
                self.findings.problem((*path, name), f"{name} is for git alone", key=True)
            return source
        if len(given) > 1 and not self.original:
            message = f"{' and '.join(reversed(given))} are given"
            self.findings.problem((*path, given[0]), message, "keep one of them", key=True)
        first = given[0] if given else ""
        if first == "revision":
            return replace(source, revision=keys.revision)
        if first == "tag":
            if is_revision(keys.tag):
                return replace(source, revision=keys.tag)
            return replace(source, tag=keys.tag)
        return replace(source, branch=keys.branch or DEFAULT_BRANCH)

    def _checked(self, source: Source, keys: ArchivePinKeys, path: Path, where: Path) -> Source:
        if source.kind in ARCHIVES:
            if not keys.checksum and not self.findings.is_wrong(*path, "checksum"):
                hint = "sha256sum FILE prints it"
                self.findings.problem(where, f"a {source.kind} needs a checksum", hint)
        elif keys.has("checksum") and not self.original:
            message = "a checksum is for tarball and zipfile alone"
            self.findings.problem((*path, "checksum"), message, key=True)
        if keys.has("versions") and source.kind is not SourceKind.DEBIAN:
            self.findings.problem((*path, "versions"), "versions are for debian alone", key=True)
        checksum = keys.checksum if source.kind in ARCHIVES else ""
        return replace(source, checksum=checksum, versions=tuple(keys.versions))


def _is_git_name(text: str) -> bool:
    """Tell whether git can know a branch or tag by that name (git-check-ref-format(1))."""
    bad = ("..", "@{", "//", "/.", ".lock/")
    ends = ("/", ".", ".lock")
    if not _REVISION_NAME.fullmatch(text):
        return False
    return not any(part in text for part in bad) and not text.endswith(ends)


def default_name(text: str, prefixes: Iterable[str] = ()) -> str:
    """Name a component after its ``src``: its last part, without ``.git``.

    After a prefix all counts, as in the original: ``fd:xcb/util`` is ``xcb-util``, because what
    is one thing to a project of many repositories is told by its folders there.
    """
    prefix, _, rest = text.rstrip("/").partition(":")
    last = rest if prefix in prefixes else re.split(r"[/:]", text.rstrip("/"))[-1]
    return last.removesuffix(".git").partition("=")[0].replace("/", "-")
