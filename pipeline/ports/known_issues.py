# SPDX-License-Identifier: LGPL-2.1-or-later
"""The folders of known issues: ours in ``vmtests``, and one beside a manifest."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from pipeline.words.errors import BadInput, Problem
from pipeline.words.known_issue import KnownIssue

FOLDER = "known_issues"
_SUFFIXES = (".yaml", ".yml")
_MOST = 1000


def folders(manifest: Path | None) -> tuple[Path, ...]:
    """Name where known issues are: with the suites, and in the directory of the manifest."""
    spec = find_spec("vmtests")
    ours = Path(spec.origin).parent / FOLDER if spec is not None and spec.origin else None
    beside = manifest.parent / FOLDER if manifest is not None else None
    return tuple(one for one in (ours, beside) if one is not None)


def read_known_issues(places: Sequence[Path]) -> tuple[KnownIssue, ...]:
    """Read all of them; raises BadInput with every problem of every file."""
    found: list[KnownIssue] = []
    problems: list[Problem] = []
    for path in _files(places):
        # Most have none, and need no reader of YAML.
        from pipeline.words.known_issue_text import LARGEST, parse_known_issue

        try:
            with path.open("rb") as file:
                data = file.read(LARGEST + 1)
        except OSError as error:
            problems.append(Problem(place=f"{path}:1:1", message=f"cannot be read: {error}"))
            continue
        try:
            found.append(parse_known_issue(data, str(path), path.stem))
        except BadInput as error:
            place = f"{path}:1:1"
            problems += error.problems or (Problem(place=place, message=error.what),)
    if problems:
        count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
        where = problems[0].place.rsplit(":", 2)[0]
        raise BadInput(
            f"{count} in known issues", where=where, hint="ostci check", problems=tuple(problems)
        )
    return tuple(found)


def _files(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            files = [one for one in sorted(place.iterdir()) if one.suffix in _SUFFIXES]
            yield from files[:_MOST]
