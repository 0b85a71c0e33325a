# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a component's options become in the script that builds it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.stages.building.script import Script, libdir, script_of
from pipeline.words.manifest import BuildSpec, BuildSystem
from tests.small import ARCH, component, pin


def made(root: Path, **given: Any) -> Script:
    """Write the script of a component."""
    spec = {key: given.pop(key) for key in tuple(given) if key in BuildSpec.__dataclass_fields__}
    one = component("it", build=BuildSpec(**spec), **given)
    return script_of(one, pin("it", commit_time=1_700_000_000), ARCH, root, 3)


def choices(script: Script) -> dict[str, str]:
    """Read what ``run.sh`` gives each build system."""
    lines = [line.strip() for line in script.files["run.sh"].splitlines() if ";;" in line]
    return {line.partition(")")[0]: line.partition(") ")[2][: -len(" ;;")] for line in lines}


def test_options_for_configure_scripts_do_not_reach_other_systems(tmp_path: Path) -> None:
    found = choices(made(tmp_path, config_opts=("--disable-static", "-Dx=1"), options=("own",)))
    assert found == {
        "autotools": "set -- --disable-static -Dx=1 own",
        "meson": "set -- -Dx=1 own",
        "cmake": "set -- -Dx=1 own",
        "make": "set -- own",
        "custom": "set -- own",
    }


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    evil = "$(touch evil); `touch evil`' \"x"
    script = made(tmp_path, options=(evil,), requires_pkgconfig=(evil,), subdir="a b")
    (tmp_path / "build.sh").write_text(
        "require() { printf '%s\\n' \"$1\"; }\nchoose() { echo make; }\n"
        "main() { shift; printf '%s\\n' \"$1\"; }\n"
    )
    text = script.files["run.sh"].replace("/ostci/", f"{tmp_path}/")
    text = text.replace("cd '/build/it/a b'", f"cd {tmp_path}")
    done = subprocess.run(["sh", "-e", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [evil, evil]
    assert not (tmp_path / "evil").exists()


def test_the_environment_is_fixed_and_the_manifest_adds_to_it(tmp_path: Path) -> None:
    env = made(tmp_path, environment={"OURS": "1"}).env
    assert env["SOURCE_DATE_EPOCH"] == "1700000000"
    assert env["CFLAGS"] == "-g -O2 -ffile-prefix-map=/build/it=/usr/src/debug/it"
    assert env["CXXFLAGS"] == env["CFLAGS"]
    assert (env["JOBS"], env["OURS"], env["CCACHE_DISABLE"]) == ("3", "1", "1")
    assert "CCACHE_DISABLE" not in made(tmp_path, ccache=True).env


def test_commands_make_a_component_one_of_its_own(tmp_path: Path) -> None:
    script = made(tmp_path, system=BuildSystem.GUESS, commands=("one", "two"))
    assert script.env["OSTCI_SYSTEM"] == "custom"
    assert script.files["commands.sh"] == "one\ntwo\n"


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu"),
        ("usr/lib64/libc.so.6", "/usr/lib64"),
        ("usr/lib64/ld-linux-x86-64.so.2", "/usr/lib"),
        ("usr/lib/libc.so.6", "/usr/lib"),
    ],
)
def test_libraries_go_where_those_of_the_base_are(tmp_path: Path, there: str, wanted: str) -> None:
    (tmp_path / there).parent.mkdir(parents=True)
    (tmp_path / there).write_text("")
    assert libdir(tmp_path, ARCH) == wanted
