# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trees of real commits: what is in them, what is refused, what is remembered."""

import json
import pickle
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports.log import ListSink, Log
from pipeline.ports.ostree import Repo
from pipeline.stages.compose import SNAPSHOT_PATH
from pipeline.words.errors import Failed, Trouble
from pipeline.words.manifest import Conflicts, Trigger
from pipeline.words.refs import Part, buildmaster_ref, compose_ref
from tests.layers import World

REF = compose_ref("os", "x86_64-runtime")
TOP = Path(__file__).resolve().parents[2]


@pytest.fixture
def world(repo: Repo, tmp_path: Path, log: Log) -> World:
    made = World(repo=repo, room=tmp_path / "room", log=log)
    made.set_base({"/usr/bin/base": "of the base", "/usr/share/common": "base"})
    return made


def test_a_tree_is_the_base_and_the_components_in_the_order_of_the_manifest(world: World) -> None:
    world.add("one", {"/usr/bin/one": "1", "/usr/share/common": "one"})
    world.add("two", {"/usr/bin/two": "2", "/usr/share/common": "two"})
    tree = world.compose()
    assert {"/usr/bin/base", "/usr/bin/one", "/usr/bin/two"} < world.paths(tree)
    assert world.read(tree, "/usr/share/common") == "two"
    assert world.repo.resolve(REF) == tree.commit
    world.repo.fsck()


def test_it_is_what_the_program_makes_of_the_same_layers(world: World, tmp_path: Path) -> None:
    for n in range(30):
        world.add(f"c{n}", {f"/usr/bin/c{n}": f"{n}", f"/usr/lib/d{n % 4}/{n}": "x", f"/c{n}": "t"})
    tree = world.compose()
    world.repo.run("checkout", "--user-mode", str(world.base), str(tmp_path / "t"))
    for parts in world.parts.values():
        world.repo.checkout(parts[Part.RUNTIME], tmp_path / "t", union=True)
    (tmp_path / "t/usr/share/ostci").mkdir()
    (tmp_path / "t/usr/share/ostci/snapshot.json").write_text(world.read(tree, SNAPSHOT_PATH))
    other = world.repo.commit_dir(tmp_path / "t", subject="loop")
    assert world.repo.info(other).content == tree.content


def test_only_the_parts_of_the_target_are_in_it(world: World) -> None:
    world.add("one", {"/usr/bin/one": "1"})
    world.add("one", {"/usr/include/one.h": "1"}, part=Part.DEVEL)
    assert "/usr/include/one.h" not in world.paths(world.compose())
    world.target = replace(world.target, subtrees=(Part.RUNTIME, Part.DEVEL))
    assert "/usr/include/one.h" in world.paths(world.compose())


def test_bootstrap_components_are_left_out(world: World) -> None:
    world.add("tool", {"/usr/bin/tool": "t"}, bootstrap=True)
    assert "/usr/bin/tool" not in world.paths(world.compose())


def test_a_component_that_was_not_built_is_named(world: World) -> None:
    world.add("one", {"/usr/bin/one": "1"})
    del world.parts["one"]
    with pytest.raises(Trouble, match="nothing was built of one"):
        world.compose()


def test_what_a_component_no_longer_installs_is_gone(world: World) -> None:
    world.add("one", {"/usr/bin/one": "1", "/usr/share/one/old": "1"})
    assert "/usr/share/one/old" in world.paths(world.compose())
    world.add("one", {"/usr/bin/one": "1"})
    tree = world.compose()
    assert not {path for path in world.paths(tree) if path.startswith("/usr/share/one")}


def test_what_leaves_the_target_leaves_the_tree(world: World) -> None:
    world.add("one", {"/usr/bin/one": "1"})
    world.add("two", {"/usr/share/common": "two"})
    assert world.read(world.compose(), "/usr/share/common") == "two"
    tree = world.compose("one")
    assert world.read(tree, "/usr/share/common") == "base"
    assert "two" not in json.loads(world.repo.info(tree.commit).metadata["ostci.components"])


