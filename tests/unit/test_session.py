# SPDX-License-Identifier: LGPL-2.1-or-later
"""A target's session, from the manifest to the files that log somebody in."""

import configparser
import tomllib
from dataclasses import replace
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
from pipeline.words.session import Login, LoginManager, SessionSpec, SessionType, last_word
from tests.manifests import SMALLEST

WESTON = SessionSpec(name="weston")
TIMED = SessionSpec(name="weston", login=Login.TIMED, delay_s=7, user="ada")
X = SessionSpec(name="twm", type=SessionType.X11)
GNOME = SessionSpec(name="gnome", manager=LoginManager.GDM)
LATER = replace(GNOME, login=Login.TIMED, delay_s=7, type=SessionType.X11, user="ada")


def read(targets: str) -> Manifest:
    return parse_manifest(f"{SMALLEST}\ntargets:\n{targets}", "m.yaml", relative_to=".")[0]


def greetd(spec: SessionSpec) -> dict[str, dict[str, object]]:
    [entry] = [one for one in fixture_of("", 0, spec) if one.path == "/etc/greetd/config.toml"]
    return tomllib.loads(entry.content)


def test_a_target_has_none_unless_it_says_so() -> None:
    assert read("  runtime: {}\n").target("runtime").session is None


def test_one_that_extends_another_changes_what_it_names() -> None:
    manifest = read(
        "  a: {session: {name: weston, deadline: 90s}}\n"
        "  b: {extend: a, session: {login: timed, delay: 3s, user: ada}}\n"
        "  c: {extend: b}\n"
        "  d: {extend: b, session: {name: twm, type: x11}}\n"
        "  e: {extend: d, session: {type: wayland}}\n"
        "  f: {extend: e, session: {manager: gdm}}\n"
        "  g: {extend: f, session: {name: gnome}}\n"
    )
    assert manifest.target("a").session == SessionSpec(name="weston", deadline_s=90)
    timed = SessionSpec(name="weston", deadline_s=90, login=Login.TIMED, delay_s=3, user="ada")
    assert manifest.target("b").session == timed
    assert manifest.target("c").session == timed
    on_x = replace(timed, name="twm", type=SessionType.X11)
    assert manifest.target("d").session == on_x
    later = replace(on_x, type=SessionType.WAYLAND)
    assert manifest.target("e").session == later
    by_gdm = replace(later, name="gnome", manager=LoginManager.GDM)
    assert manifest.target("g").session == by_gdm


