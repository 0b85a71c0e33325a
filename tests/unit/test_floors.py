# SPDX-License-Identifier: LGPL-2.1-or-later
"""The house has floors, and imports point down. ``pytest -s`` on this file prints the picture."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
FLOORS = {"words": 0, "ports": 1, "stages": 2, "master": 3, "web": 3, "cli": 3}
PURE = frozenset({"os", "pathlib", "subprocess", "socket", "time", "shutil", "threading", "random"})


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted((TOP / "pipeline").rglob("*.py")):
        parts = path.relative_to(TOP).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(module: str) -> tuple[str, str]:
    """Tell the folder and the room in it: a module, or a sub-package as a whole."""
    parts = module.split(".")
    if len(parts) < 2 or parts[0] != "pipeline":
        return "", ""
    return parts[1], parts[2] if len(parts) > 2 else ""


# A stage too large for one file keeps the rest of itself in a folder next to it.
ANNEX = {
    "building": "build",
    "composing": "compose",
    "basing": "base",
    "disking": "disk",
    "promoting": "promote",
    "testing": "test",
    "watching": "watch",
}


def stage_of(room: str) -> str:
    return ANNEX.get(room, room)


ALL = list(modules())


@pytest.mark.parametrize(("module", "path"), ALL, ids=[name for name, _ in ALL])
def test_imports_point_down(module: str, path: Path) -> None:
    folder, _ = room_of(module)
    for name in imports_of(path):
        other, _ = room_of(name)
        if folder and other in FLOORS and other != folder:
            assert FLOORS[other] < FLOORS[folder], f"{module} reaches up to {name}"


@pytest.mark.parametrize(("module", "path"), ALL, ids=[name for name, _ in ALL])
def test_stages_never_import_each_other(module: str, path: Path) -> None:
    folder, room = room_of(module)
    for name in imports_of(path) if folder == "stages" and room else ():
        other, other_room = room_of(name)
        if other == "stages" and other_room:
            assert stage_of(other_room) == stage_of(room), f"{module} imports {name}"


@pytest.mark.parametrize(("module", "path"), ALL, ids=[name for name, _ in ALL])
def test_words_do_no_input_or_output(module: str, path: Path) -> None:
    if room_of(module)[0] == "words":
        used = {name.split(".")[0] for name in imports_of(path)} & PURE
        assert not used, f"{module} imports {used}"


def test_only_one_module_starts_processes() -> None:
    starters = {
        module
        for module, path in ALL
        if any(name.split(".")[0] in {"subprocess", "pty"} for name in imports_of(path))
    }
    assert starters == {"pipeline.ports.process"}


def test_only_the_master_imports_buildbot() -> None:
    foreign = {"buildbot", "buildbot_worker", "twisted", "zope"}
    importers = {
        module
        for module, path in ALL
        if any(name.split(".")[0] in foreign for name in imports_of(path))
    }
    # Buildbot is GPL-2.0, and its reactor must find its way into nothing else.
    assert all(room_of(module)[0] == "master" for module in importers), importers


def test_there_are_no_import_rings() -> None:
    names = {module for module, _ in ALL}
    graph = {
        module: {
            name if name in names else name.rpartition(".")[0]
            for name in imports_of(path)
            if name in names or name.rpartition(".")[0] in names
        }
        - {module}
        for module, path in ALL
    }
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " → ".join([*above, module])
        if module in done:
            return
        for other in graph[module]:
            visit(other, (*above, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def picture() -> str:
    rooms: dict[str, set[str]] = defaultdict(set)
    for module, _ in ALL:
        folder, room = room_of(module)
        if room:
            rooms[folder].add(stage_of(room) if folder == "stages" else room)
    lines = []
    for folder, floor in sorted(FLOORS.items(), key=lambda entry: (-entry[1], entry[0])):
        if rooms[folder]:
            lines.append(f"floor {floor}  {folder:<8} {'  '.join(sorted(rooms[folder]))}")
    return "\n".join(lines)


def test_the_picture_has_every_floor(capsys: pytest.CaptureFixture[str]) -> None:
    drawn = picture()
    with capsys.disabled():
        print("\n" + drawn)  # noqa: T201
    order = [line.split()[1] for line in drawn.splitlines()]
    assert order == sorted(order, reverse=True)
    assert {"0", "1"} <= set(order)
