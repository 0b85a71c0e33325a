# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Debian sample, the whole way: real sources, systemd, two promoted trees."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ports.log import Log
from pipeline.stages.test import run_suite
from pipeline.words.verdict import Verdict
from tests.work import DEBIAN, Work

pytestmark = [pytest.mark.vm, pytest.mark.slow]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    """A work directory of the Debian sample in which one run has passed."""
    found = Work(DEBIAN, tmp_path_factory.mktemp("debian"))
    # At the first promotion there is nothing to upgrade from: that holds nothing back, once.
    text = found.sample.manifest.read_text()
    gate = "boot-counting: 3\n    gate: {smoke: required, upgrade: required}"
    text = text.replace("boot-counting: 3", gate, 1)
    text = text.replace("extend: runtime", "extend: runtime\n    gate: {smoke: required}", 1)
    found.sample.manifest.write_text(text)
    found.ostci("run")
    yield found


def test_both_trees_boot_and_are_promoted(work: Work) -> None:
    record = work.json("log", "-n", "1")[0]
    assert record["ending"] == "passed"
    assert set(record["promoted"]) == {"x86_64-runtime", "x86_64-devel"}
    suites = json.loads((work.root / "last-run" / "tests.json").read_text())["suites"]
    verdicts = {test["name"]: test["verdict"] for one in suites for test in one["tests"]}
    # Nothing is skipped: the guest has its own ostree, which names the commit, too.
    assert set(verdicts.values()) == {"passed"}
    work.check_whole()


def test_every_build_system_built_a_component_from_its_source(work: Work) -> None:
    manifest = work.json("show", "manifest")
    systems = {one["build"]["system"] for one in manifest["components"]}
    assert {"autotools", "cmake", "meson", "make", "custom"} <= systems
    built = json.loads((work.root / "last-run" / "build.json").read_text())["built"]
    assert set(built) == {one["name"] for one in manifest["components"]}
    assert sum(one["source"]["kind"] == "debian" for one in manifest["components"]) >= 7


def test_a_component_that_links_another_says_what_of_it_was_used(work: Work) -> None:
    house = work.house()
    dropbear = house.artifacts.latest("dropbear", "x86_64")
    assert dropbear is not None
    assert "header:zlib.h" in dropbear.used["zlib"]
    assert any(name.startswith("lib:libz.so") for name in dropbear.used["zlib"])


def test_nothing_is_rebuilt_when_nothing_changed(work: Work) -> None:
    decisions = work.json("plan")["components"]
    assert {one["decision"] for one in decisions} == {"keep"}


@pytest.mark.full
def test_every_suite_passes_on_it_or_says_why_it_is_skipped(work: Work) -> None:
    work.push(work.story.change)
    work.ostci("run")
    said = work.ostci("test", "x86_64-runtime", "all")
    suites = json.loads((work.root / "last-run" / "tests.json").read_text())["suites"]
    found = {one["suite"]: one for one in suites if one["tree"] == "x86_64-runtime"}
    passed = ("smoke", "upgrade", "rollback", "switch", "memory", "externals")
    assert {name: one["verdict"] for name, one in found.items()} == {
        **dict.fromkeys(passed, "passed"),
        **dict.fromkeys(("apps", "session", "installed"), "skipped"),
    }
    assert found["apps"]["message"] == "x86_64-runtime has no graphical session"
    assert found["installed"]["message"] == "x86_64-runtime has no installed tests"
    assert [one["name"] for one in found["externals"]["tests"]] == ["greeter/greets"]
    assert found["memory"]["numbers"]["memory_bytes"] > 0
    # Nobody has to look for it in the log of all of them.
    version = work.json("log", "-n", "1")[0]["version"]
    assert "x86_64-runtime externals  passed" in said.err
    assert "x86_64-runtime externals  passed" in work.ostci("show", version).out
    work.check_whole()


@pytest.mark.full
def test_a_machine_pulls_from_another_what_the_run_signed(
    work: Work, tmp_path: Path, log: Log
) -> None:
    request = work.request("runtime", "pull", tmp_path / "evidence")
    result = run_suite(request, cache=tmp_path, tmp=tmp_path, log=log)
    bad = [one.log for one in result.tests if one.verdict is not Verdict.PASSED]
    assert (result.verdict, bad) == (Verdict.PASSED, [])


def test_tmp_is_emptied_at_boot(work: Work, tmp_path: Path, log: Log) -> None:
    request = work.request("runtime", "tmp", tmp_path / "evidence")
    result = run_suite(request, cache=tmp_path, tmp=tmp_path, log=log)
    assert (result.verdict, result.message) == (Verdict.PASSED, "")
