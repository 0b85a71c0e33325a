# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of a commit by their paths, links followed as a machine would that runs it."""

from pipeline.ports.ostree import Repo
from pipeline.ports.ostree_objects import Missing, Objects
from pipeline.words.errors import Trouble

_MOST_LINKS = 40
_LONGEST_LINK = 4096


class TreeFiles:
    """Reads a commit of a repository that is built in (``bare-user``)."""

    def __init__(self, repo: Repo, commit: str) -> None:
        self._repo, self._objects = repo, Objects(repo)
        self._root = repo.info(commit).tree

    def read(self, path: str, *, limit: int) -> bytes | None:
        """Read the first bytes of a file; None where a machine would find none."""
        checksum = self.find(path)
        return None if checksum is None else self._repo.content(checksum, limit=limit)

    def find(self, path: str) -> str | None:
        """Tell the checksum of the file that a path leads to, not of a link; None for no file.

        Raises Trouble for an object that is not here.
        """
        todo = [part for part in path.split("/") if part]
        way: list[str] = []
        tree, links = self._root, 0
        while todo:
            part = todo.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                way = way[:-1]
                tree = self._tree(way)
                continue
            here = self._repo.directory(tree)
            if part in here.dirs:
                way.append(part)
                tree = here.dirs[part][0]
                continue
            checksum = here.files.get(part)
            if checksum is None:
                return None
            if not self._is_link(checksum):
                return None if todo else checksum
            links += 1
            if links > _MOST_LINKS:
                return None
            # A link is kept as a file of its target's path, with a NUL at the end.
            kept = self._repo.content(checksum, limit=_LONGEST_LINK).rstrip(b"\0")
            target = kept.decode("utf-8", "replace")
            if target.startswith("/"):
                way, tree = [], self._root
            todo = [*target.split("/"), *todo]
        return None

    def _tree(self, way: list[str]) -> str:
        """Tell the directory at a path that was gone already, in which no part is a link."""
        tree = self._root
        for part in way:
            tree = self._repo.directory(tree).dirs[part][0]
        return tree

    def _is_link(self, checksum: str) -> bool:
        try:
            return self._objects.is_symlink(bytes.fromhex(checksum))
        except Missing as error:
            raise Trouble(f"{error} is not here", hint="ostree fsck") from error
