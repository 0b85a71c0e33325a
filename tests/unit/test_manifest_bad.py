# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is wrong with a manifest is told all at once, each with its place and what was meant.

Beside each manifest in ``data/bad-manifests`` lies what is said about it, to the letter.
"""

import io
import json
from pathlib import Path

import pytest

from pipeline.cli.main import run
from pipeline.cli.manifest_commands import check, load
from pipeline.words.errors import BadInput
from pipeline.words.manifest_text import parse_manifest, read_manifest
from tests.manifests import SMALLEST, parsed, problems_of, with_keys

MUSEUM = Path(__file__).resolve().parents[1] / "data" / "bad-manifests"
NAMES = sorted(path.stem for path in MUSEUM.glob("*.yaml"))


def said(path: Path, *, as_json: bool = False) -> tuple[int, str]:
    out = io.StringIO()
    code = check(path, as_json=as_json, out=out)
    return code, out.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_manifest_gets_exactly_these_words(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(MUSEUM)
    code, text = said(Path(f"{name}.yaml"))
    assert text.replace(f"{MUSEUM}/", "") == (MUSEUM / f"{name}.expected").read_text()
    assert code == 2


def test_the_museum_shows_every_kind_of_mistake() -> None:
    wanted = {
        "unknown-key",
        "duplicate-key",
        "misspelt-key",
        "wrong-type",
        "cycle",
        "name-used-twice",
        "missing-patch",
        "bad-urls",
        "several",
    }
    assert wanted <= set(NAMES)


def test_the_command_exits_with_2_and_says_the_same_as_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = MUSEUM / "misspelt-key.yaml"
    assert run(["check", str(path), "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["good"] is False
    assert told["problems"][0] == {
        "file": str(path),
        "line": 1,
        "column": 1,
        "message": "unknown key 'osnmae'",
        "hint": "did you mean 'osname'?",
    }
    assert len(told["problems"]) == 4


def test_a_missing_patch_is_found_by_who_loads_a_manifest(tmp_path: Path) -> None:
    text = with_keys(patches={"src": "local:patches"})
    text = text.replace('zlib.git"', 'zlib.git", "patches": ["one.patch"]')
    path = tmp_path / "os.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"there is no directory .*/patches$") as error:
        load(path)
    assert error.value.what == f"1 error in {path}"
    (tmp_path / "patches").mkdir()
    with pytest.raises(BadInput, match=r"there is no patch .*/one\.patch"):
        load(path)
    (tmp_path / "patches" / "one.patch").touch()
    manifest, warnings = load(path)
    assert manifest.component("zlib").patches == ("one.patch",)
    assert warnings == ()


def test_a_missing_git_repository_is_only_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "os.yaml"
    path.write_text(SMALLEST.replace("https://example.org/zlib.git", "./git/zlib"))
    code, text = said(path)
    assert code == 0
    assert f"warning: {path}:5:10: there is no repository {tmp_path}/git/zlib" in text
    (tmp_path / "git" / "zlib").mkdir(parents=True)
    assert "warning" not in said(path)[1]


def test_missing_archives_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "os.yaml"
    base = {"tar": {"runtime": {"file": "./rootfs.tar"}}}
    source = {"name": "a", "src": "tarball:./a.tar.gz", "checksum": "0" * 64}
    path.write_text(with_keys(base=base, components=[source]))
    code, text = said(path)
    assert code == 2
    assert f"there is no file {tmp_path}/rootfs.tar" in text
    assert f"there is no file {tmp_path}/a.tar.gz" in text


def test_a_manifest_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(BadInput, match=r"there is no manifest: (No such file|Is a directory)"):
            said(path)


def test_a_text_that_is_not_utf_8_says_where(tmp_path: Path) -> None:
    path = tmp_path / "os.yaml"
    path.write_bytes("osname: a\nrepo: ä".encode() + b"\xff\n")
    code, text = said(path)
    assert code == 2
    assert text.startswith(f"{path}:2:8: the text is not UTF-8, save it as UTF-8")


def test_parse_manifest_raises_all_problems_at_once() -> None:
    with pytest.raises(BadInput, match="the manifest has no osname") as error:
        parse_manifest("{}", "x", relative_to="/")
    assert error.value.what == "3 errors in x"
    assert [problem.place for problem in error.value.problems] == ["x:1:1"] * 3
    assert error.value.exit_code == 2


def test_a_good_manifest_has_no_problems() -> None:
    reading = read_manifest(SMALLEST, "x", relative_to="/")
    assert (reading.problems, reading.warnings, reading.files) == ((), (), ())
    assert reading.manifest == parsed(SMALLEST)


def test_one_mistake_is_told_once() -> None:
    found = problems_of(SMALLEST.replace("  - src:", "  - scr:"))
    assert [problem.message for problem in found] == ["unknown key 'scr'"]


def test_what_is_taken_out_of_a_list_does_not_move_the_places_of_the_rest() -> None:
    text = SMALLEST + "    depends: [1, zlib, 2, 3, hullo, 4, hallo]\n"
    places = [problem.place.split(":")[-1] for problem in problems_of(text)]
    assert places == ["15", "18", "24", "27", "30", "37", "40"]


def test_a_wrong_depends_makes_no_ring_of_what_it_might_have_meant() -> None:
    text = SMALLEST + "    depends: [b]\n  - {name: b, src: local:x, depends: 5}\n"
    assert [problem.message for problem in problems_of(text)] == ["wants a list, this is a number"]


def test_what_names_an_entry_that_was_not_understood_is_not_told_as_well() -> None:
    text = SMALLEST + "    depends: [b]\n  - b\n  - {name: c, src: local:x, depends: [zlib]}\n"
    assert [str(problem) for problem in problems_of(text)] == [
        "os.yaml:7:5: wants a mapping, this is text"
    ]


def test_an_alias_can_be_wrong_in_two_places() -> None:
    text = SMALLEST + "    depends: &d [1, hullo]\n  - {name: b, src: local:x, depends: *d}\n"
    # The second wrong number stands at the same place as the first, and is told once.
    messages = [problem.message for problem in problems_of(text)]
    assert messages == ["wants text, this is a number", "there is no component 'hullo'"]


def test_a_message_never_quotes_a_whole_book() -> None:
    problems = problems_of(with_keys(osname="a b" * 100_000))
    assert len(problems[0].message) < 500
