# SPDX-License-Identifier: LGPL-2.1-or-later
"""Buildroots of many layers: made by one command, and told apart where one does not fit."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.ports.log import ListSink, Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.stages.building.buildroot import Buildroots, Layers
from pipeline.words.errors import Failed
from pipeline.words.refs import Commit


class Yard:
    """A repository of small trees, and buildroots of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sink = ListSink()
        log = Log(self.sink)
        self.repo = Repo(root / "repo", log=log).create(Mode.BARE_USER)
        (root / "tmp").mkdir()
        (root / "cache" / "buildroots").mkdir(parents=True)
        self.buildroots = Buildroots(self.repo, root / "cache", root / "tmp", log=log)

    def commit(self, name: str, files: Mapping[str, str]) -> Commit:
        """Commit a tree."""
        top = self.root / name
        for path, text in files.items():
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_text(text)
        return self.repo.commit_dir(top, subject=name)

    def layers(self, **trees: Mapping[str, str]) -> Layers:
        """Commit some trees; the first is the base."""
        base, *others = [(name, self.commit(name, files)) for name, files in trees.items()]
        return Layers(base=base[1], components={name: (commit,) for name, commit in others})


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


def test_later_layers_lie_over_earlier_ones_and_one_command_makes_them_all(yard: Yard) -> None:
    many = {f"c{number}": {"usr/last": f"{number}", f"usr/{number}": ""} for number in range(30)}
    layers = yard.layers(base={"usr/base": "here", "usr/last": "none"}, **many)
    with yard.buildroots.use(layers) as root:
        assert (root / "usr/last").read_text() == "29"
        assert (root / "usr/base").read_text() == "here"
        assert all((root / f"usr/{number}").is_file() for number in range(30))
        assert "build" in (root / "usr/etc/passwd").read_text()
    assert sum("ostree checkout" in text for text in yard.sink.texts()) == 1
    assert list((yard.root / "tmp").iterdir()) == []


@pytest.mark.parametrize(("below", "over"), [("usr/a", "usr/a/b"), ("usr/a/b", "usr/a")])
def test_a_layer_that_does_not_fit_is_named(yard: Yard, below: str, over: str) -> None:
    layers = yard.layers(
        base={below: ""}, fits={"usr/b/c": ""}, culprit={over: ""}, later={"usr/d": ""}
    )
    with (
        pytest.raises(Failed, match="culprit does not fit over what is below it"),
        yard.buildroots.use(layers),
    ):
        pass
    assert list((yard.root / "tmp").iterdir()) == []