@pytest.mark.parametrize(
    ("session", "told"),
    [
        ("{login: timed}", "a session needs a name"),
        ("{login: timed}", "a file of /usr/share/wayland-sessions"),
        ("{type: x11}", "a file of /usr/share/xsessions"),
        ("{name: weston, type: X11}", "x11"),
        ("{name: ../x}", "'../x' cannot be a name"),
        ("{name: weston, user: root}", "'root' cannot be a user of a session"),
        ("{name: weston, user: 'a b'}", "'a b' cannot be a user of a session"),
        ("{name: weston, login: never}", "automatic"),
        ("{name: weston, manager: xdm}", "gdm"),
        ("{name: weston, logim: timed}", "login"),
    ],
)
def test_what_is_wrong_with_it_is_told(session: str, told: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(f"  a: {{session: {session}}}\n")
    assert told in str(caught.value)


def test_a_tree_without_one_gets_the_fixture_as_it_is() -> None:
    assert fixture_of("", 0, None) == FIXTURE
    assert fixture_paths(session=None) == fixture_paths()
    assert fixture_state(fixture_of("", 0, None)) == fixture_state()


@pytest.mark.parametrize("spec", [WESTON, TIMED, X, GNOME, LATER])
def test_a_furnished_deployment_has_the_listed_paths_and_no_others(
    spec: SessionSpec, tmp_path: Path
) -> None:
    what = Deployment(
        osname="os",
        ref=RefName("o/x"),
        commit=Commit("0" * 64),
        options=(),
        fixture=fixture_of("", 0, spec),
    )
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    before = set(tmp_path.rglob("*"))
    furnish(tmp_path, what)
    added = {f"/{path.relative_to(tmp_path)}" for path in set(tmp_path.rglob("*")) - before}
    assert added == set(fixture_paths(session=spec))
    assert len({one.path for one in fixture_of("", 0, spec)}) == len(fixture_of("", 0, spec))
    assert all(one.symlink or fixture_content(one) for one in fixture_of("", 0, spec))


def test_each_way_to_get_in_is_told_to_the_login_manager() -> None:
    at_once, timed = greetd(WESTON), greetd(TIMED)
    assert at_once["initial_session"] == {
        "command": "/etc/ostci-guest/session",
        "user": "testuser",
    }
    assert "initial_session" not in timed
    assert timed["default_session"]["command"] == "/etc/ostci-guest/greeter"
    [conf] = [
        one for one in fixture_of("", 0, TIMED) if one.path == "/etc/ostci-guest/session.conf"
    ]
    assert dict(line.split("=") for line in conf.content.splitlines()) == {
        "SESSION_MANAGER": "greetd",
        "SESSION_USER": "ada",
        "SESSION_NAME": "weston",
        "SESSION_TYPE": "wayland",
        "SESSION_PLACE": "/usr/share/wayland-sessions",
        "SESSION_DELAY": "7",
    }


def test_the_type_is_told_to_logind_and_to_whoever_starts_the_session() -> None:
    files = {one.path: one.content for one in fixture_of("", 0, X)}
    assert "XDG_SESSION_TYPE DEFAULT=x11\n" in files["/etc/security/pam_env.conf"]
    told = files["/etc/ostci-guest/session.conf"]
    assert "SESSION_TYPE=x11\nSESSION_PLACE=/usr/share/xsessions\n" in told


def test_gdm_is_told_at_both_places_that_it_looks_at() -> None:
    wanted = {
        GNOME: {
            "automaticloginenable": "true",
            "automaticlogin": "testuser",
            "waylandenable": "true",
        },
        LATER: {
            "timedloginenable": "true",
            "timedlogin": "ada",
            "timedlogindelay": "7",
            "waylandenable": "false",
        },
    }
    for spec, keys in wanted.items():
        files = {one.path: one.content for one in fixture_of("", 0, spec)}
        for path in ("/etc/gdm/custom.conf", "/etc/gdm3/daemon.conf"):
            parser = configparser.ConfigParser()
            parser.read_string(files[path])
            assert dict(parser["daemon"]) == keys
            assert parser["debug"].getboolean("enable")
        assert "SESSION_MANAGER=gdm\n" in files["/etc/ostci-guest/session.conf"]
        # What greetd starts, and what its PAM stack needs, would be in the way of GDM's own.
        assert not [
            path for path in files if path.endswith(("/greeter", "/session", "pam_env.conf"))
        ]


# As Xorg of Debian 12 says it.
XORG = (
    "(EE) No devices detected.",
    "(EE) ",
    "Fatal server error:",
    "(EE) no screens found(EE) ",
    "(EE) ",
    "Please consult the The X.Org Foundation support ",
    "\t at http://wiki.x.org",
    " for help. ",
    "(EE) Server terminated with error (1). Closing log file.",
)


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (XORG, "no screens found"),
        (XORG[:4], "no screens found"),
        (XORG[:3], ""),
        (XORG[:1], "(EE) No devices detected."),
        (("one", "two"), "two"),
        (("x" * 500,), "x" * 200),
        ((), ""),
    ],
)
def test_of_what_was_said_last_an_error_counts_and_not_whom_to_ask(
    said: tuple[str, ...], word: str
) -> None:
    assert last_word(said) == word


def test_another_session_is_another_disk() -> None:
    specs = (None, WESTON, TIMED, X, GNOME, LATER)
    states = [fixture_state(fixture_of("", 0, one)) for one in specs]
    assert all(states.count(one) == 1 for one in states)
