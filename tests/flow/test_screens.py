# SPDX-License-Identifier: LGPL-2.1-or-later
"""After a suite its screens are laid beside those of what was promoted last, wherever it ran."""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.house import House
from pipeline.cli.passage import Passage
from pipeline.cli.screens import compare_screens
from pipeline.ports.log import ListSink, Log
from pipeline.words.png import Picture, write_png
from pipeline.words.refs import Commit
from pipeline.words.verdict import SuiteResult, Verdict
from tests.cheap import TREE, Cheap

OLD, NEW = Commit("1" * 64), Commit("2" * 64)
FINAL = "screenshot-final.png"
WAS = SuiteResult(suite="smoke", tree=TREE, commit=OLD, verdict=Verdict.PASSED)
IS = replace(WAS, commit=NEW)


def drawn(seed: int) -> bytes:
    return write_png(Picture(width=30, height=20, pixels=random.Random(seed).randbytes(1800)))


class Two:
    """Two runs of one work directory, each with the evidence of a suite."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.before, self.after = (Passage(house, house.workdir.new_run()) for _ in range(2))

    def show(self, passage: Passage, name: str, data: bytes) -> Path:
        place = passage.run.test(TREE, "smoke")
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
        return place

    def promote(self) -> None:
        evidence = str(self.before.run.test(TREE, "smoke").relative_to(self.before.run.path))
        version = self.before.run.version
        self.house.ledger.record_suite(version, replace(WAS, evidence=evidence))

    def compare(self, result: SuiteResult = IS, promoted: Commit | None = OLD) -> Path:
        place = self.after.run.test(TREE, "smoke")
        evidence = str(place.relative_to(self.after.run.path))
        compare_screens(self.after, replace(result, evidence=evidence), promoted)
        return place


@pytest.fixture
def sink() -> ListSink:
    return ListSink()


@pytest.fixture
def two(tmp_path: Path, sink: ListSink) -> Two:
    return Two(House(Cheap(tmp_path, one=0.0).root, log=Log(sink)))


def warnings(sink: ListSink) -> list[str]:
    return [text for text in sink.texts() if "screenshot-" in text]


def test_what_looks_otherwise_is_a_warning_with_a_page(two: Two, sink: ListSink) -> None:
    two.show(two.before, FINAL, drawn(1))
    two.show(two.before, "screenshot-app-a.png", drawn(3))
    two.show(two.after, FINAL, drawn(2))
    two.show(two.after, "screenshot-app-a.png", drawn(3))
    two.show(two.after, "screenshot-0004.2.png", drawn(5))
    two.promote()
    place = two.compare()
    [told] = warnings(sink)
    assert "smoke: screenshot-final.png: 9" in told
    assert f"% of it differs; side by side in {place / 'screens.html'}" in told
    assert (place / f"before-{FINAL}").read_bytes() == drawn(1)
    assert (place / f"differs-{FINAL}").is_file()
    found = {
        one["name"]: bool(one["notes"]) for one in json.loads((place / "screens.json").read_text())
    }
    assert found == {FINAL: True, "screenshot-app-a.png": False}
    page = (place / "screens.html").read_text()
    assert two.before.run.version in page
    assert "app-a" not in page


def test_nothing_is_told_of_what_looks_as_before(two: Two, sink: ListSink) -> None:
    two.show(two.before, FINAL, drawn(1))
    two.show(two.after, FINAL, drawn(1))
    two.promote()
    place = two.compare()
    assert warnings(sink) == []
    assert not (place / "screens.html").exists()


@pytest.mark.parametrize("promoted", [None, OLD, NEW])
def test_without_one_to_compare_with_there_is_no_page(
    two: Two, sink: ListSink, promoted: Commit | None
) -> None:
    two.show(two.after, FINAL, drawn(2))
    assert not (two.compare(promoted=promoted) / "screens.html").exists()
    assert warnings(sink) == []


def test_evidence_that_was_taken_away_is_none(two: Two, sink: ListSink) -> None:
    two.show(two.before, FINAL, drawn(1))
    two.show(two.after, FINAL, drawn(2))
    two.promote()
    shutil.rmtree(two.before.run.path)
    assert not (two.compare() / "screens.html").exists()
    assert warnings(sink) == []


def test_a_link_that_a_worker_sent_is_not_followed(two: Two, sink: ListSink) -> None:
    two.show(two.before, FINAL, drawn(1))
    secret = two.show(two.after, "secret", drawn(2)) / "secret"
    (secret.parent / FINAL).symlink_to(secret)
    two.promote()
    assert not (two.compare() / "screens.html").exists()
    assert warnings(sink) == []


@pytest.mark.parametrize("verdict", [Verdict.TROUBLE, Verdict.SKIPPED])
def test_a_suite_that_saw_nothing_is_left_alone(two: Two, verdict: Verdict) -> None:
    two.show(two.before, FINAL, drawn(1))
    two.show(two.after, FINAL, drawn(2))
    two.promote()
    assert not (two.compare(replace(IS, verdict=verdict)) / "screens.json").exists()
