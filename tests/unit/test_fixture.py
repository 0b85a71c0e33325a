# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fixture is one list, and what a test subtracts is exactly what a disk gets."""

from dataclasses import replace
from pathlib import Path

from pipeline.stages.disking.deployment import Deployment, fixture_content, fixture_state, furnish
from pipeline.words.fixture import BOOT_COUNT, FIXTURE, fixture_of, fixture_paths
from pipeline.words.refs import Commit, RefName

NOTHING = Deployment(osname="os", ref=RefName("os/compose/x"), commit=Commit("0" * 64), options=())


def test_everything_lies_in_etc_and_is_named_once() -> None:
    paths = [entry.path for entry in FIXTURE]
    assert all(path.startswith("/etc/") and ".." not in path.split("/") for path in paths)
    assert len(set(paths)) == len(paths)


def test_each_entry_says_in_one_way_what_is_in_it() -> None:
    for entry in FIXTURE:
        ways = [bool(entry.source), bool(entry.content), bool(entry.symlink)]
        assert sum(ways) == 1, entry.path


def test_every_source_is_there() -> None:
    for entry in FIXTURE:
        if not entry.symlink:
            assert fixture_content(entry), entry.path


def test_a_furnished_deployment_has_the_listed_paths_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    before = set(tmp_path.rglob("*"))
    furnish(tmp_path, NOTHING)
    added = {f"/{path.relative_to(tmp_path)}" for path in set(tmp_path.rglob("*")) - before}
    assert added == set(fixture_paths())


def test_boots_are_counted_where_a_target_wants_it(tmp_path: Path) -> None:
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    before = set(tmp_path.rglob("*"))
    furnish(tmp_path, replace(NOTHING, fixture=fixture_of("basic.target", 3)))
    added = {f"/{path.relative_to(tmp_path)}" for path in set(tmp_path.rglob("*")) - before}
    assert added == set(fixture_paths("basic.target", 3))
    unit = (tmp_path / f"etc/systemd/system/{BOOT_COUNT}").read_text()
    assert "ExecStop=/etc/ostci-guest/boot-count arm 3\n" in unit
    assert "After=basic.target boot-complete.target" in unit
    assert (tmp_path / f"etc/systemd/system/basic.target.wants/{BOOT_COUNT}").is_symlink()
    assert (tmp_path / "etc/ostci-guest/boot-count").stat().st_mode & 0o777 == 0o755
    assert fixture_of("basic.target", 0) == FIXTURE


def test_a_link_of_the_tree_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/ostci-guest").symlink_to(outside)
    (root / "etc/systemd").symlink_to(outside)
    furnish(root, NOTHING)
    assert list(outside.iterdir()) == []
    assert (root / "etc/ostci-guest/shell").is_file()


def test_the_state_changes_with_every_file() -> None:
    whole = fixture_state()
    for left_out in range(len(FIXTURE)):
        less = [entry for place, entry in enumerate(FIXTURE) if place != left_out]
        assert fixture_state(less) != whole
