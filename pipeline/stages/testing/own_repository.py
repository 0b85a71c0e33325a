# SPDX-License-Identifier: LGPL-2.1-or-later
"""A run's own repository: what a guest upgrades from before anybody else may.

In it ``buildmaster`` names the commit under test, signed with a key that is made for the suite and
thrown away with it; nothing of it is ever published. It borrows all objects from the repository
that trees are built in (``core.parent``), so that making it costs the signatures, the summary and
one delta, however large the trees are.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pipeline.ports.files import write_bytes
from pipeline.ports.gpg import Keyring
from pipeline.ports.log import Log
from pipeline.ports.ostree import Dir, Mode, Repo
from pipeline.ports.process import CommandError
from pipeline.words.errors import Failed
from pipeline.words.refs import Commit, RefName, buildmaster_ref
from pipeline.words.suite import OwnRepository
from pipeline.words.tree import Tree

_DELTA_S = 120.0
"""A delta of most of a tree takes minutes; a promotion makes none then, either."""
_INITS = (
    "usr/sbin/init",
    "sbin/init",
    "usr/bin/init",
    "usr/lib/systemd/systemd",
    "lib/systemd/systemd",
)
_BROKEN = "#!/bin/sh\necho this tree cannot boot >/dev/console\nexit 1\n"


def make_own_repository(
    trees: Sequence[Tree],
    into: Path,
    *,
    osname: str,
    built_in: Path,
    also: Sequence[Commit] = (),
    upgrade: tuple[Commit, Commit] | None = None,
    is_to_break: bool = False,
    log: Log,
) -> OwnRepository:
    """Make a repository with trees of another one, signed.

    ``also`` are commits on no ref that are signed, too. ``upgrade`` are the commits that a delta
    leads from and to; with ``is_to_break`` there is one more, of the first tree, that cannot boot.
    """
    own = Repo(into / "repo", log=log).create(Mode.BARE_USER)
    source = Repo(built_in, log=log)
    names = {tree.name: _ref_of(source, osname, tree) for tree in trees}
    refs = {names[tree.name]: tree.commit for tree in trees}
    unbootable = names[trees[0].name] if is_to_break else None
    own.run("config", "set", "core.parent", str(built_in.resolve()))
    broken = None if unbootable is None else _break(own, built_in, unbootable, refs[unbootable])
    keyring, stranger = (Keyring(into / name, log=log) for name in ("key", "strange-key"))
    keyring.ensure("ostci test")
    stranger.ensure("a stranger")
    with keyring.unlocked() as home:
        sign = f"--gpg-homedir={home}"
        for commit in dict.fromkeys([*refs.values(), *also, *([broken] if broken else [])]):
            own.run("gpg-sign", sign, commit, keyring.fingerprint)
        for ref, commit in refs.items():
            own.set_ref(ref, commit)
        has_delta = upgrade is not None and _make_delta(own, source, *upgrade)
        own.run("summary", "--update", sign, f"--gpg-sign={keyring.fingerprint}")
        if broken is not None and unbootable is not None:
            # A second summary, which a test lets the guest see when it is to go there.
            _keep(own, "summary", "summary.sig")
            own.set_ref(unbootable, broken)
            own.run("summary", "--update", sign, f"--gpg-sign={keyring.fingerprint}")
            _keep(own, "summary", "summary.sig", suffix=".unbootable")
            own.set_ref(unbootable, refs[unbootable])
            _bring_back(own, "summary", "summary.sig")
    for name, one in (("key.gpg", keyring), ("stranger.gpg", stranger)):
        write_bytes(into / name, one.export())
    return OwnRepository(
        path=str(own.path),
        built_in=str(built_in.resolve()),
        key=str(into / "key.gpg"),
        stranger=str(into / "stranger.gpg"),
        refs=names,
        has_delta=has_delta,
        unbootable=broken,
    )


def _ref_of(source: Repo, osname: str, tree: Tree) -> RefName:
    """Tell by which ref clients take a tree: only by one that its commit is bound to."""
    bound = source.info(tree.commit).bindings
    ref = buildmaster_ref(osname, tree.name)
    return ref if ref in bound or not bound else bound[0]


def _make_delta(own: Repo, source: Repo, old: Commit, new: Commit) -> bool:
    # ostree asks for the size of what is new only in the repository itself.
    _link_new(own, source, old, new)
    options = [f"--from={old}", f"--to={new}", "--disable-bsdiff"]
    try:
        own.run("static-delta", "generate", *options, deadline_s=_DELTA_S)
    except CommandError as error:
        own.log.warning(f"no static delta from {old[:12]}: {error}")
        return False
    return True


def _link_new(own: Repo, source: Repo, old: Commit, new: Commit) -> None:
    """Have the objects of one commit that another has not, without copying them where that goes."""
    root = source.info(new)
    names = {f"{new}.commit", f"{root.tree}.dirtree", f"{root.dirmeta}.dirmeta"}
    todo = [(source.info(old).tree, root.tree)]
    nothing = Dir(files={}, dirs={})
    while todo:
        was, now = todo.pop()
        if was == now:
            continue
        before, after = source.directory(was) if was else nothing, source.directory(now)
        names.update(f"{one}.file" for one in set(after.files.values()) - {*before.files.values()})
        for name, (tree, meta) in after.dirs.items():
            names |= {f"{tree}.dirtree", f"{meta}.dirmeta"}
            todo.append((before.dirs.get(name, ("", ""))[0], tree))
    for name in names:
        place = Path("objects") / name[:2] / name[2:]
        target = own.path / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            continue
        try:
            os.link(source.path / place, target)
        except OSError:
            shutil.copy2(source.path / place, target)  # with its extended attributes


def _break(own: Repo, built_in: Path, ref: RefName, commit: Commit) -> Commit:
    """Commit the tree with an init that ends at once: the kernel panics of that."""
    source = Repo(built_in, log=own.log)
    places = [place for place in _INITS if source.find(commit, place) is not None]
    if not places:
        raise Failed("the tree has no init, so that none of it can be broken", where=ref)
    layer = own.path.parent / "unbootable"
    for place in places:
        path = layer / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_BROKEN)
        path.chmod(0o755)
    info = source.info(commit)
    argv = ["commit", "--orphan", "--subject=a tree that cannot boot", f"--bind-ref={ref}"]
    argv += [f"--parent={commit}", f"--timestamp=@{info.time + 1}", "--add-metadata-string"]
    argv += [f"version={info.metadata.get('version', '')}.unbootable"]
    top = own.commit_dir(layer, subject="an init that ends at once")
    return Commit(own.run(*argv, f"--tree=ref={commit}", f"--tree=ref={top}").text.strip())


def _keep(own: Repo, *names: str, suffix: str = ".kept") -> None:
    for name in names:
        (own.path / name).rename(own.path / f"{name}{suffix}")


def _bring_back(own: Repo, *names: str) -> None:
    for name in names:
        (own.path / f"{name}.kept").rename(own.path / name)