def test_a_component_does_not_change_the_modes_of_directories_that_are_there(world: World) -> None:
    commit = world.commit({"/usr/bin/one": "1", "/usr/own/file": "1", "/var/x": "1"})
    top = next(path for path in sorted(world.room.iterdir()) if (path / "usr/own").exists())
    for path, mode in (("", 0o700), ("usr", 0o700), ("var", 0o700), ("usr/own", 0o750)):
        (top / path).chmod(mode)
    changed = world.repo.commit_dir(top, subject="modes")
    assert changed != commit
    world.add("one", {})
    world.parts["one"][Part.RUNTIME] = changed
    tree = world.compose()
    assert world.mode(tree, "/usr") == world.mode(tree, "/var") == 0o755
    assert world.mode(tree, "/usr/own") == 0o750
    root = world.repo.info(tree.commit).dirmeta
    assert world.repo.dir_mode(root)[2] & 0o777 == 0o755


# What is said of a tree


def test_the_commit_says_what_it_is_and_may_be_promoted(world: World) -> None:
    world.add("one", {"/usr/bin/one": "1"})
    request = world.request()
    tree = world.compose(run=request.run, snapshot=request.snapshot)
    info = world.repo.info(tree.commit)
    assert info.metadata["version"] == request.run == tree.version
    assert info.metadata["ostci.snapshot"] == request.snapshot.digest == tree.snapshot
    revisions = json.loads(info.metadata["ostci.components"])
    assert revisions == {"one": request.snapshot.pins["one"].revision}
    assert set(info.bindings) == {REF, buildmaster_ref("os", "x86_64-runtime")}


def test_what_is_not_promotable_is_bound_to_its_compose_ref_alone(world: World) -> None:
    tree = world.compose(promotable=False)
    assert world.repo.info(tree.commit).bindings == (REF,)
    assert not world.compose().unchanged, "now it is"


def test_a_commit_follows_the_one_before_in_time_too(world: World) -> None:
    world.add("one", {"/usr/bin/one": "1"})
    first = world.compose()
    world.add("one", {"/usr/bin/one": "2"})
    second = world.compose()
    old, new = world.repo.info(first.commit), world.repo.info(second.commit)
    assert new.parent == first.commit
    assert new.time > old.time
    assert "one:" in new.body


def test_an_equal_snapshot_is_not_committed_again(world: World) -> None:
    world.add("one", {"/usr/bin/one": "1"})
    first = world.compose()
    again = world.compose()
    assert again.unchanged
    assert (again.commit, again.version) == (first.commit, first.version)


def test_equal_snapshots_give_equal_trees_when_nothing_is_remembered(world: World) -> None:
    world.add("one", {"/usr/bin/one": "1"})
    first = world.compose()
    shutil.rmtree(world.room / "cache")
    world.repo.set_ref(REF, None)
    second = world.compose()
    assert second.content == first.content
    assert second.commit != first.commit, "version and time are in the metadata alone"


def test_the_snapshot_is_in_the_tree(world: World) -> None:
    world.add("one", {"/usr/bin/one": "1"})
    tree = world.compose()
    text = world.read(tree, SNAPSHOT_PATH)
    assert json.loads(text)["pins"]["one"]["revision"] == world.snapshot().pins["one"].revision
    assert tree.version not in text


def test_the_machine_id_stays_empty(world: World) -> None:
    world.add("one", {"/usr/etc/machine-id": "0123456789abcdef0123456789abcdef\n"})
    assert world.read(world.compose(), "/usr/etc/machine-id") == ""


# Conflicts


def test_conflicts_of_content_are_told_and_the_later_component_wins(
    world: World, sink: ListSink
) -> None:
    world.add("one", {"/usr/bin/tool": "1", "/usr/share/same": "s"})
    world.add("two", {"/usr/bin/tool": "2", "/usr/share/same": "s"})
    tree = world.compose()
    assert tree.conflicts == ("/usr/bin/tool: one and two differ",)
    assert any("/usr/bin/tool: one and two differ" in text for text in sink.texts())
    assert world.read(tree, "/usr/bin/tool") == "2"


