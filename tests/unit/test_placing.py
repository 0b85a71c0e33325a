# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where installed files go, and which part they are of."""

import pytest

from pipeline.stages.building import placing
from pipeline.words.refs import Part


@pytest.mark.parametrize(
    ("installed", "placed"),
    [
        ("usr/bin/x", "usr/bin/x"),
        ("bin/x", "usr/bin/x"),
        ("sbin/x", "usr/sbin/x"),
        ("lib/x86_64-linux-gnu/libx.so.1", "usr/lib/x86_64-linux-gnu/libx.so.1"),
        ("lib64/ld.so", "usr/lib64/ld.so"),
        ("libexec/x", None),
        ("etc/x.conf", "usr/etc/x.conf"),
        ("usr/etc/x.conf", "usr/etc/x.conf"),
        ("var/lib/x/state", "var/lib/x/state"),
        ("opt/x/y", "var/opt/x/y"),
        ("usr/local/bin/x", "var/usrlocal/bin/x"),
        ("boot/vmlinuz-6.1", "usr/lib/modules/6.1/vmlinuz"),
        ("boot/grub/grub.cfg", None),
        ("run/x.pid", None),
        ("dev/null", None),
        ("tmp/x", None),
        ("var/run/x.pid", None),
        ("odd/x", None),
    ],
)
def test_installed_paths_are_placed_as_in_a_base(installed: str, placed: str | None) -> None:
    assert placing.place(installed) == placed


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("usr/bin/x", Part.RUNTIME),
        ("usr/lib/libx.so.1", Part.RUNTIME),
        ("usr/lib/x/plugin.so", Part.RUNTIME),
        ("usr/include/x.h", Part.DEVEL),
        ("usr/lib/pkgconfig/x.pc", Part.DEVEL),
        ("usr/lib/x86_64-linux-gnu/pkgconfig/x.pc", Part.DEVEL),
        ("usr/share/pkgconfig/x.pc", Part.DEVEL),
        ("usr/lib/x86_64-linux-gnu/cmake/x/x-config.cmake", Part.DEVEL),
        ("usr/share/aclocal/x.m4", Part.DEVEL),
        ("usr/lib/libx.a", Part.DEVEL),
        ("usr/lib/x86_64-linux-gnu/crt1.o", Part.DEVEL),
        ("usr/share/doc/x/README", Part.DOC),
        ("usr/share/gtk-doc/html/x.html", Part.DOC),
        ("usr/share/man/man1/x.1", Part.DOC),
        ("usr/share/info/x.info", Part.DOC),
        ("usr/lib/debug/.build-id/ab/cd.debug", Part.DEBUG),
        ("usr/src/debug/x/x.c", Part.DEBUG),
        ("usr/share/installed-tests/x/a.test", Part.TESTS),
        ("usr/libexec/installed-tests/x/a", Part.TESTS),
        ("usr/libexec/x/installed-tests/a", Part.TESTS),
        ("usr/share/locale/de/LC_MESSAGES/x.mo", Part.RUNTIME),
    ],
)
def test_each_file_is_of_one_part(path: str, part: Part) -> None:
    assert placing.part_of(path) is part


@pytest.mark.parametrize(
    ("path", "to", "part"),
    [
        ("usr/lib/libx.so", "libx.so.1", Part.DEVEL),
        ("usr/lib/x86_64-linux-gnu/libx.so", "/lib/x86_64-linux-gnu/libx.so.1.2", Part.DEVEL),
        ("usr/lib/libx.so", "libx16.so", Part.DEVEL),
        ("usr/lib/libx.so.1", "libx.so.1.2", Part.RUNTIME),
        ("usr/lib/x/libx.so", "libx.so.1", Part.RUNTIME),
    ],
)
def test_links_for_linking_are_for_developers(path: str, to: str, part: Part) -> None:
    assert placing.part_of(path, link_to=to) is part


@pytest.mark.parametrize(
    ("path", "to", "becomes"),
    [
        ("lib/libx.so", "libx.so.1", "libx.so.1"),
        ("lib/libx.so", "../usr/lib/libx.so.1", "libx.so.1"),
        ("bin/x", "../sbin/y", "../sbin/y"),
        ("bin/x", "/usr/bin/y", "/usr/bin/y"),
        ("etc/x", "../usr/share/x", "../usr/share/x"),
        ("usr/bin/x", "../../lib/y", "../../lib/y"),
    ],
)
def test_a_moved_link_leads_where_it_led(path: str, to: str, becomes: str) -> None:
    new = placing.place(path)
    assert new is not None
    assert placing.moved_link(path, new, to) == becomes


@pytest.mark.parametrize("path", ["usr/lib/libx.la", "usr/lib/python3/x.pyc", "usr/share/info/dir"])
def test_what_nobody_needs_is_left_out(path: str) -> None:
    assert placing.is_left_out(path)


def test_a_static_library_has_a_shared_twin() -> None:
    assert placing.shared_twin("usr/lib/libx.a") == "usr/lib/libx.so"
    assert placing.shared_twin("usr/lib/x/libx.a") is None


def test_lines_of_tmpfiles_are_quoted() -> None:
    assert placing.tmpfiles_line("var/lib/x", "d") == "d /var/lib/x 0755 root root -"
    assert placing.tmpfiles_line("var/a b%", "d") == 'd "/var/a b%%" 0755 root root -'
    assert placing.tmpfiles_line("var/x", "L", link="y%") == "L /var/x - - - - y%%"
