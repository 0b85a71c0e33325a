# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci check`` and ``ostci schema``: is a manifest good, and what can stand in one.

The one place that looks whether what a manifest names on this machine is there.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from pipeline.ports.known_issues import folders, read_known_issues
from pipeline.words.counting import count_of
from pipeline.words.errors import EXIT_PASSED, BadInput, Problem
from pipeline.words.findings import did_you_mean, in_text_order
from pipeline.words.manifest import Manifest
from pipeline.words.manifest_schema import manifest_json_schema
from pipeline.words.manifest_text import NeededFile, NeededKind, read_manifest

MOST_BYTES = 16 * 1024**2
"""Of a file that is read as a manifest; the text itself is bounded where it is parsed."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What is known of a manifest's file; ``manifest`` is None where there are problems."""

    manifest: Manifest | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def check(path: Path, *, as_json: bool, out: TextIO) -> int:
    """Tell all that is wrong with a manifest, or what is in it; tells the exit code."""
    checked = examine(path)
    issues = _known_issues(path)
    if issues:
        checked = replace(checked, manifest=None, problems=(*checked.problems, *issues))
    if as_json:
        json.dump(_as_json(path, checked), out, indent=2)
        out.write("\n")
    else:
        out.writelines(f"{line}\n" for line in _lines(path, checked))
    return BadInput.exit_code if checked.problems else EXIT_PASSED


def schema(out: TextIO) -> None:
    """Write the JSON Schema of manifests."""
    json.dump(manifest_json_schema(), out, indent=2)
    out.write("\n")


def load(path: Path) -> tuple[Manifest, tuple[Problem, ...]]:
    """Read a good manifest and its warnings; raises BadInput with every problem."""
    checked = examine(path)
    if checked.manifest is None:
        count = len(checked.problems)
        what = f"{count} error{'' if count == 1 else 's'} in {path}"
        raise BadInput(what, where=str(path), problems=checked.problems)
    return checked.manifest, checked.warnings


def examine(path: Path) -> Checked:
    """Read a manifest and look whether the files are there that it names."""
    try:
        text = _read(path)
        reading = read_manifest(text, str(path), relative_to=str(path.absolute().parent))
    except BadInput as error:
        if not error.problems:
            raise
        return Checked(manifest=None, problems=error.problems)
    missing, warnings = _missing(reading.files)
    problems = in_text_order([*reading.problems, *missing])
    return Checked(
        manifest=None if problems else reading.manifest,
        problems=problems,
        warnings=in_text_order([*reading.warnings, *warnings]),
    )


def _read(path: Path) -> str:
    try:
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise BadInput("this is too large for a manifest", where=str(path))
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"there is no manifest: {error.strerror}", where=str(path)) from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        good = data[: error.start].decode()
        line, column = good.count("\n") + 1, len(good) - (good.rfind("\n") + 1) + 1
        place = f"{path}:{line}:{column}"
        problem = Problem(place=place, message="the text is not UTF-8", hint="save it as UTF-8")
        raise BadInput("not UTF-8", where=str(path), problems=(problem,)) from error


def _known_issues(path: Path) -> tuple[Problem, ...]:
    """Tell what is wrong with known issues, those of the suites and those beside the manifest."""
    try:
        read_known_issues(folders(path))
    except BadInput as error:
        return error.problems
    return ()


# What the manifest names on this machine


def _missing(files: Iterable[NeededFile]) -> tuple[list[Problem], list[Problem]]:
    """Look for each file; a git repository that is missing is only a warning.

    It may be there on the machine that builds, where a patch or archive lies beside the manifest.
    """
    problems: list[Problem] = []
    warnings: list[Problem] = []
    gone: list[str] = []
    for file in files:
        message = _not_there(file)
        # Where the whole folder of patches is missing, that is said once.
        if message and not file.path.startswith(tuple(gone)):
            if file.kind is NeededKind.DIRECTORY:
                gone.append(f"{file.path}/")
            problem = Problem(place=file.place, message=message, hint=_nearest(Path(file.path)))
            (warnings if file.kind is NeededKind.REPOSITORY else problems).append(problem)
    return problems, warnings


def _not_there(file: NeededFile) -> str:
    path = Path(file.path)
    try:
        if file.kind in (NeededKind.PATCH, NeededKind.FILE):
            return "" if path.is_file() else f"there is no {file.kind} {path}"
        return "" if path.exists() else f"there is no {file.kind} {path}"
    except (OSError, ValueError) as error:
        return f"{file.kind} {path} cannot be read: {error}"


def _nearest(path: Path) -> str:
    try:
        names = [one.name for one in path.parent.iterdir()]
    except OSError:
        return ""  # then the folder is missing as well, which the path shows
    return did_you_mean(path.name, names)


# What is written


def _lines(path: Path, checked: Checked) -> list[str]:
    lines = [f"warning: {warning}" for warning in checked.warnings]
    if checked.manifest is None:
        return [*map(str, checked.problems), *lines, f"{path}: {_count(checked.problems)}"]
    return [*lines, *_summary(path, checked.manifest)]


def _count(problems: Sequence[Problem]) -> str:
    return "1 error" if len(problems) == 1 else f"{len(problems)} errors"


def _summary(path: Path, manifest: Manifest) -> list[str]:
    components = manifest.components
    children = sum(len(one.children) for one in components)
    generated = sum(1 for one in components if one.generated_from)
    more = [
        f"{count} {what}"
        for count, what in ((children, "within others"), (generated, "of installed tests"))
        if count
    ]
    told = f" ({', '.join(more)})" if more else ""
    lines = [
        f"{path}: good",
        f"  {manifest.osname} for {', '.join(manifest.architectures)}",
        f"  base {manifest.base.name} ({manifest.base.kind})",
        f"  {count_of(len(components), 'component')}{told}",
    ]
    for target in manifest.targets:
        parts = ", ".join(target.subtrees)
        gate = ", ".join(f"{suite} {need}" for suite, need in target.gate.items())
        lines.append(
            f"  target {target.name}: {count_of(len(target.components), 'component')} ({parts}) on "
            f"{'+'.join(target.packages)}, boots {target.default_unit}; gate: {gate}"
        )
    return lines


def _as_json(path: Path, checked: Checked) -> Mapping[str, Any]:
    manifest = checked.manifest
    found: dict[str, Any] = {
        "manifest": str(path),
        "good": manifest is not None,
        "problems": [_problem(one) for one in checked.problems],
        "warnings": [_problem(one) for one in checked.warnings],
    }
    if manifest is not None:
        found["osname"] = manifest.osname
        found["architectures"] = list(manifest.architectures)
        found["components"] = [one.name for one in manifest.components]
        found["targets"] = {one.name: list(one.components) for one in manifest.targets}
    return found


def _problem(problem: Problem) -> Mapping[str, Any]:
    file, line, column = problem.place.rsplit(":", 2)
    return {
        "file": file,
        "line": int(line),
        "column": int(column),
        "message": problem.message,
        "hint": problem.hint,
    }
