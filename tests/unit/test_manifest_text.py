# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the keys of a manifest mean."""

from typing import Any

import pytest

from pipeline.words.manifest import (
    Base,
    BaseKind,
    BuildSpec,
    BuildSystem,
    Component,
    Conflicts,
    KnownMessage,
    Limits,
    Manifest,
    OnFailed,
    Source,
    SourceKind,
    Trigger,
)
from pipeline.words.manifest_text import parse_manifest
from pipeline.words.refs import Part
from tests.manifests import SMALLEST, messages_of, parsed, with_component, with_keys

ID = "b07a249cd024414a82dd00cd181378ff"
URL = "https://example.org"


def component(**keys: Any) -> Component:
    return parsed(with_component(**keys)).components[-1]


def source(src: str, **keys: Any) -> Source:
    return component(src=src, **keys).source


def base(**keys: Any) -> Base:
    return parsed(with_keys(base=keys)).base


def test_the_smallest_manifest_has_a_default_for_everything_else() -> None:
    manifest = parsed(SMALLEST)
    assert manifest == Manifest(
        osname="myos",
        base=Base(
            name="debian",
            kind=BaseKind.DEBIAN,
            suite="bookworm",
            packages={"runtime": ("systemd",), "devel": ("gcc",)},
        ),
        components=(
            Component(
                name="zlib",
                source=Source(kind=SourceKind.GIT, location=f"{URL}/zlib.git", branch="master"),
                line=5,
            ),
        ),
        targets=manifest.targets,
    )
    (target,) = manifest.targets
    assert (target.name, target.components, target.subtrees) == (
        "runtime",
        ("zlib",),
        (Part.RUNTIME,),
    )


def of(kind: str, location: str, **more: Any) -> Source:
    return Source(kind=SourceKind(kind), location=location, **more)


SUM = "a" * 64
SOURCES: list[tuple[str, dict[str, Any], Source]] = [
    (f"git:{URL}/a.git", {}, of("git", f"{URL}/a.git", branch="master")),
    ("git:git@example.org:a.git", {"tag": "v1"}, of("git", "git@example.org:a.git", tag="v1")),
    ("git:./a", {"branch": "main"}, of("git", "/manifests/a", branch="main")),
    ("git:../a", {"revision": "1" * 40}, of("git", "/a", revision="1" * 40)),
    ("git:/srv/a", {"tag": "2" * 40}, of("git", "/srv/a", revision="2" * 40)),
    ("git:/srv/a", {"tag": f"v1-3-g{'2' * 40}"}, of("git", "/srv/a", tag=f"v1-3-g{'2' * 40}")),
    ("git:/a", {"revision": f"v1-3-g{'2' * 40}"}, of("git", "/a", revision="2" * 40)),
    ("local:../a", {}, of("local", "/a")),
    ("local:a", {}, of("local", "/manifests/a")),
    (
        f"tarball:{URL}/a.tar",
        {"checksum": SUM.upper()},
        of("tarball", f"{URL}/a.tar", checksum=SUM),
    ),
    ("zipfile:./a.zip", {"checksum": SUM}, of("zipfile", "/manifests/a.zip", checksum=SUM)),
    ("debian:zlib", {}, of("debian", "zlib")),
    ("debian:zlib=1:1.2-1", {}, of("debian", "zlib", versions=("1:1.2-1",))),
    ("debian:zlib", {"versions": ["1-1", "1-2"]}, of("debian", "zlib", versions=("1-1", "1-2"))),
]


@pytest.mark.parametrize(("src", "keys", "meant"), SOURCES)
def test_a_src_means_a_source(src: str, keys: dict[str, Any], meant: Source) -> None:
    assert source(src, **keys) == meant


@pytest.mark.parametrize(("src", "keys", "meant"), SOURCES)
def test_sources_says_the_same_as_src(src: str, keys: dict[str, Any], meant: Source) -> None:
    kind, _, location = src.partition(":")
    text = with_keys(components=[{"name": "a", "sources": {kind: location, **keys}}])
    assert parsed(text).components[0].source == meant


@pytest.mark.parametrize(
    ("src", "name"),
    [
        ("git:https://example.org/some/thing.git", "thing"),
        ("git:https://example.org/some/thing.git/", "thing"),
        ("git:git@example.org:thing.git", "thing"),
        ("local:../thing", "thing"),
        ("debian:thing=1-1", "thing"),
        ("p:thing", "thing"),
        ("p:some/thing.git", "some-thing"),
    ],
)
def test_a_component_is_named_after_its_source(src: str, name: str) -> None:
    text = with_keys(vcsconfig={"p": "git:https://example.org/"}, components=[{"src": src}])
    assert parsed(text).components[0].name == name


