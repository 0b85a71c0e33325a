# SPDX-License-Identifier: LGPL-2.1-or-later
"""A target's session, from the manifest to the files that log somebody in."""

import tomllib
from pathlib import Path

import pytest

from pipeline.stages.disking.deployment import (
    Deployment,
    fixture_content,
    fixture_state,
    furnish,
)
from pipeline.words.errors import BadInput
from pipeline.words.fixture import FIXTURE, fixture_of, fixture_paths
from pipeline.words.manifest import Manifest
from pipeline.words.manifest_text import parse_manifest
from pipeline.words.refs import Commit, RefName
from pipeline.words.session import Login, SessionSpec
from tests.manifests import SMALLEST

WESTON = SessionSpec(name="weston")
TIMED = SessionSpec(name="weston", login=Login.TIMED, delay_s=7, user="ada")


def read(targets: str) -> Manifest:
    return parse_manifest(f"{SMALLEST}\ntargets:\n{targets}", "m.yaml", relative_to=".")[0]


def greetd(spec: SessionSpec) -> dict[str, dict[str, object]]:
    [entry] = [one for one in fixture_of(spec) if one.path == "/etc/greetd/config.toml"]
    return tomllib.loads(entry.content)


def test_a_target_has_none_unless_it_says_so() -> None:
    assert read("  runtime: {}\n").target("runtime").session is None


def test_one_that_extends_another_changes_what_it_names() -> None:
    manifest = read(
        "  a: {session: {name: weston, deadline: 90s}}\n"
        "  b: {extend: a, session: {login: timed, delay: 3s, user: ada}}\n"
        "  c: {extend: b}\n"
    )
    assert manifest.target("a").session == SessionSpec(name="weston", deadline_s=90)
    timed = SessionSpec(name="weston", deadline_s=90, login=Login.TIMED, delay_s=3, user="ada")
    assert manifest.target("b").session == timed
    assert manifest.target("c").session == timed


@pytest.mark.parametrize(
    ("session", "told"),
    [
        ("{login: timed}", "a session needs a name"),
        ("{name: ../x}", "'../x' cannot be a name"),
        ("{name: weston, user: root}", "'root' cannot be a user of a session"),
        ("{name: weston, user: 'a b'}", "'a b' cannot be a user of a session"),
        ("{name: weston, login: never}", "automatic"),
        ("{name: weston, logim: timed}", "login"),
    ],
)
def test_what_is_wrong_with_it_is_told(session: str, told: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(f"  a: {{session: {session}}}\n")
    assert told in str(caught.value)


def test_a_tree_without_one_gets_the_fixture_as_it_is() -> None:
    assert fixture_of(None) == FIXTURE
    assert fixture_paths(None) == fixture_paths()
    assert fixture_state(fixture_of(None)) == fixture_state()


@pytest.mark.parametrize("spec", [WESTON, TIMED])
def test_a_furnished_deployment_has_the_listed_paths_and_no_others(
    spec: SessionSpec, tmp_path: Path
) -> None:
    what = Deployment(
        osname="os", ref=RefName("o/x"), commit=Commit("0" * 64), options=(), session=spec
    )
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    before = set(tmp_path.rglob("*"))
    furnish(tmp_path, what)
    added = {f"/{path.relative_to(tmp_path)}" for path in set(tmp_path.rglob("*")) - before}
    assert added == set(fixture_paths(spec))
    assert len({one.path for one in fixture_of(spec)}) == len(fixture_of(spec))
    assert all(one.symlink or fixture_content(one) for one in fixture_of(spec))


def test_each_way_to_get_in_is_told_to_the_login_manager() -> None:
    at_once, timed = greetd(WESTON), greetd(TIMED)
    assert at_once["initial_session"] == {
        "command": "/etc/ostci-guest/session",
        "user": "testuser",
    }
    assert "initial_session" not in timed
    assert timed["default_session"]["command"] == "/etc/ostci-guest/greeter"
    [conf] = [one for one in fixture_of(TIMED) if one.path == "/etc/ostci-guest/session.conf"]
    assert conf.content == "SESSION_USER=ada\nSESSION_NAME=weston\nSESSION_DELAY=7\n"


def test_another_session_is_another_disk() -> None:
    states = [fixture_state(fixture_of(one)) for one in (None, WESTON, TIMED)]
    assert all(states.count(one) == 1 for one in states)