def test_conflicts_of_content_fail_where_the_manifest_says_so(world: World) -> None:
    world.given["conflicts"] = Conflicts.FATAL
    world.add("one", {"/usr/bin/tool": "1"})
    world.add("two", {"/usr/bin/tool": "2"})
    with pytest.raises(Failed, match="/usr/bin/tool: one and two differ"):
        world.compose()
    assert world.repo.resolve(REF) is None


def test_replacing_a_file_of_the_base_is_no_conflict(world: World) -> None:
    world.given["conflicts"] = Conflicts.FATAL
    world.add("one", {"/usr/bin/base": "of one"})
    tree = world.compose()
    assert world.read(tree, "/usr/bin/base") == "of one"
    assert tree.conflicts == ()


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"/usr/x": "f"}, {"/usr/x/y": "f"}, "/usr/x: a file of one, a directory of two"),
        ({"/usr/x/y": "f"}, {"/usr/x": "f"}, "/usr/x: a directory of one, a file of two"),
        (
            {"/usr/x": "-> bin"},
            {"/usr/x/y": "f"},
            "/usr/x: a symbolic link of one, a directory of two",
        ),
        ({"/usr/x": "-> bin"}, {"/usr/x": "f"}, "/usr/x: a symbolic link of one, a file of two"),
    ],
)
def test_conflicts_of_kind_always_fail_with_both_owners(
    world: World, first: dict[str, str], second: dict[str, str], said: str
) -> None:
    world.add("one", first)
    world.add("between", {"/usr/bin/between": "b"})
    world.add("two", second)
    with pytest.raises(Failed) as caught:
        world.compose()
    assert said in str(caught.value)
    assert world.repo.resolve(REF) is None


def test_a_directory_over_a_link_of_the_base_fails_with_the_component(world: World) -> None:
    world.set_base({"/usr/lib/x": "x", "/lib": "-> usr/lib"})
    world.add("innocent", {"/usr/lib/y": "y"})
    world.add("guilty", {"/lib/z": "z"})
    with pytest.raises(Failed) as caught:
        world.compose()
    assert "/lib: a symbolic link of the base, a directory of guilty" in str(caught.value)
    assert "innocent" not in str(caught.value)


def test_owners_are_the_neighbours_whatever_the_shape(world: World) -> None:
    for n in range(12):
        world.add(f"c{n:02}", {"/usr/share/one-for-all": f"{n}", f"/usr/share/{n}": ""})
    pairs = {f"/usr/share/one-for-all: c{n:02} and c{n + 1:02} differ" for n in range(11)}
    assert set(world.compose().conflicts) == pairs


# Triggers


def shelled(world: World, **scripts: str) -> World:
    world.set_base({"/usr/bin/base": "b", "/usr/share/data/a": "a", "/usr/sbin": None}, shell=True)
    own = (Trigger(name=name, script=script) for name, script in scripts.items())
    world.given["triggers"] = tuple(own)
    return world


def _started(sink: ListSink) -> list[str]:
    return [line.about for line in sink.lines if line.began and line.text == "trigger"]


READS = "# reads: /usr/share/data\n"


def test_what_a_trigger_writes_is_in_the_tree_and_in_nothing_else(world: World) -> None:
    shelled(world, list=READS + "ls /usr/share/data > /usr/share/list\necho x > /etc/made\n")
    world.add("one", {"/usr/share/data/b": "b"})
    tree = world.compose()
    assert world.read(tree, "/usr/share/list") == "a\nb\n"
    assert world.read(tree, "/usr/etc/made") == "x\n"
    world.repo.fsck()
    assert not list((world.room / "tmp").iterdir())