def test_a_prefix_is_put_in_place_of_what_it_stands_for() -> None:
    text = with_keys(vcsconfig={"p": f"git:{URL}/"}, components=[{"src": "p:a/b", "tag": "v1"}])
    wanted = Source(kind=SourceKind.GIT, location=f"{URL}/a/b", tag="v1")
    assert parsed(text).components[0].source == wanted


def test_every_key_of_a_component_arrives() -> None:
    one = parsed(
        with_keys(
            components=[
                {"src": f"git:{URL}/zlib.git"},
                {
                    "src": f"git:{URL}/one.git",
                    "config-opts": ["--x"],
                    "component": "minimal",
                    "groups": ["tracing"],
                    "depends": ["zlib", "zlib"],
                    "cflags": {"x86_64": "-O1"},
                    "setuid": ["/usr/bin/one"],
                    "requires": {"pkgconfig": ["zlib >= 1.2"]},
                    "architectures": ["x86_64"],
                    "noarch": True,
                    "bootstrap": True,
                    "rm-configure": True,
                    "initramfs-depends": True,
                    "irc_room": "#one",
                    "epoch": 3,
                    "tag": "v1",
                    "tag-reason": "newer ones do not build",
                    "patches-reasons": ["a", "b"],
                    "child-components": [{"src": f"git:{URL}/inner.git", "branch": "x"}],
                },
            ],
            config_opts=["--all"],
        )
    ).components[1]
    assert one.config_opts == ("--all", "--x")
    assert one.groups == ("minimal", "tracing")
    assert one.depends == ("zlib",)
    assert one.cflags == {"x86_64": "-O1"}
    assert one.setuid == ("/usr/bin/one",)
    assert one.requires_pkgconfig == ("zlib >= 1.2",)
    assert one.architectures == ("x86_64",)
    assert one.noarch and one.bootstrap and one.rm_configure and one.initramfs_depends
    assert (one.irc_room, one.epoch) == ("#one", 3)
    assert one.reasons == {"tag-reason": "newer ones do not build", "patches-reasons": "a; b"}
    assert one.children[0].name == "inner"
    assert one.children[0].source.branch == "x"


@pytest.mark.parametrize(
    ("build", "meant"),
    [
        ("meson", BuildSpec(system=BuildSystem.MESON)),
        ({"options": ["-Dx=y"]}, BuildSpec(options=("-Dx=y",))),
        ({"commands": ["make"]}, BuildSpec(system=BuildSystem.CUSTOM, commands=("make",))),
        (
            {"system": "make", "subdir": "src", "ccache": True, "environment": {"A": "1"}},
            BuildSpec(system=BuildSystem.MAKE, subdir="src", ccache=True, environment={"A": "1"}),
        ),
        (
            {"limits": {"time": "1h30m", "memory": "2G", "processes": 9, "output": "512MiB"}},
            BuildSpec(
                limits=Limits(time_s=5400, memory=2 * 1024**3, processes=9, output=512 * 1024**2)
            ),
        ),
    ],
)
def test_a_build_can_be_written_in_short_and_in_full(build: Any, meant: BuildSpec) -> None:
    assert component(build=build).build == meant


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ({"system": "custom"}, "a custom build needs commands"),
        ({"system": "make", "commands": ["x"]}, "commands stand beside the system make"),
        (
            {"commands": ["x"], "options": ["y"]},
            "options are for a build system, commands have their own",
        ),
    ],
)
def test_a_build_that_says_two_things_is_refused(build: Any, message: str) -> None:
    assert messages_of(with_component(build=build)) == [message]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"branch": "a", "tag": "b"}, "branch and tag are given"),
        ({"checksum": "a" * 64}, "a checksum is for tarball and zipfile alone"),
        ({"versions": ["1-1"]}, "versions are for debian alone"),
        ({"branch": "a..b"}, "'a..b' is no branch of git"),
        ({"src": "debian:zlib", "branch": "x"}, "branch is for git alone"),
        ({"src": "tarball:https://example.org/a.tar"}, "a tarball needs a checksum"),
        ({"sources": {"git": "https://example.org/a.git"}}, "src and sources say the same"),
        ({"name": "all"}, "the name 'all' has a meaning of its own"),
        ({"name": "../a"}, "'../a' cannot be a name"),
        ({"name": "-a"}, "'-a' cannot be a name"),
        ({"setuid": ["usr/bin/x"]}, "'usr/bin/x' is no absolute path"),
        ({"setuid": ["/usr/../bin"]}, "'/usr/../bin' is no normal path"),
        ({"cflags": {"x86": "-O2"}}, "unknown architecture 'x86'"),
        ({"epoch": -1}, "wants at least 0, this is -1"),
        ({"depends": ["zlob"]}, "there is no component 'zlob'"),
        ({"build": {"environment": {"A B": "x"}}}, "'A B' cannot be the name of a variable"),
    ],
)
def test_what_a_component_cannot_say_is_refused(keys: dict[str, Any], message: str) -> None:
    assert messages_of(with_component(**keys)) == [message]


