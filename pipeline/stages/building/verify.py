# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether an artifact that was built elsewhere is one that could have been built here.

It lies in a repository of its own, the quarantine, whose objects have been checked by their
checksums. Its key must be the one that the run computes, its files where a build may put them, in
the part that they belong to, with owners and modes as the manifest grants, and its interface that
of its files. Not looked at is whether the files do what their source says: for that, a sample is
built again elsewhere.
"""

import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.ports.artifacts import commit_metadata
from pipeline.ports.files import remove_tree
from pipeline.ports.interface import interface
from pipeline.ports.key_refs import METADATA_KEY
from pipeline.ports.ostree import BINDING_KEY, CommitInfo, Repo
from pipeline.ports.ostree_objects import Missing, Objects
from pipeline.stages.building import placing
from pipeline.words.artifact import Artifact
from pipeline.words.errors import Trouble
from pipeline.words.manifest import Component
from pipeline.words.plan import Kind, Planner
from pipeline.words.records import from_json
from pipeline.words.refs import Commit, Key, Part

_SEEN_ELSEWHERE = (Part.DOC, Part.DEBUG, Part.TESTS)
_SET_ID = stat.S_ISUID | stat.S_ISGID
_TMPFILES = "usr/lib/tmpfiles.d/"


class Refused(Trouble):
    """What a worker sent is not what it says; it is the worker's fault, and nobody's push."""


@dataclass(frozen=True, kw_only=True)
class VerifyRequest:
    """``commits`` as the worker names them; ``key`` as it told it.

    ``planner`` has all settled that is in the component's buildroot.
    """

    component: Component
    recipe: Key
    key: Key
    commits: Mapping[Part, Commit]
    planner: Planner


def verify(request: VerifyRequest, *, repo: Repo, tmp: Path) -> Artifact:
    """Read an artifact out of a quarantine (``bare-user``); raises Refused."""
    if not request.commits:
        raise Refused("it sent no commit", where=request.component.name)
    infos = {part: _info(repo, commit) for part, commit in request.commits.items()}
    artifact = _artifact(request, infos)
    for part, info in infos.items():
        _check_files(request.component, part, info, repo)
    _check_interface(artifact, repo, tmp)
    return artifact


def _info(repo: Repo, commit: Commit) -> CommitInfo:
    if not repo.has_commit(commit):
        raise Refused(f"it names commit {commit}, which it did not send")
    return repo.info(commit)


def _artifact(request: VerifyRequest, infos: Mapping[Part, CommitInfo]) -> Artifact:
    name = request.component.name
    texts = {str(info.metadata.get(METADATA_KEY, "")) for info in infos.values()}
    if len(texts) != 1:
        raise Refused("its commits are of different artifacts", where=name)
    try:
        told = from_json(Artifact, texts.pop())
    except Trouble as error:
        raise Refused(f"its commits hold no artifact: {error.what}", where=name) from error
    artifact = replace(told, commits=dict(sorted(request.commits.items())))
    wanted = commit_metadata(artifact, infos)
    for info in infos.values():
        found = {key: value for key, value in info.metadata.items() if key != BINDING_KEY}
        if found != wanted or info.bindings or info.parent is not None or info.time != 0:
            raise Refused(f"{info.commit} is no commit of an artifact", where=name)
    if artifact.component != name:
        raise Refused(f"it is an artifact of {artifact.component}", where=name)
    if artifact.recipe != request.recipe:
        raise Refused(
            f"its recipe is {artifact.recipe[:12]}, not {request.recipe[:12]}", where=name
        )
    if artifact.key != request.key:
        raise Refused(f"its key is {artifact.key[:12]}, and it told {request.key[:12]}", where=name)
    decision = request.planner.decide(name, [artifact])
    if decision.kind is not Kind.KEEP:
        raise Refused(f"its key {artifact.key[:12]} does not follow from its inputs", where=name)
    if json.loads(json.dumps(artifact.inputs)) != json.loads(json.dumps(decision.inputs)):
        raise Refused("its inputs are not those of its recipe", where=name)
    if artifact.arch != decision.arch:
        raise Refused(f"it is of {artifact.arch}, not {decision.arch}", where=name)
    return artifact


def _check_files(component: Component, part: Part, info: CommitInfo, repo: Repo) -> None:
    objects = Objects(repo)
    granted = frozenset(component.setuid)
    where = f"{component.name} {part}"
    try:
        for path, checksum in repo.walk(info.commit):
            is_directory = path.endswith("/")
            meta = objects.meta(bytes.fromhex(checksum), "dirmeta" if is_directory else "file")
            if (meta.uid, meta.gid) != (0, 0) or meta.xattrs:
                raise Refused(f"{path} is not plainly root's", where=where)
            if is_directory:
                if stat.S_IMODE(meta.mode) != 0o755:
                    raise Refused(f"{path} has mode {stat.S_IMODE(meta.mode):o}", where=where)
                continue
            if not stat.S_ISREG(meta.mode) and not stat.S_ISLNK(meta.mode):
                raise Refused(f"{path} is neither file nor link", where=where)
            if stat.S_IMODE(meta.mode) & _SET_ID and path not in granted:
                raise Refused(f"{path} is setuid, which the manifest does not grant", where=where)
            _check_place(component, part, path, _link(repo, checksum, meta.mode), where)
    except Missing as error:
        raise Refused(f"{error} is missing", where=where) from error


def _link(repo: Repo, checksum: str, mode: int) -> str | None:
    if not stat.S_ISLNK(mode):
        return None
    path = repo.path / "objects" / checksum[:2] / f"{checksum[2:]}.file"
    return path.read_bytes().rstrip(b"\0").decode("utf-8", "surrogateescape")


def _check_place(
    component: Component, part: Part, path: str, link_to: str | None, where: str
) -> None:
    name = path.lstrip("/")
    if placing.place(name) != name or not name.startswith("usr/"):
        raise Refused(f"{path} is in no place that a tree has files in", where=where)
    wanted = placing.part_of(name, link_to=link_to)
    if component.generated_from and not name.startswith(_TMPFILES):
        wanted = Part.TESTS
    if wanted is not part:
        raise Refused(f"{path} belongs to {wanted}", where=where)


def _check_interface(artifact: Artifact, repo: Repo, tmp: Path) -> None:
    """Compare what it tells others to see with what is to be seen."""
    place = tmp / "interface"
    remove_tree(place)
    place.mkdir(parents=True)
    try:
        seen = []
        for part, commit in artifact.commits.items():
            if part not in _SEEN_ELSEWHERE:
                repo.checkout(commit, place / part)
                seen.append(place / part)
        found = interface(seen)
    finally:
        remove_tree(place)
    if found != dict(artifact.interface):
        names = sorted(
            name
            for name in found.keys() | artifact.interface.keys()
            if found.get(name) != artifact.interface.get(name)
        )
        told = ", ".join(names[:3])
        raise Refused(f"its interface is not that of its files: {told}", where=artifact.component)