def test_a_trigger_that_writes_into_a_file_changes_the_tree_and_not_the_repository(
    world: World,
) -> None:
    shelled(world, append="# reads: /usr/share/data\necho more >> /usr/share/data/a\n")
    assert world.read(world.compose(), "/usr/share/data/a") == "amore\n"
    world.repo.fsck()
    assert world.base is not None
    assert world.repo.read(world.base, "/usr/share/data/a") == b"a"


def test_a_trigger_is_not_run_again_for_what_it_does_not_read(world: World, sink: ListSink) -> None:
    shelled(world, list=READS + "ls /usr/share/data > /usr/share/list\n")
    world.add("one", {"/usr/share/data/b": "b", "/usr/share/other": "1"})
    world.compose()
    assert _started(sink) == ["list"]
    sink.lines.clear()
    world.add("one", {"/usr/share/data/b": "b", "/usr/share/other": "2"})
    tree = world.compose()
    assert world.read(tree, "/usr/share/list") == "a\nb\n"
    assert not _started(sink)
    assert not any("ostree checkout" in text for text in sink.texts())
    world.add("one", {"/usr/share/data/c": "c", "/usr/share/other": "2"})
    assert world.read(world.compose(), "/usr/share/list") == "a\nc\n"


def test_a_trigger_that_does_not_say_what_it_reads_runs_for_every_tree(world: World) -> None:
    shelled(world, count="ls /usr/share | wc -l > /usr/lib/count\n")
    world.add("one", {"/usr/share/b": "b"})
    first = world.read(world.compose(), "/usr/lib/count")
    world.add("one", {"/usr/share/b": "b", "/usr/share/c": "c"})
    assert int(world.read(world.compose(), "/usr/lib/count")) == int(first) + 1


def test_triggers_see_what_those_before_them_wrote(world: World) -> None:
    shelled(world, a="echo 1 > /usr/share/first\n", b="cat /usr/share/first > /usr/share/second\n")
    assert world.read(world.compose(), "/usr/share/second") == "1\n"


def test_a_trigger_that_fails_is_named_with_what_it_said(world: World) -> None:
    shelled(world, bad="echo it is broken >&2\nfalse\necho not reached > /usr/share/x\n")
    with pytest.raises(Failed, match=r"trigger bad ended with exit code 1.*it is broken"):
        world.compose()
    assert world.repo.resolve(REF) is None


def test_a_trigger_has_no_network(world: World) -> None:
    shelled(world, net="ip link | grep -v lo > /usr/share/net || true\n")
    assert "eth" not in world.read(world.compose(), "/usr/share/net")


@pytest.mark.parametrize("how", ["rm /usr/share/data/a", "rm -r /usr/share/data"])
def test_a_trigger_that_deletes_without_saying_so_fails(world: World, how: str) -> None:
    shelled(world, clean=f"{how}\n")
    with pytest.raises(Failed, match=r"trigger clean removes /usr/share/data.* not declare"):
        world.compose()


@pytest.mark.parametrize(
    "how",
    [
        "rm /usr/share/data/a",
        "rm -r /usr/share/data",
        "rm -r /usr/share/data; mkdir /usr/share/data; echo n > /usr/share/data/new",
        "rm -r /usr/share/data; echo n > /usr/share/data",
    ],
)
def test_a_trigger_that_says_so_deletes(world: World, how: str) -> None:
    shelled(world)
    world.given["triggers"] = (
        Trigger(name="clean", script=how + "\n", deletes=("/usr/share/data",)),
    )
    tree = world.compose()
    assert "/usr/share/data/a" not in world.paths(tree)
    assert ("/usr/share/data/new" in world.paths(tree)) == ("mkdir" in how)
    world.repo.fsck()


def test_house_triggers_do_nothing_in_a_tree_without_their_tools(
    world: World, sink: ListSink
) -> None:
    shelled(world)
    world.compose()
    assert not _started(sink)