def test_a_debian_base_has_lists_mirrors_and_variants() -> None:
    found = base(
        name="bw",
        debian={
            "suite": "bookworm",
            "packages": {"runtime": ["systemd", "systemd"], "tools": ["lib*", "gdb=1.2-1"]},
            "mirrors": ["http://deb.debian.org/debian", "deb http://x.org/d sid main"],
            "variant": {"tools": "exact"},
        },
        initramfs="dracut",
        remove=["/usr/share/doc"],
    )
    assert found == Base(
        name="bw",
        kind=BaseKind.DEBIAN,
        suite="bookworm",
        packages={"runtime": ("systemd",), "tools": ("lib*", "gdb=1.2-1")},
        mirrors=("http://deb.debian.org/debian", "deb http://x.org/d sid main"),
        variants={"tools": "exact"},
        initramfs="dracut",
        remove=("/usr/share/doc",),
    )


def test_a_tar_base_has_files_and_checksums() -> None:
    found = base(
        tar={"runtime": {"file": "a.tar"}, "devel": {"file": "/b.tar", "checksum": "A" * 64}}
    )
    assert found.kind is BaseKind.TAR
    assert found.files == {"runtime": "/manifests/a.tar", "devel": "/b.tar"}
    assert found.checksums == {"devel": "a" * 64}


def test_an_ostree_base_has_a_location_and_refs() -> None:
    found = base(ostree={"location": "./repo", "refs": {"runtime": "os/x86_64/base"}})
    assert found.kind is BaseKind.OSTREE
    assert (found.location, found.refs) == ("/manifests/repo", {"runtime": "os/x86_64/base"})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "a base needs one of debian, tar, ostree"),
        ({"src": "git:https://example.org/yocto"}, "only the original's base has src"),
        ({"tar": {"devel": {"file": "a"}}}, "the base has no 'runtime' list"),
        ({"tar": {"runtime": {}}}, "an archive needs a file, its path"),
        ({"tar": {"runtime": {"file": "http://x/a"}}}, "'http://x/a' is no path"),
        ({"tar": {"runtime": {"file": "--to-command=x"}}}, "'--to-command=x' is no path"),
        ({"ostree": {"refs": {"runtime": "x"}}}, "ostree needs a location"),
        (
            {"debian": {"suite": "bookworm", "packages": {"runtime": ["lib*"]}}},
            "'lib*' is a pattern, for lists of the variant exact alone",
        ),
        (
            {"debian": {"suite": "a", "packages": {"runtime": []}, "mirrors": ["--x"]}},
            "'--x' is no Debian mirror",
        ),
        ({"tar": {"runtime": {"file": "a"}}, "tag": "x"}, "tag is for a base with src alone"),
    ],
)
def test_what_a_base_cannot_say_is_refused(keys: dict[str, Any], message: str) -> None:
    assert messages_of(with_keys(base=keys)) == [message]


def test_the_other_keys_at_the_top_arrive() -> None:
    manifest = parsed(
        with_keys(
            repo=f"{URL}/repo",
            architectures=["x86_64", "aarch64", "x86_64"],
            patches={"src": "git:./patches", "subdir": "p", "tag": "v1"},
            on_failed="last-good",
            conflicts="fatal",
            unit="commit",
            build_epoch={"version": 2, "component-names": ["zlib"]},
            initramfs_build_epoch={"version": 4},
            installed_tests_xfail=["gjs/one.test"],
            triggers=[
                {"name": "b", "script": "true"},
                {"name": "a", "script": "x\ny\n", "deletes": ["/usr/x"]},
            ],
        )
    )
    assert manifest.repo == f"{URL}/repo"
    assert manifest.architectures == ("x86_64", "aarch64")
    assert manifest.patches == Source(kind=SourceKind.GIT, location="/manifests/patches", tag="v1")
    assert manifest.patches_subdir == "p"
    assert manifest.on_failed is OnFailed.LAST_GOOD
    assert manifest.conflicts is Conflicts.FATAL
    assert manifest.unit == "commit"
    assert (manifest.epoch, manifest.epoch_all, manifest.epoch_components) == (2, False, ("zlib",))
    assert manifest.initramfs_epoch == 4
    assert manifest.installed_tests_xfail == ("gjs/one.test",)
    assert manifest.triggers == (
        Trigger(name="a", script="x\ny\n", deletes=("/usr/x",)),
        Trigger(name="b", script="true"),
    )
    assert [tree for tree, _, _ in manifest.trees()] == ["x86_64-runtime", "aarch64-runtime"]


