# SPDX-License-Identifier: LGPL-2.1-or-later
"""Archives as git: downloaded (``downloads``), unpacked (``unpacking``) and committed.

The same archive gives the same revision on every machine.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pipeline.ports.files import no_space, remove_tree
from pipeline.ports.git_commands import IDENTITY, Git
from pipeline.ports.unpacking import unpack
from pipeline.words.manifest import Source
from pipeline.words.refs import Revision

BRANCH = "refs/heads/import"


def import_archive(source: Source, mirror: Path, *, downloads: Path, git: Git) -> None:
    """Have an archive as a repository; does nothing where it is there.

    Raises Failed for a wrong checksum or a bad archive, Trouble for a server that is not reached.
    """
    from pipeline.ports.downloads import download  # which takes a while to load

    if (mirror / "HEAD").is_file():
        return
    file = download(source.location, source.checksum, downloads, log=git.log)
    making = mirror.with_suffix(".making")
    remove_tree(making)
    making.parent.mkdir(parents=True, exist_ok=True)
    with room_beside(mirror) as tree:
        with no_space(tree):
            time_s = unpack(file, tree, kind=source.kind, log=git.log)
        git.run(["init", "--quiet", "--bare", "--template=", making])
        told = f"Import of {PurePosixPath(source.location).name}"
        revision = commit_tree(single_top(tree), making, told, time_s=time_s, git=git)
        tag = f"refs/tags/{source.kind}-import-{source.checksum}"
        for ref in (BRANCH, tag):
            git.run(["--git-dir", making, "update-ref", ref, revision])
    making.rename(mirror)


@contextmanager
def room_beside(repository: Path) -> Iterator[Path]:
    """Make an empty directory for what is to be imported; whoever calls holds the lock.

    It has one name, so that what a killed import left goes with the next one.
    """
    room = repository.with_suffix(".unpacking")
    remove_tree(room)
    room.mkdir(parents=True)
    try:
        yield room
    finally:
        remove_tree(room)


def commit_tree(
    tree: Path,
    repository: Path,
    subject: str,
    *,
    time_s: int,
    git: Git,
    parent: Revision | None = None,
) -> Revision:
    """Commit a directory as it is, by a fixed person at a fixed time; on no ref."""
    attributes = repository / "info" / "attributes"
    attributes.parent.mkdir(exist_ok=True)
    # What the files themselves say of line ends and filters must not change them.
    attributes.write_text("* -text -filter -ident -working-tree-encoding\n")
    index = repository / "ostci-index"
    index.unlink(missing_ok=True)
    env = {"GIT_INDEX_FILE": str(index.absolute()), **IDENTITY}
    env |= dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"@{time_s} +0000")
    common: list[str | Path] = ["--git-dir", repository.absolute(), "--work-tree", tree]
    git.run([*common, "add", "--all", "--force", "--", "."], env=env, cwd=tree)
    written = git.run([*common, "write-tree"], env=env).text
    index.unlink()
    parents = ["-p", parent] if parent else []
    argv = [*common, "commit-tree", written, *parents, "-m", subject]
    return Revision(git.run(argv, env=env).text)


def single_top(tree: Path) -> Path:
    """Tell the one directory that holds everything, where there is one."""
    found = list(tree.iterdir())
    one = found[0] if len(found) == 1 else tree
    return one if one.is_dir() and not one.is_symlink() else tree
