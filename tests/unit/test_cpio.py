# SPDX-License-Identifier: LGPL-2.1-or-later
"""Archives are what cpio(1) and the kernel read, and the same bytes for the same files."""

import subprocess
from pathlib import Path

from pipeline.words import cpio

MEMBERS = (
    cpio.regular("bin/it", b"#!/bin/sh\n", 0o755),
    cpio.directory("bin"),
    cpio.link("bin/other", "it"),
    cpio.directory("dev"),
    cpio.regular("empty", b""),
    cpio.regular("odd", b"123"),
)


def test_cpio_reads_what_was_written(tmp_path: Path) -> None:
    subprocess.run(
        ["cpio", "--extract", "--quiet"], input=cpio.write(MEMBERS), cwd=tmp_path, check=True
    )
    assert (tmp_path / "bin/it").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "bin/it").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "bin/other").readlink() == Path("it")
    assert (tmp_path / "odd").read_bytes() == b"123"
    assert (tmp_path / "empty").read_bytes() == b""
    assert (tmp_path / "dev").is_dir()


def test_a_device_is_listed_with_its_numbers() -> None:
    archive = cpio.write([cpio.directory("dev"), cpio.character_device("dev/console", 5, 1)])
    listed = subprocess.run(
        ["cpio", "--list", "--verbose", "--quiet"], input=archive, capture_output=True, check=True
    ).stdout.decode()
    assert "crw-------" in listed
    assert "5,   1" in listed


def test_the_order_of_the_members_does_not_matter() -> None:
    assert cpio.write(MEMBERS) == cpio.write(reversed(MEMBERS))
    assert cpio.write(MEMBERS) != cpio.write(MEMBERS[1:])


def test_an_archive_of_nothing_has_its_end() -> None:
    archive = cpio.write([])
    assert b"TRAILER!!!" in archive
    assert len(archive) % 512 == 0
