# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a run has left of itself when its stages are given once more: it passes for nothing new."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.composing import _with_trees
from pipeline.cli.results import Trees
from pipeline.ports.log import Log
from pipeline.stages.test import TestRequest, run_suite
from pipeline.words.manifest import Target
from pipeline.words.refs import commit
from pipeline.words.tree import Disk, Tree
from tests.cheap import TREE, Cheap

A, B = commit("a" * 64), commit("b" * 64)
A_TREE = Tree(
    name="x86_64-one",
    arch="x86_64",
    target="one",
    commit=A,
    content="",
    version="20261124.0",
    snapshot="first",
)


def disk_of(of: str, path: Path) -> dict[str, Any]:
    return {"commit": of, "path": str(path), "ref": "r", "osname": "cheap", "size": 1}


def test_a_tree_that_was_composed_anew_is_not_tested_on_the_disk_of_the_one_before(
    tmp_path: Path,
) -> None:
    cheap = Cheap(tmp_path, one=0)
    for stage in ("resolve", "build", "compose"):
        cheap.ostci(stage)
    run = cheap.house().workdir.run(cheap.house().workdir.versions()[-1])
    before = json.loads(run.file("trees").read_text())["trees"][0]["commit"]
    disks = {"disks": {TREE: disk_of(before, tmp_path / "disk.qcow2")}}
    run.file("disks").write_text(json.dumps(disks))
    cheap.change("one")
    cheap.ostci("resolve", "--run", run.version)
    cheap.ostci("build", "--run", run.version, "--retry")
    (tree,) = cheap.json("compose", "--run", run.version)["trees"]
    assert tree["commit"] != before
    said = cheap.ostci("test", TREE, "smoke", "--run", run.version, code=2)
    assert f"run {run.version} has no disk of {TREE} {tree['commit'][:12]} yet" in said.err
    assert f"ostci -C {cheap.root} disk {TREE} --run {run.version}" in said.err
    assert not run.file("tests").exists()


def test_a_suite_refuses_a_disk_of_another_commit(tmp_path: Path, log: Log) -> None:
    request = TestRequest(
        run="20261124.0",
        tree=A_TREE,
        target=Target(name="one"),
        disk=Disk(commit=B, path=str(tmp_path / "disk"), ref="r", osname="o", size=1),
        suite="no such suite",
        into=tmp_path / "evidence",
    )
    with pytest.raises(ValueError, match=f"x86_64-one is {A}, its disk of {B}"):
        run_suite(request, cache=tmp_path, tmp=tmp_path, log=log)


def test_a_run_that_was_resolved_anew_keeps_no_tree_of_the_snapshot_before() -> None:
    other = replace(A_TREE, name="x86_64-other", commit=B)
    earlier = Trees(trees=(A_TREE, other))
    new = replace(A_TREE, commit=B, snapshot="second")
    assert _with_trees(earlier, [new], of="second").trees == (new,)
    same = replace(A_TREE, commit=B)
    assert _with_trees(earlier, [same], of="first").trees == (other, same)


def test_each_line_to_repeat_a_test_is_of_the_same_work(tmp_path: Path) -> None:
    cheap = Cheap(tmp_path, one=0)
    cheap.ostci("resolve")
    (version,) = cheap.house().workdir.versions()

    def tests_after(*words: str) -> dict[str, str]:
        cheap.ostci(*words, code=2)  # there is no disk
        stages = json.loads(cheap.house().workdir.run(version).file("run").read_text())["stages"]
        return {
            name: stage["repeat"]
            for name, stage in stages.items()
            if name.partition(" ")[0] == "test"
        }

    known: dict[str, str] = {}
    for words in (
        (),
        (TREE,),
        ("--suite", "smoke"),
        (TREE, "smoke"),
        (TREE, "--suite", "smoke/test_no_unit_failed"),
    ):
        found = tests_after("test", *words, "--run", version)
        (new,) = found.keys() - known.keys()
        assert tests_after(*shlex.split(found[new])[3:]) == found, f"{found[new]} is other work"
        known = found
