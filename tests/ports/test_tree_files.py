# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of a commit are found as the machine that runs it would find them."""

from pathlib import Path

import pytest

from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.tree_files import TreeFiles


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TreeFiles:
    top = tmp_path_factory.mktemp("files")
    root = top / "root"
    (root / "usr/share/x").mkdir(parents=True)
    (root / "usr/share/x/file").write_text("content")
    links = {
        "share": "usr/share",
        "usr/share/x/relative": "file",
        "usr/share/x/up": "../x/file",
        "usr/share/x/absolute": "/usr/share/x/file",
        "usr/share/x/above": "../../../../../usr/share/x/file",
        "usr/share/x/chain": "absolute",
        "usr/share/x/loop": "loop",
        "usr/share/x/dangling": "none",
        "usr/share/x/through": "file/../file",
    }
    for path, to in links.items():
        (root / path).symlink_to(to)
    repo = Repo(top / "repo", log=Log()).create(Mode.BARE_USER)
    return TreeFiles(repo, repo.commit_dir(root, subject="files"))


@pytest.mark.parametrize(
    "path", ["file", "relative", "up", "absolute", "above", "chain", "./../x/file"]
)
def test_links_are_followed_within_the_tree(files: TreeFiles, path: str) -> None:
    assert files.read(f"/usr/share/x/{path}", limit=100) == b"content"
    assert files.read(f"share/x/{path}", limit=3) == b"con"


@pytest.mark.parametrize("path", ["loop", "dangling", "none", "through", "file/more", "", "none/x"])
def test_what_no_machine_would_find_is_not_there(files: TreeFiles, path: str) -> None:
    assert files.read(f"usr/share/x/{path}", limit=100) is None


def test_nothing_outside_of_the_tree_is_read(files: TreeFiles) -> None:
    assert Path("/etc/passwd").is_file()
    assert files.read("/etc/passwd", limit=100) is None
    assert files.read("../../../../../../etc/passwd", limit=100) is None
