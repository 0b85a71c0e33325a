# SPDX-License-Identifier: LGPL-2.1-or-later
"""Units whose failure the journal does not tell are found where systemd would read them."""

from pathlib import Path

import pytest

from pipeline.stages.disking.silent import silent_units


def tree(top: Path, path: str, text: str) -> Path:
    """Write one file of a tree."""
    file = top / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return top


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("usr/lib/systemd/system/a.service", "a.service"),
        ("etc/systemd/system/b.mount.d/quiet.conf", "b.mount"),
        ("usr/lib/systemd/system/service.d/quiet.conf", "service"),
    ],
)
@pytest.mark.parametrize("level", ["err", "0", " crit "])
def test_a_unit_and_a_drop_in_that_silence_failures_are_found(
    path: str, name: str, level: str, tmp_path: Path
) -> None:
    assert silent_units(tree(tmp_path, path, f"[Service]\nLogLevelMax={level}\n")) == (name,)


@pytest.mark.parametrize("line", ["LogLevelMax=warning", "LogLevelMax=", "# LogLevelMax=err", ""])
def test_what_lets_a_failure_be_told_is_not(line: str, tmp_path: Path) -> None:
    assert silent_units(tree(tmp_path, "etc/systemd/system/a.service", f"{line}\n")) == ()


def test_a_link_out_of_the_tree_is_not_followed(tmp_path: Path) -> None:
    outside = tree(tmp_path, "outside.service", "LogLevelMax=err\n") / "outside.service"
    (tmp_path / "root/etc/systemd/system").mkdir(parents=True)
    (tmp_path / "root/etc/systemd/system/a.service").symlink_to(outside)
    assert silent_units(tmp_path / "root") == ()