def test_tests_are_for_every_target_and_a_target_adds_its_own() -> None:
    manifest = parsed(
        with_keys(
            tests={
                "smoke": {
                    "required": {ID: "up"},
                    "known": [{"pattern": "a", "reason": "b"}],
                    "required-units": ["all.service", "each.service"],
                    "required-console": {"everywhere": "it is"},
                }
            },
            targets={
                "runtime": {},
                "other": {
                    "default-target": "graphical.target",
                    "tests": {
                        "smoke": {
                            "forbidden": {"0" * 32: "bad"},
                            "deadline": "5m",
                            "settle": "2s",
                            "required-units": ["sshd.service"],
                            "forbidden-units": ["all.service"],
                            "required-console": {"^hello": "a greeting"},
                            "forbidden-console": {"everywhere": "now here"},
                        }
                    },
                },
            },
        )
    )
    plain, other = (manifest.target(name).smoke for name in ("runtime", "other"))
    assert plain.required == other.required == {ID: "up"}
    assert (plain.forbidden, other.forbidden) == ({}, {"0" * 32: "bad"})
    assert (plain.deadline_s, other.deadline_s) == (90, 300)
    assert (plain.settle_s, other.settle_s) == (0, 2)
    assert plain.required_units == ("all.service", "each.service")
    # What a target forbids is not required of it any more.
    assert other.required_units == ("each.service", "sshd.service")
    assert other.forbidden_units == ("all.service",)
    assert (plain.required_console, plain.forbidden_console) == ({"everywhere": "it is"}, {})
    assert other.required_console == {"^hello": "a greeting"}
    assert other.forbidden_console == {"everywhere": "now here"}
    assert other.known == (KnownMessage(pattern="a", reason="b"),)
    assert manifest.target("other").default_unit == "graphical.target"


def test_installed_tests_become_a_component_at_the_end() -> None:
    text = with_keys(
        components=[
            {
                "src": f"git:{URL}/zlib.git",
                "build": {"system": "meson", "subdir": "src"},
                "depends": [],
                "setuid": ["/usr/bin/z"],
            },
            {"src": f"git:{URL}/one.git"},
        ],
        installed_tests_components=["zlib"],
    )
    manifest = parsed(text)
    zlib, _, tests = manifest.components
    assert zlib.installed_tests
    assert tests.name == "zlib-installed-tests"
    assert tests.generated_from == "zlib"
    assert tests.source == zlib.source
    assert tests.build == BuildSpec(system=BuildSystem.MESON, subdir="src/installed-tests")
    assert (tests.depends, tests.groups, tests.setuid) == (None, ("installed-tests",), ())
    assert not tests.installed_tests


def test_the_name_of_installed_tests_must_be_free() -> None:
    text = with_component(name="zlib-installed-tests")
    text = text.replace('"osname"', '"installed-tests-components": ["zlib"], "osname"')
    (message,) = messages_of(text)
    assert "has installed tests, to be named 'zlib-installed-tests', which is taken" in message


def test_the_originals_version_key_makes_unknown_keys_warnings() -> None:
    text = with_component(config_args=["x"]).replace(
        '"osname"', '"00ostbuild-manifest-version": 0, "osname"'
    )
    manifest, warnings = parse_manifest(text, "os.json", relative_to="/")
    assert [str(warning).split(": ", 1)[1] for warning in warnings] == [
        "unknown key 'config-args', did you mean 'config-opts'?"
    ]
    assert manifest.original_version == 0
    assert manifest.components[-1].config_opts == ()
    (problem,) = messages_of(with_component(config_args=["x"]))
    assert problem == "unknown key 'config-args'"


def test_another_version_of_the_original_is_refused() -> None:
    text = SMALLEST + "00ostbuild-manifest-version: 1\n"
    assert messages_of(text) == ["wants 0, this is a number"]
