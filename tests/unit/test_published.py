# SPDX-License-Identifier: LGPL-2.1-or-later
"""An index that is signed and wrong is told as such, before anything of it becomes a path."""

from dataclasses import replace
from typing import Any

import pytest

from pipeline.words.errors import Trouble
from pipeline.words.published import (
    ListedRun,
    PublishedArtifact,
    PublishedList,
    PublishedRun,
    check_index,
    check_list,
)
from pipeline.words.records import from_json, to_json
from pipeline.words.refs import Commit, Key, Part, Revision, is_of_artifacts, published_ref
from pipeline.words.snapshot import BasePin, Pin, Snapshot
from tests.manifests import SMALLEST, parsed

A, B = Commit("a" * 64), Commit("b" * 64)
SNAPSHOT = Snapshot(
    manifest=parsed(SMALLEST),
    pins={"zlib": Pin(revision=Revision("1" * 40))},
    base=BasePin(key=Key("0" * 64)),
)
ZLIB = PublishedArtifact(
    component="zlib",
    arch="x86_64",
    recipe=Key("2" * 64),
    key=Key("3" * 64),
    commits={Part.RUNTIME: A},
)
INDEX = PublishedRun(
    ostci="0.1",
    osname="myos",
    run="20261128.3",
    arch="x86_64",
    digest=SNAPSHOT.digest,
    snapshot=SNAPSHOT,
    base={"runtime+devel": B},
    trees={"x86_64-runtime": A, "x86_64-runtime+@all": B},
    artifacts=(ZLIB,),
)


def check(index: PublishedRun) -> None:
    check_index(index, run="20261128.3", osname="myos", where="here")


def test_what_agrees_with_itself_is_taken_and_survives_being_written() -> None:
    read = from_json(PublishedRun, to_json(INDEX))
    assert read == INDEX
    check(read)
    assert list(read.commits()) == [B, A]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"run": "20261128.4"}, "it is of run 20261128.4 of myos, not of 20261128.3"),
        ({"osname": "other"}, "of other, not of"),
        ({"digest": "4" * 64}, "not read as the one it was made of, by ostci 0.1"),
        ({"artifacts": (ZLIB, ZLIB)}, "no component of its manifest"),
        ({"artifacts": (replace(ZLIB, component="glib"),)}, "no component of its manifest"),
        ({"artifacts": (replace(ZLIB, commits={Part.RUNTIME: Commit("--x")}),)}, "no commit"),
        ({"artifacts": (replace(ZLIB, key=Key("../../x")),)}, "no commit"),
        ({"base": {"runtime": "refs/heads/x"}}, "no commit"),
        ({"trees": {"../x": A}}, "no commit"),
    ],
)
def test_an_index_of_something_else_is_trouble(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(Trouble, match=told):
        check(replace(INDEX, **changed))


@pytest.mark.parametrize(
    ("osname", "run", "trees"),
    [
        ("../x", "20261128.0", {}),
        ("myos", "../20261128.0", {}),
        ("myos", "20261128.0", {"x86_64-runtime": "HEAD"}),
    ],
)
def test_a_list_has_nothing_but_runs_and_commits(osname: str, run: str, trees: Any) -> None:
    listed = ListedRun(run="20261128.1", when=0.0, trees={"x86_64-runtime": A})
    check_list(PublishedList(osname="myos", runs=(listed,)), where="here")
    wrong = PublishedList(osname=osname, runs=(ListedRun(run=run, when=0.0, trees=trees),))
    with pytest.raises(Trouble, match="no run, commit or operating system"):
        check_list(wrong, where="here")


def test_one_kind_of_signed_text_is_not_taken_for_another() -> None:
    with pytest.raises(Trouble, match="not a PublishedList"):
        from_json(PublishedList, to_json(INDEX))
    assert is_of_artifacts(published_ref("myos", A))
    for ref in ("myos/buildmaster/x86_64-runtime", "myos/compose/keys", "myos/keys"):
        assert not is_of_artifacts(ref)
