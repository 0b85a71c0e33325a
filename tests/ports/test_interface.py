# SPDX-License-Identifier: LGPL-2.1-or-later
"""What others can see of compiled files: with a real compiler, and broken files."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.ports.interface import interface, name_in, read_elf
from pipeline.words.elf_exports import Exports, read_exports

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")

SOURCE = "int grow(int n) { return n + 1; }\nint table[4] = {1};\nstatic int own;\n"
VERSIONS = "X_1 { global: grow; table; local: *; };\n"


def compile_library(top: Path, source: str, *options: str, name: str = "libx.so.1.2") -> Path:
    """Compile a library into a tree's /usr/lib."""
    place = top / "usr/lib" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    (top.parent / "x.c").write_text(source)
    (top.parent / "x.map").write_text(VERSIONS)
    argv = ["gcc", "-g", "-fPIC", "-shared", "-Wl,-soname,libx.so.1", "-Wl,--build-id"]
    subprocess.run([*argv, *options, "-o", str(place), str(top.parent / "x.c")], check=True)
    return place


def compile_program(top: Path, source: str) -> Path:
    """Compile a program into a tree's /usr/bin."""
    place = top / "usr/bin/x"
    place.parent.mkdir(parents=True, exist_ok=True)
    (top.parent / "p.c").write_text(source)
    argv = ["gcc", "-g", "-Wl,--build-id", "-o", str(place), str(top.parent / "p.c")]
    subprocess.run(argv, check=True)
    subprocess.run(["strip", str(place)], check=True)
    return place


def exports(path: Path) -> Exports:
    found = read_elf(path)[1]
    assert found is not None
    return found


def test_a_library_shows_its_soname_symbols_and_sizes(tmp_path: Path) -> None:
    plain = exports(compile_library(tmp_path / "a", SOURCE))
    assert (plain.soname, plain.is_program) == ("libx.so.1", False)
    assert {"grow", "table=16"} <= set(plain.symbols)
    assert not any("own" in symbol for symbol in plain.symbols)
    versioned = compile_library(
        tmp_path / "b", SOURCE, f"-Wl,--version-script={tmp_path / 'x.map'}"
    )
    assert {"grow@@X_1", "table@@X_1=16"} <= set(exports(versioned).symbols)


def test_symbols_are_those_that_readelf_shows(tmp_path: Path) -> None:
    path = compile_library(tmp_path / "a", SOURCE, f"-Wl,--version-script={tmp_path / 'x.map'}")
    shown = subprocess.run(
        ["readelf", "--dyn-syms", "--wide", str(path)], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in shown.splitlines() if "GLOBAL" in line or "WEAK" in line]
    wanted = {row[7] for row in rows if row[6] not in ("UND", "ABS")}
    # Of absolute ones, readelf shows the version itself.
    found = {one.partition("=")[0] for one in exports(path).symbols}
    assert wanted <= found
    assert found - wanted <= {"X_1", "X_1@@X_1"}


def test_the_build_id_is_that_which_readelf_shows(tmp_path: Path) -> None:
    path = compile_library(tmp_path / "a", SOURCE)
    shown = subprocess.run(
        ["readelf", "--notes", str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert f"Build ID: {exports(path).build_id}" in shown


def test_the_inside_of_a_library_is_not_seen_from_outside(tmp_path: Path) -> None:
    compile_library(tmp_path / "a", SOURCE)
    compile_library(tmp_path / "b", "/* said at length */\n" + SOURCE.replace("n + 1", "n + 2"))
    before, after = interface([tmp_path / "a"]), interface([tmp_path / "b"])
    assert before == after
    assert list(before) == ["lib:libx.so.1"]


@pytest.mark.parametrize(
    "changed",
    [
        SOURCE + "int more(void) { return 1; }\n",
        SOURCE.replace("table[4]", "table[5]"),
        SOURCE.replace("grow", "shrink"),
    ],
)
def test_another_symbol_or_size_is_another_interface(tmp_path: Path, changed: str) -> None:
    compile_library(tmp_path / "a", SOURCE)
    compile_library(tmp_path / "b", changed)
    assert interface([tmp_path / "a"]) != interface([tmp_path / "b"])


def test_a_library_goes_by_its_soname_whatever_its_file_is_called(tmp_path: Path) -> None:
    for top, name in (("a", "libx.so.1.2"), ("b", "libx.so.1.3")):
        path = compile_library(tmp_path / top, SOURCE, name=name)
        (path.parent / "libx.so.1").symlink_to(name)
        (path.parent / "libx.so").symlink_to("libx.so.1")
        assert name_in(tmp_path / top, f"/usr/lib/{name}") == "lib:libx.so.1"
    before, after = interface([tmp_path / "a"]), interface([tmp_path / "b"])
    assert set(before) == {"lib:libx.so", "lib:libx.so.1"}
    assert before == after


def test_a_program_counts_by_what_it_does_not_by_its_comments(tmp_path: Path) -> None:
    compile_program(tmp_path / "a", "int main(void) { return 1; }\n")
    compile_program(tmp_path / "b", "/* long */\n\n\nint main(void) { return 1; }\n")
    compile_program(tmp_path / "c", "int main(void) { return 2; }\n")
    a, b, c = (interface([tmp_path / name]) for name in "abc")
    assert a == b
    assert a != c


def test_other_files_count_by_content_kind_and_place(tmp_path: Path) -> None:
    for name, text, mode in (("a", "x", 0o644), ("b", "y", 0o644), ("c", "x", 0o755)):
        path = tmp_path / name / "usr/include/x.h"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(mode)
    seen = [interface([tmp_path / name]) for name in "abc"]
    assert [list(one) for one in seen] == [["header:x.h"]] * 3
    assert len({one["header:x.h"] for one in seen}) == 3


def test_translations_and_manuals_are_not_seen(tmp_path: Path) -> None:
    for path in ("usr/share/locale/de/LC_MESSAGES/x.mo", "usr/share/man/man1/x.1"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("x")
    assert interface([tmp_path]) == {}


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "t/usr/share").mkdir(parents=True)
    (tmp_path / "t/usr/share/out").symlink_to("/etc")
    (tmp_path / "t/usr/share/passwd").symlink_to("/etc/passwd")
    found = interface([tmp_path / "t"])
    assert set(found) == {"/usr/share/out", "/usr/share/passwd"}


@pytest.mark.parametrize("cut", [4, 20, 64, 200, 3000])
def test_a_broken_file_counts_by_its_content(tmp_path: Path, cut: int) -> None:
    path = compile_library(tmp_path / "a", SOURCE)
    data = path.read_bytes()
    path.write_bytes(data[:cut])
    assert read_elf(path)[1] is None or cut == 3000
    assert len(interface([tmp_path / "a"])) == 1


def test_no_bytes_make_the_reader_fail_in_another_way(tmp_path: Path) -> None:
    data = bytearray(compile_library(tmp_path / "a", SOURCE).read_bytes())
    header = bytes(data[:64])
    for at in range(16, 64):
        data[:64] = header
        data[at] ^= 0xFF
        try:
            read_exports(bytes(data))
        except ValueError:
            continue