def test_libraries_of_components_are_in_the_cache_of_libraries(world: World) -> None:
    tool = Path("/usr/sbin/ldconfig")
    library = next(Path("/usr/lib").glob("*-linux-gnu/libz.so.1.*"))
    shelled(world)
    world.set_base({"/usr/sbin/ldconfig": tool.read_bytes()}, shell=True)
    top = world.room / f"base-{world.run}"
    (top / "usr/sbin/ldconfig").chmod(0o755)
    world.base = world.repo.commit_dir(top, subject="base")
    link = "-> libz.so.1.9"
    world.add("zlib", {"/usr/lib/libz.so.1.9": library.read_bytes(), "/usr/lib/libz.so.1": link})
    tree = world.compose()
    assert b"libz.so.1" in world.repo.read(tree.commit, "/usr/etc/ld.so.cache")
    shutil.rmtree(world.room / "cache")
    world.repo.set_ref(REF, None)
    assert world.compose().content == tree.content, "not the same bytes when made again"


def test_units_of_components_are_enabled_by_preset_and_no_others(world: World) -> None:
    shelled(world)
    fake = (
        "#!/usr/bin/sh\nfor unit; do :; done\nmkdir -p /etc/systemd/system/m.wants\n"
        'ln -s "/usr/lib/systemd/system/$unit" /etc/systemd/system/m.wants/\n'
    )
    unit = "[Service]\nExecStart=/bin/x\n[Install]\nWantedBy=m\n"
    units = "/usr/lib/systemd/system"
    world.set_base({"/usr/bin/systemctl": fake, f"{units}/old.service": unit}, shell=True)
    world.add(
        "daemon",
        {
            f"{units}/new.service": unit,
            f"{units}/template@.service": unit,
            f"{units}/alias.service": "-> new.service",
            f"{units}/static.service": "[Service]\nExecStart=/bin/x\n",
            f"{units}/debug-shell.service": unit,
        },
    )
    wants = "/usr/etc/systemd/system/m.wants"
    tree = world.compose()
    assert {path for path in world.paths(tree) if wants in path} == {f"{wants}/new.service"}
    world.add("daemon", {"/usr/bin/daemon": "d"})
    assert not {path for path in world.paths(world.compose()) if wants in path}


# What is remembered


def test_a_prune_does_not_harm_what_is_remembered(world: World) -> None:
    shelled(world, list=READS + "ls /usr/share/data > /usr/share/list\n")
    for n in range(8):
        world.add(f"c{n}", {f"/usr/share/data/{n}": f"{n}"})
    world.compose()
    world.repo.prune()
    world.add("c3", {"/usr/share/data/3": "changed"})
    tree = world.compose()
    assert world.read(tree, "/usr/share/data/3") == "changed"
    world.repo.fsck()


def test_a_memory_of_objects_that_are_gone_is_forgotten(world: World) -> None:
    world.add("one", {"/usr/share/x/1": "1"})
    world.add("two", {"/usr/share/x/2": "2"})
    first = world.compose()
    path = world.repo.find(first.commit, SNAPSHOT_PATH)
    assert path is not None
    world.repo.set_ref(REF, None)
    world.repo.prune()
    (world.room / "cache/compose.sqlite").write_bytes(b"not a database at all" * 100)
    assert world.compose().content == first.content
    world.repo.fsck()


def test_an_object_that_nobody_has_is_trouble(world: World) -> None:
    commit = world.add("one", {"/usr/share/x/1": "1"})
    checksum = world.repo.find(commit, "/usr/share/x/1")
    assert checksum is not None
    (world.repo.path / "objects" / checksum[:2] / f"{checksum[2:]}.file").unlink()
    with pytest.raises(Trouble, match=f"file object {checksum}.* is missing or damaged"):
        world.compose()
    assert world.repo.resolve(REF) is None


# Kernel and initramfs

KERNEL = {
    "/usr/lib/modules/1.0/vmlinuz": "kernel 1",
    "/usr/lib/modules/1.0/modules.dep": "kernel/virtio_blk.ko:\n",
    "/usr/lib/modules/1.0/modules.builtin": "",
    "/usr/lib/modules/1.0/kernel/virtio_blk.ko": "module 1",
    "/usr/lib/modules/1.0/initramfs.img": "of the base",
    "/usr/lib/ostree/ostree-prepare-root": "#!/bin/sh\n",
}
IMAGE = "/usr/lib/modules/1.0/initramfs.img"


