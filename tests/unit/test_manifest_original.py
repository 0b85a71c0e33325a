# SPDX-License-Identifier: LGPL-2.1-or-later
"""gnome-continuous's own manifest, 379 components, is read as it is."""

import io
from pathlib import Path

import pytest

from pipeline.cli.manifest_commands import check
from pipeline.words.closure import closures
from pipeline.words.manifest import BaseKind, Manifest, SourceKind
from pipeline.words.manifest_text import parse_manifest
from pipeline.words.records import from_json, to_json
from pipeline.words.records import from_json as quick_from_json
from pipeline.words.refs import Part
from pipeline.words.targets import target_of

PATH = Path(__file__).resolve().parents[1] / "data" / "gnome-continuous-manifest.json"


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return parse_manifest(PATH.read_text(), "gc.json", relative_to="/")[0]


def test_its_one_unknown_key_is_a_warning_with_its_place() -> None:
    _, warnings = parse_manifest(PATH.read_text(), "gc.json", relative_to="/")
    assert [str(warning) for warning in warnings] == [
        "gc.json:749:4: unknown key 'config-args', did you mean 'config-opts'?"
    ]


def test_the_same_key_is_an_error_in_a_manifest_of_ours() -> None:
    text = PATH.read_text().replace('"00ostbuild-manifest-version": 0,', "")
    with pytest.raises(Exception, match=r"gc\.json:749:4: unknown key 'config-args'"):
        parse_manifest(text, "gc.json", relative_to="/")


def test_all_of_its_components_are_there(manifest: Manifest) -> None:
    assert len(manifest.components) == 379
    assert sum(len(one.children) for one in manifest.components) == 1
    names = [one.name for one in manifest.components]
    assert {"xorg-font-util", "xcb-util", "kmod", "gnome-music"} <= set(names)
    assert len(set(names)) == 379
    assert manifest.original_version == 0
    assert closures(manifest, "x86_64").order == tuple(range(379))


def test_its_keys_mean_what_they_meant(manifest: Manifest) -> None:
    kernel = manifest.components[0]
    assert kernel.source.location == "git://git.gnome.org/gnome-continuous-kernel"
    assert kernel.source.branch == "master"
    assert kernel.groups == ("minimal",)
    assert len(kernel.children) == 1
    assert manifest.base.kind is BaseKind.YOCTO
    assert manifest.base.source is not None
    assert manifest.base.source.branch == "gnomeostree-3.14-dizzy"
    assert manifest.patches_subdir == "patches"
    assert (manifest.epoch, manifest.epoch_components) == (107, ("m4-common", "gnome-sudoku"))
    archives = [one for one in manifest.components if one.source.checksum]
    assert len(archives) == 19
    assert {one.source.kind for one in archives} == {SourceKind.TARBALL, SourceKind.ZIPFILE}
    assert all(len(one.source.checksum) == 64 for one in archives)
    setuid = {one.name: one.setuid for one in manifest.components if one.setuid}
    assert all(path.startswith("/usr/") for paths in setuid.values() for path in paths), setuid
    assert manifest.component("gnome-maps").config_opts == (
        "--disable-static",
        "--disable-silent-rules",
    )


def test_it_has_the_targets_that_the_original_composed(manifest: Manifest) -> None:
    found = {one.name: one for one in manifest.targets}
    assert list(found) == ["runtime", "hwtest", "devel-debug", "installed-tests"]
    runtime, hwtest, devel, tests = found.values()
    assert (len(runtime.components), len(devel.components), len(tests.components)) == (
        336,
        376,
        337,
    )
    bootstrap = {one.name for one in manifest.components if one.bootstrap}
    assert len(bootstrap) == 2
    assert not bootstrap & set(devel.components)
    assert runtime.subtrees == (Part.RUNTIME,)
    assert devel.subtrees == tuple(Part)
    assert devel.packages == ("runtime", "devel")
    assert tests.subtrees == (Part.RUNTIME, Part.TESTS)
    assert hwtest.default_unit == "gnome-hwtest.target"
    assert hwtest.disk_size == 4 * 1024**3
    assert runtime.default_unit == "graphical.target"
    assert len(target_of(manifest, "runtime+@devel").components) == 376


def test_it_survives_being_written_and_read_as_a_record(manifest: Manifest) -> None:
    text = to_json(manifest)
    assert from_json(Manifest, text) == manifest
    assert quick_from_json(Manifest, text) == manifest


def test_ostci_check_says_it_is_good() -> None:
    out = io.StringIO()
    assert check(PATH, as_json=False, out=out) == 0
    warning, good, *rest = out.getvalue().splitlines()
    assert warning.startswith("warning: ")
    assert warning.endswith("749:4: unknown key 'config-args', did you mean 'config-opts'?")
    assert good == f"{PATH}: good"
    assert "  379 components (1 within others)" in rest
