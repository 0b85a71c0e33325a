# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line: help with an example everywhere, and errors that say what to type next."""

import errno
import io
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.house import find_root, init, read_settings
from pipeline.cli.main import guarded, run
from pipeline.cli.terminal import TerminalSink, live, size_text
from pipeline.cli.verbs import VERBS, build_parser
from pipeline.ports.log import Level, Log
from pipeline.words.errors import BadInput, Problem
from tests.repos import wait_until


@pytest.mark.parametrize("verb", [entry[0] for entry in VERBS])
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser("1").parse_args([verb, "--help"])
    assert ended.value.code == 0
    assert "example: ostci" in capsys.readouterr().out


@pytest.mark.parametrize("verb", [entry[0] for entry in VERBS if entry[0] != "init"])
def test_an_example_parses(verb: str) -> None:
    example = next(entry[3] for entry in VERBS if entry[0] == verb)
    for line in example.split("; "):
        words = line.split(" > ")[0].split()[1:]
        assert build_parser("1").parse_args(words).handler is not None


def test_without_a_work_directory_it_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["-C", str(tmp_path), "log"]) == 2
    said = capsys.readouterr().err
    assert "there is no ostci.toml" in said
    assert "→ make one: ostci init DIR MANIFEST" in said


def test_a_full_disk_is_trouble_whoever_notices_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "some" / "file"))

    assert guarded(work) == 3
    said = capsys.readouterr().err
    assert f"trouble: no space left for {tmp_path}/some/file: " in said and "→ make room" in said


def test_what_is_wrong_is_told_by_place_and_then_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problems = (Problem(place="m.yaml:3:1", message="no"), Problem(place="m.yaml:9:1", message="x"))

    def handler() -> int:
        raise BadInput("the manifest is wrong", problems=problems)

    assert guarded(handler) == 2
    told = "m.yaml:3:1: no\nm.yaml:9:1: x\nostci: bad input: m.yaml:3:1: no, and 1 more\n"
    assert capsys.readouterr().err == told


def test_a_bug_says_that_it_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    def handler() -> int:
        raise KeyError("x")

    assert guarded(handler) == 70
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "ostci: this is a bug in ostci, not in what it was given: KeyError"
    assert last == "KeyError: 'x'"


def test_a_work_directory_is_found_from_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = tmp_path / "os.yaml"
    manifest.write_text("osname: x\n")
    init(tmp_path / "work", manifest)
    deep = tmp_path / "work" / "runs"
    monkeypatch.chdir(deep)
    monkeypatch.delenv("OSTCI_WORKDIR", raising=False)
    assert find_root(None) == tmp_path / "work"
    assert read_settings(tmp_path / "work").manifest == manifest


def test_a_work_directory_is_not_made_twice(tmp_path: Path) -> None:
    manifest = tmp_path / "os.yaml"
    manifest.write_text("osname: x\n")
    init(tmp_path / "work", manifest)
    with pytest.raises(BadInput, match="is a work directory already"):
        init(tmp_path / "work", manifest)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('manifest = "a"\njob = 2\n', "job is none of manifest, jobs"),
        ('manifest = "a"\njobs = "two"\n', "jobs wants a int"),
        ("jobs = 2\n", "it names no manifest"),
        ("jobs = \n", "Invalid value"),
    ],
)
def test_settings_that_are_wrong_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "ostci.toml").write_text(text)
    with pytest.raises(BadInput, match=said):
        read_settings(tmp_path)


def test_a_file_gets_plain_lines_that_begin_with_the_component() -> None:
    out = io.StringIO()
    log = Log(TerminalSink(out))
    with log.step("build", expected_s=12.0):
        log.fact("keep: nothing changed", about="zlib")
        log.detail("$ true")
    lines = out.getvalue().splitlines()
    assert lines[0] == "build … (last time 12 s)"
    assert lines[1] == "  zlib: keep: nothing changed"
    assert lines[2].startswith("build done in 0.")
    assert len(lines) == 3


def test_a_step_that_ends_at_once_has_one_line() -> None:
    out = io.StringIO()
    log = Log(TerminalSink(out))
    with log.step("smoke"):
        for name in ("test_one", "test_two"):
            with log.step(name):
                pass
    told = [line.partition(" done")[0] for line in out.getvalue().splitlines()]
    assert told == ["smoke …", "  test_one", "  test_two", "smoke"]


def test_what_has_begun_is_told_before_it_ends() -> None:
    out = io.StringIO()
    sink = TerminalSink(out)
    with live(sink), Log(sink).step("compile", about="zlib"):
        wait_until(lambda: out.getvalue() == "zlib: compile …\n")


def test_details_are_shown_when_asked_for() -> None:
    out = io.StringIO()
    Log(TerminalSink(out, verbose=True)).detail("$ true")
    assert out.getvalue() == "$ true\n"


def test_what_runs_is_told_until_it_ends() -> None:
    sink = TerminalSink(io.StringIO())
    log = Log(sink)
    with log.step("boot", about="x86_64-runtime", expected_s=40.0):
        assert sink.running.texts() == ["x86_64-runtime: boot, 0 s of about 40 s"]
    assert sink.running.texts() == []


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (459276288, "438 MiB"), (2**40, "1024 GiB")],
)
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    assert size_text(size) == text


def test_warnings_say_that_they_are() -> None:
    out = io.StringIO()
    Log(TerminalSink(out)).warning("odd", about="zlib")
    assert out.getvalue() == f"{Level.WARNING.name.lower()}: zlib: odd\n"


def test_what_still_runs_is_told_where_nobody_sees_it_as_it_comes() -> None:
    """A master stops a command that says nothing for long."""
    out = io.StringIO()
    sink = TerminalSink(out)
    with live(sink, still_s=0.01), Log(sink).step("wait for zlib", about="png"):
        wait_until(lambda: "… still png: wait for zlib, 0 s" in out.getvalue())


def test_the_verbs_of_stages_load_no_stage_before_one_is_given() -> None:
    # Under a master each stage of a run is a process, which pays for all that is imported.
    code = "import pipeline.cli.stage_verbs, sys; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"pipeline.stages.build", "pipeline.stages.promote", "sqlalchemy", "pydantic"}
    assert heavy.isdisjoint(said.stdout.split())


def test_only_the_verb_that_is_given_gets_a_parser() -> None:
    parser = build_parser("1")
    (verbs,) = (one for one in parser._actions if one.dest != "help" and one.choices)
    parser.parse_args(["plan"])
    assert isinstance(verbs.choices, dict)
    assert [name for name, one in verbs.choices.items() if hasattr(one, "prog")] == ["plan"]