def bootable(world: World) -> World:
    world.set_base(KERNEL, shell=True)
    world.initramfs = "minimal"
    return world


def _images(sink: ListSink) -> list[str]:
    return [line.about for line in sink.lines if line.began and line.text == "initramfs"]


def test_the_initramfs_of_the_base_stays_where_nothing_of_it_changes(world: World) -> None:
    bootable(world).add("one", {"/usr/bin/one": "1"})
    assert world.read(world.compose(), IMAGE) == "of the base"


def test_an_initramfs_is_made_anew_with_its_components_and_only_then(
    world: World, sink: ListSink
) -> None:
    bootable(world).add("prepare", {"/usr/lib/ostree/x": "1"}, initramfs_depends=True)
    tree = world.compose()
    image = world.repo.read(tree.commit, IMAGE)
    assert b"module 1" in image
    world.add("one", {"/usr/bin/one": "1"})
    assert world.repo.read(world.compose().commit, IMAGE) == image
    assert _images(sink) == ["1.0"]
    world.add("prepare", {"/usr/lib/ostree/x": "2"}, initramfs_depends=True)
    world.compose()
    world.given["initramfs_epoch"] = 1
    world.compose()
    assert _images(sink) == ["1.0"] * 3


def test_the_kernel_of_a_component_takes_the_place_of_the_bases(world: World) -> None:
    files = {path.replace("1.0", "2.0"): text.replace("1", "2") for path, text in KERNEL.items()}
    del files["/usr/lib/modules/2.0/initramfs.img"]
    bootable(world).add("linux", files)
    tree = world.compose()
    assert not {path for path in world.paths(tree) if path.startswith("/usr/lib/modules/1.0")}
    assert b"module 2" in world.repo.read(tree.commit, "/usr/lib/modules/2.0/initramfs.img")


def test_two_kernels_are_refused_by_name(world: World) -> None:
    world.add("one", {"/usr/lib/modules/3.0/vmlinuz": "3"})
    world.add("two", {"/usr/lib/modules/4.0/vmlinuz": "4"})
    with pytest.raises(Failed, match=r"components bring 2 kernels, 3.0, 4.0; a tree has one"):
        world.compose()


# Killed at any instant

KILLED = """
import sys, pickle
from pathlib import Path
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.stages.compose import compose
request = pickle.loads(Path(sys.argv[1]).read_bytes())
room = Path(sys.argv[2])
print("go", flush=True)
repo = Repo(room / "../repo", log=Log())
compose(request, repo=repo, cache=room / "cache", tmp=room / "tmp", log=Log())
"""


def test_a_killed_compose_leaves_the_ref_on_a_whole_tree(world: World) -> None:
    for n in range(20):
        world.add(f"c{n}", {f"/usr/share/d{n % 5}/{n}": f"{n}"})
    first = world.compose()
    given = world.room / "request"
    for delay_s in (0.0, 0.01, 0.03, 0.06, 0.1, 0.2):
        world.add("c3", {"/usr/share/d3/3": f"after {delay_s}"})
        given.write_bytes(pickle.dumps(world.request()))
        argv = [sys.executable, "-c", KILLED, str(given), str(world.room)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=TOP) as child:
            assert child.stdout is not None
            child.stdout.readline()
            with suppress(subprocess.TimeoutExpired):
                child.wait(delay_s)
            child.kill()
        head = world.repo.resolve(REF)
        assert head is not None
        world.repo.fsck()
    assert world.repo.resolve(REF) is not None
    tree = world.compose()
    assert world.read(tree, "/usr/share/d3/3") == "after 0.2"
    assert first.commit in [info.commit for info in world.repo.history(REF)]
    world.repo.fsck()
