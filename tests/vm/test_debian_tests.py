# SPDX-License-Identifier: LGPL-2.1-or-later
"""The installed tests of Debian's own packages, as real as they come: ostree's and GLib's."""

import json
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.work import TOP, Work

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.full]
MANIFEST = TOP / "manifests" / "debian-tests.yaml"
_HOURS_S = 4 * 3600.0
"""Without KVM and beside other tests; alone it is a third of that."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    """A work directory in which a run with all installed tests has ended well."""
    found = Work(MANIFEST, tmp_path_factory.mktemp("tests"))
    found.ostci("run", within_s=_HOURS_S)
    yield found


@pytest.fixture(scope="module")
def installed(work: Work) -> Any:
    suites = json.loads((work.root / "last-run" / "tests.json").read_text())["suites"]
    return next(one for one in suites if one["suite"] == "installed")


def test_hundreds_of_tests_have_a_result_a_log_and_a_time_of_their_own(installed: Any) -> None:
    tests = installed["tests"]
    assert len({one["name"] for one in tests}) == len(tests)
    folders = Counter(one["name"].partition("/")[0] for one in tests)
    assert folders["glib"] >= 280
    assert folders["libostree"] >= 120
    assert folders["checks"] == 2
    for one in tests:
        assert one["seconds"] > 0, one["name"]
        assert one["name"].rpartition("/")[2].removesuffix(".test") in one["log"]
        assert one["verdict"] == "passed" or one["message"], one["name"]


def test_all_pass_and_what_is_known_to_fail_is_told(installed: Any) -> None:
    told = {one["name"]: one["message"] for one in installed["tests"]}
    known = ("glib/file.test", "glib/fileutils.test", "glib/dbus-appinfo.test")
    for name in (*known, "libostree/test-switchroot.sh.test"):
        assert told[name].startswith("known to fail: "), told[name]
    assert {name: told[name] for name in told if _verdict(installed, name) == "failed"} == {}


def test_the_report_that_other_programs_read_has_all_of_them(work: Work, installed: Any) -> None:
    place = work.root / "last-run" / "test" / "x86_64-tests" / "installed"
    earliest = min(place.glob("**/junit.xml"), key=lambda path: path.stat().st_mtime_ns)
    cases = ET.parse(earliest).getroot().iter("testcase")
    assert sum(1 for _ in cases) == len(installed["tests"])


def test_the_base_is_promoted_whatever_of_its_tests_fails(work: Work) -> None:
    record = work.json("log", "-n", "1")[0]
    assert (record["ending"], list(record["promoted"])) == ("passed", ["x86_64-tests"])
    work.check_whole()


def _verdict(installed: Any, name: str) -> str:
    return next(str(one["verdict"]) for one in installed["tests"] if one["name"] == name)
