# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of a root file system are put where OSTree has them, or left out."""

import pytest

from pipeline.stages.basing import layout


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("usr/bin/ls", "usr/bin/ls"),
        ("bin/ls", "usr/bin/ls"),
        ("lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2"),
        ("etc/passwd", "usr/etc/passwd"),
        ("boot/vmlinuz-6.1.0-9-cloud-amd64", "usr/lib/modules/6.1.0-9-cloud-amd64/vmlinuz"),
        ("boot/System.map-6.1.0-9-amd64", "usr/lib/modules/6.1.0-9-amd64/System.map"),
        ("var/lib/dpkg/status", "usr/lib/sysimage/dpkg/status"),
        ("root/.bashrc", "var/roothome/.bashrc"),
        ("usr/local/bin/it", "var/usrlocal/bin/it"),
        ("var/lib/systemd/random", "var/lib/systemd/random"),
    ],
)
def test_a_file_has_its_place(path: str, place: str) -> None:
    assert layout.place(path, directory=False) == place


@pytest.mark.parametrize(
    "path",
    [
        *(
            "dev/null",
            "proc/1",
            "run/lock",
            "tmp/x",
            "boot/initrd.img-6.1",
            "vmlinuz",
            "initrd.img",
        ),
        *("etc/machine-id", "etc/hostname", "etc/resolv.conf", "var/lib/apt/lists/x"),
        *("var/log/dpkg.log", "var/cache/apt/archives/x.deb", "var/lib/dpkg/lock"),
        *("etc/systemd/system/timers.target.wants/apt-daily.timer", "home", "ostree"),
    ],
)
def test_what_belongs_to_a_machine_or_to_nobody_is_left_out(path: str) -> None:
    assert layout.place(path, directory=False) is None


def test_links_that_the_layout_makes_itself_are_not_taken_from_the_root() -> None:
    for name in layout.MERGED:
        assert layout.place(name, directory=False) is None


@pytest.mark.parametrize(
    ("path", "pattern", "is_match"),
    [
        ("usr/share/doc", "usr/share/doc", True),
        ("usr/share/doc/a/b", "usr/share/doc", True),
        ("usr/share/docs", "usr/share/doc", False),
        ("usr/lib/modules/6.1/kernel/sound/x.ko", "usr/lib/modules/*/kernel/sound", True),
        ("usr/lib/modules/6.1/extra/kernel/sound", "usr/lib/modules/*/kernel/sound", False),
        ("usr", "usr/share", False),
    ],
)
def test_a_pattern_means_a_path_and_what_is_below(path: str, pattern: str, is_match: bool) -> None:
    assert layout.matches(path, [pattern]) is is_match


def test_a_line_of_tmpfiles_keeps_mode_and_owner() -> None:
    line = layout.tmpfiles_line("var/lib/it", "d", mode=0o40750, uid=3, gid=4)
    assert line == "d /var/lib/it 0750 3 4 -"


def test_a_link_in_var_is_made_as_one() -> None:
    line = layout.tmpfiles_line("var/it", "L", mode=0, uid=0, gid=0, link="100%")
    assert line == "L /var/it - - - - 100%%"


def test_strange_names_are_quoted_for_tmpfiles() -> None:
    line = layout.tmpfiles_line('var/a "b" %', "d", mode=0o755, uid=0, gid=0)
    assert line == 'd "/var/a \\"b\\" %%" 0755 0 0 -'


def test_lines_about_paths_that_are_links_are_taken_out() -> None:
    text = "q /srv\nQ /home 0755 - - -\nd /var/tmp 1777\nd /homes 0755 - - -\nf^ /root/.ssh/x -\n"
    mended = layout.mend_tmpfiles(text)
    kept = [line for line in mended.splitlines() if not line.startswith("#")]
    assert kept == ["d /var/tmp 1777", "d /homes 0755 - - -"]


def test_lines_about_tmp_are_about_where_it_is() -> None:
    text = "D /tmp 1777 root root -\nx /tmp/a-%b-*\nD! /tmp/.X11-unix 1777\nd /tmps\nq /tmp\n"
    assert layout.mend_tmpfiles(text) == (
        "D /sysroot/tmp 1777 root root -\nx /sysroot/tmp/a-%b-*\n"
        "D! /sysroot/tmp/.X11-unix 1777\nd /tmps\nq /sysroot/tmp\n"
    )


def test_byte_code_is_dated_for_sources_of_1970() -> None:
    code = b"MAGC" + bytes(4) + b"TIME" + b"SIZE" + b"rest"
    assert layout.mend_bytecode(code) == b"MAGC" + bytes(8) + b"SIZErest"


def test_byte_code_that_goes_by_hash_is_left_as_it_is() -> None:
    code = b"MAGC" + b"\1\0\0\0" + b"HASHHASH" + b"rest"
    assert layout.mend_bytecode(code) == code
    assert layout.mend_bytecode(b"short") == b"short"


def test_only_installed_packages_are_read_from_the_status_file() -> None:
    status = (
        "Package: b\nStatus: install ok installed\nVersion: 2\n\n"
        "Package: a\nStatus: deinstall ok config-files\nVersion: 1\n\n"
        "Package: c\nVersion: 1:3-1\nStatus: hold ok installed\n"
    )
    assert layout.parse_packages(status) == {"b": "2", "c": "1:3-1"}
