# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bases of every kind become commits in OSTree's layout, once, and are known by their inputs."""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports.files import sha256_file
from pipeline.ports.log import Log
from pipeline.ports.mmdebstrap import Moved
from pipeline.ports.ostree import Mode, Repo
from pipeline.stages.base import BaseRequest, BaseResult, have_base, import_base, resolve_base
from pipeline.words.errors import BadInput, Failed, Trouble
from pipeline.words.manifest import Base, BaseKind
from pipeline.words.snapshot import BasePin
from tests.debs import make_archive
from tests.machines import BOTH, import_sample, sample

RUNTIME = (("runtime",),)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Bases of these tests are not kept for others; the samples' own are."""
    if "sample" not in request.node.name:
        monkeypatch.setenv("OSTCI_CACHE", "")


class Importer:
    """The base stage on one repository."""

    def __init__(self, repo: Repo, cache: Path, log: Log) -> None:
        self.repo, self.cache, self.log = repo, cache, log

    def request(self, base: Base, variants: tuple[tuple[str, ...], ...]) -> BaseRequest:
        return BaseRequest(base=base, osname="os", arch="x86_64", variants=variants)

    def pin(self, base: Base, variants: tuple[tuple[str, ...], ...] = RUNTIME) -> BasePin:
        request = self.request(base, variants)
        return resolve_base(request, cache=self.cache, log=self.log, max_age_s=0)

    def go(self, base: Base, variants: tuple[tuple[str, ...], ...] = RUNTIME) -> BaseResult:
        pin = self.pin(base, variants)
        request = self.request(base, variants)
        return import_base(request, pin, repo=self.repo, cache=self.cache, log=self.log)


@pytest.fixture
def importer(repo: Repo, tmp_path: Path, log: Log) -> Importer:
    return Importer(repo, tmp_path / "cache", log)


def make_tar(path: Path, files: Mapping[str, str], *more: tarfile.TarInfo) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()), 0o644
            archive.addfile(info, io.BytesIO(text.encode()))
        for info in more:
            archive.addfile(info)
    return path


def tar_base(**archives: Path) -> Base:
    files = {name: str(path) for name, path in archives.items()}
    return Base(name="rootfs", kind=BaseKind.TAR, files=files, initramfs="none")


def paths(importer: Importer, result: BaseResult, variant: str = "runtime") -> dict[str, str]:
    return dict(importer.repo.walk(result.variants[variant]))


# Archives


def test_an_archive_becomes_a_tree_in_the_layout(importer: Importer, tmp_path: Path) -> None:
    files = {"etc/passwd": "root\n", "./bin/sh": "sh", "usr/lib/x": "x", "var/lib/it/state": "s"}
    result = importer.go(tar_base(runtime=make_tar(tmp_path / "a.tar", files)))
    found = paths(importer, result)
    assert {"/usr/etc/passwd", "/usr/bin/sh", "/usr/lib/x", "/bin", "/ostree"} <= found.keys()
    assert "/etc/" not in found
    assert "/usr/share/factory/var/lib/it/state" in found
    commit = result.variants["runtime"]
    lines = importer.repo.read(commit, "/usr/lib/tmpfiles.d/ostci-base.conf").decode()
    assert "C /var/lib/it/state 0644 0 0 -" in lines
    importer.repo.fsck()


def test_lists_of_archives_are_put_over_one_another(importer: Importer, tmp_path: Path) -> None:
    one = make_tar(tmp_path / "a.tar", {"usr/bin/a": "1", "usr/share/both": "runtime"})
    two = make_tar(tmp_path / "b.tar", {"usr/include/b.h": "2", "usr/share/both": "devel"})
    result = importer.go(tar_base(runtime=one, devel=two), BOTH)
    assert result.variants.keys() == {"runtime", "runtime+devel"}
    assert "/usr/include/b.h" not in paths(importer, result)
    both = result.variants["runtime+devel"]
    assert importer.repo.read(both, "/usr/share/both") == b"devel"


def test_importing_again_makes_nothing(importer: Importer, tmp_path: Path) -> None:
    base = tar_base(runtime=make_tar(tmp_path / "a.tar", {"usr/x": "x"}))
    first, again = importer.go(base), importer.go(base)
    assert (first.cached, again.cached) == (False, True)
    assert first.variants == again.variants


def test_equal_archives_give_equal_commits_elsewhere(
    importer: Importer, tmp_path: Path, log: Log
) -> None:
    base = tar_base(runtime=make_tar(tmp_path / "a.tar", {"usr/x": "x"}))
    other = Importer(Repo(tmp_path / "r2", log=log).create(Mode.BARE_USER), tmp_path / "c2", log)
    assert importer.go(base).variants == other.go(base).variants


def test_the_key_changes_with_what_goes_in(importer: Importer, tmp_path: Path) -> None:
    base = tar_base(runtime=make_tar(tmp_path / "a.tar", {"usr/x": "x"}))
    keys = {importer.pin(base).key, importer.pin(replace(base, remove=("/usr/y",))).key}
    keys.add(importer.pin(replace(base, initramfs="minimal")).key)
    make_tar(tmp_path / "a.tar", {"usr/x": "y"})
    keys.add(importer.pin(base).key)
    assert len(keys) == 4


def test_what_is_to_be_removed_is_not_there(importer: Importer, tmp_path: Path) -> None:
    files = {"usr/share/doc/a/b": "b", "usr/share/docs": "kept"}
    base = tar_base(runtime=make_tar(tmp_path / "a.tar", files))
    found = paths(importer, importer.go(replace(base, remove=("/usr/share/doc",))))
    assert "/usr/share/docs" in found
    assert not [path for path in found if path.startswith("/usr/share/doc/")]


def test_a_wrong_checksum_is_told(importer: Importer, tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {"usr/x": "x"})
    base = replace(tar_base(runtime=path), checksums={"runtime": "0" * 64})
    with pytest.raises(Failed, match=r"a\.tar: has the wrong checksum: [0-9a-f]{64} instead of 0"):
        importer.pin(base)
    importer.pin(replace(base, checksums={"runtime": sha256_file(path)}))


def test_a_damaged_archive_is_told_and_nothing_is_committed(
    importer: Importer, tmp_path: Path
) -> None:
    path = make_tar(tmp_path / "a.tar", {"usr/x": "x" * 100_000})
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(Failed, match=r"a\.tar: damaged: "):
        importer.go(tar_base(runtime=path))
    assert importer.repo.refs() == {}


def test_what_is_no_archive_is_told(importer: Importer, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"text" * 1000)
    with pytest.raises(Failed, match=r"a\.tar: damaged: "):
        importer.go(tar_base(runtime=path))


def test_a_path_that_leads_out_is_refused(importer: Importer, tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {"usr/../../etc/passwd": "x"})
    with pytest.raises(Failed, match="has a path that leads out of it"):
        importer.go(tar_base(runtime=path))


def test_a_missing_archive_is_told(importer: Importer, tmp_path: Path) -> None:
    with pytest.raises(Failed, match="there is no such archive"):
        importer.pin(tar_base(runtime=tmp_path / "no.tar"))


def test_a_list_that_is_not_there_is_told(importer: Importer, tmp_path: Path) -> None:
    base = tar_base(runtime=make_tar(tmp_path / "a.tar", {"usr/x": "x"}))
    with pytest.raises(BadInput, match="the base has no archive 'devel'") as bad:
        importer.pin(base, BOTH)
    assert bad.value.hint == "there are runtime"


# Another repository


def other_repository(tmp_path: Path, log: Log) -> Repo:
    other = Repo(tmp_path / "other", log=log).create(Mode.ARCHIVE)
    root = tmp_path / "other-root"
    (root / "usr").mkdir(parents=True)
    (root / "usr/x").write_text("x")
    argv = ["ostree", "commit", f"--repo={other.path}", "--branch=their/tree", f"--tree=dir={root}"]
    subprocess.run(argv, check=True, capture_output=True)
    return other


def ostree_base(location: str, ref: str = "their/tree") -> Base:
    refs = {"runtime": ref}
    return Base(name="theirs", kind=BaseKind.OSTREE, location=location, refs=refs, initramfs="none")


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_tree_of_another_repository_is_taken_as_it_is(
    importer: Importer, tmp_path: Path, log: Log, scheme: str
) -> None:
    other = other_repository(tmp_path, log)
    result = importer.go(ostree_base(f"{scheme}{other.path}"))
    commit = result.variants["runtime"]
    assert importer.repo.read(commit, "/usr/x") == b"x"
    assert importer.repo.info(commit).content == other.info(other.need("their/tree")).content


def test_a_ref_that_is_not_there_is_told(importer: Importer, tmp_path: Path, log: Log) -> None:
    other = other_repository(tmp_path, log)
    for location in (str(other.path), f"file://{other.path}"):
        with pytest.raises(Failed, match="the repository has no ref no/such"):
            importer.pin(ostree_base(location, "no/such"))


def test_a_repository_that_is_not_there_is_told(importer: Importer, tmp_path: Path) -> None:
    with pytest.raises(Failed, match="there is no OSTree repository"):
        importer.pin(ostree_base(str(tmp_path / "none")))


def test_a_server_that_does_not_answer_is_trouble(importer: Importer) -> None:
    with pytest.raises(Trouble, match="the repository cannot be reached"):
        importer.pin(ostree_base("http://127.0.0.1:9/repo"))


# Debian


def debian_base(archive: Path) -> Base:
    return Base(
        name="debian",
        kind=BaseKind.DEBIAN,
        suite="here",
        mirrors=(f"deb [trusted=yes] file:{archive} here main",),
        packages={"runtime": ("tool", "library")},
        variants={"runtime": "exact"},
        initramfs="none",
    )


def test_packages_become_a_tree_and_a_newer_one_another_key(
    importer: Importer, tmp_path: Path
) -> None:
    make_archive(tmp_path / "archive")
    base = debian_base(tmp_path / "archive")
    first = importer.go(base)
    assert first.pin.packages == {"library": "2-1", "tool": "1.0"}
    assert "/usr/bin/tool" in paths(importer, first)
    assert importer.go(base).cached
    make_archive(tmp_path / "archive", library="3-10")
    second = importer.go(base)
    assert second.pin.key != first.pin.key
    assert not second.cached
    commit = second.variants["runtime"]
    assert importer.repo.read(commit, "/usr/lib/library.txt") == b"3-10\n"


def test_offline_what_is_not_here_is_named_and_what_is_here_is_taken(
    importer: Importer, tmp_path: Path, log: Log
) -> None:
    make_archive(tmp_path / "archive")
    base = debian_base(tmp_path / "archive")
    offline = replace(importer.request(base, RUNTIME), offline=True)
    with pytest.raises(Trouble, match=r"the list of packages .* is not here, and offline") as none:
        resolve_base(offline, cache=importer.cache, log=log)
    assert none.value.hint == "give the same command without --offline"
    pin = importer.pin(base)
    with pytest.raises(Trouble, match="what makes runtime is not here, and offline"):
        import_base(offline, pin, repo=importer.repo, cache=importer.cache, log=log)
    importer.go(base)
    make_archive(tmp_path / "archive", library="3-1")
    again = resolve_base(offline, cache=importer.cache, log=log, max_age_s=0)
    assert again == pin
    assert import_base(offline, again, repo=importer.repo, cache=importer.cache, log=log).cached


def test_packages_that_are_only_unpacked_still_say_whose_each_file_is(
    importer: Importer, tmp_path: Path
) -> None:
    make_archive(tmp_path / "archive")
    result = importer.go(debian_base(tmp_path / "archive"))
    commit = result.variants["runtime"]
    text = importer.repo.read(commit, "/usr/lib/sysimage/dpkg/info/tool.list").decode()
    assert "/usr/bin/tool" in text.splitlines()
    assert "/usr/lib/library.txt" not in text


def moved_on(importer: Importer, archive: Path, library: str) -> tuple[BaseRequest, BasePin]:
    """Resolve a base, and have its archive move on to another version of a package."""
    make_archive(archive)
    base = debian_base(archive)
    pin = importer.pin(base)
    make_archive(archive, library=library)
    return importer.request(base, RUNTIME), pin


def test_an_archive_that_moved_on_after_resolving_is_trouble(
    importer: Importer, tmp_path: Path
) -> None:
    request, pin = moved_on(importer, tmp_path / "archive", "3-10")
    importer.pin(request.base)
    with pytest.raises(Moved, match="moved on since the base was resolved: library 2-1 → 3-10"):
        import_base(request, pin, repo=importer.repo, cache=importer.cache, log=importer.log)


def test_an_archive_that_moved_on_since_its_lists_were_fetched_is_asked_again(
    importer: Importer, tmp_path: Path
) -> None:
    request, old = moved_on(importer, tmp_path / "archive", "3-10")
    result = have_base(request, repo=importer.repo, cache=importer.cache, log=importer.log)
    assert result.pin.packages == {"library": "3-10", "tool": "1.0"}
    assert result.pin.key != old.key
    assert importer.repo.read(result.variants["runtime"], "/usr/lib/library.txt") == b"3-10\n"


def test_a_package_of_another_version_never_passes_for_the_one_that_was_asked_for(
    importer: Importer, tmp_path: Path
) -> None:
    # Within a second, and of the same size: apt believes its own memory of such lists.
    request, pin = moved_on(importer, tmp_path / "archive", "3-1")
    with pytest.raises(Moved, match=r"the archive has moved on since .*: library 2-1 → 3-1"):
        import_base(request, pin, repo=importer.repo, cache=importer.cache, log=importer.log)


def test_an_archive_that_never_has_what_its_lists_say_is_trouble_in_the_end(
    importer: Importer, tmp_path: Path
) -> None:
    make_archive(tmp_path / "archive")
    for package in (tmp_path / "archive/pool").glob("library*.deb"):
        package.unlink()
    request = importer.request(debian_base(tmp_path / "archive"), RUNTIME)
    with pytest.raises(Trouble, match="the mirror does not answer as it should"):
        have_base(request, repo=importer.repo, cache=importer.cache, log=importer.log)


def test_an_unknown_package_is_told_before_anything_is_made(
    importer: Importer, tmp_path: Path
) -> None:
    make_archive(tmp_path / "archive")
    base = replace(debian_base(tmp_path / "archive"), packages={"runtime": ("tol",)})
    with pytest.raises(Failed, match="the archive has no package tol"):
        importer.pin(base)


def test_a_mirror_that_cannot_be_reached_is_trouble(importer: Importer, tmp_path: Path) -> None:
    base = replace(debian_base(tmp_path), mirrors=("http://127.0.0.1:9/debian",))
    with pytest.raises(Trouble, match="the mirror does not answer as it should"):
        importer.pin(base)


def test_the_shared_cache_gives_the_same_commit_to_another_work_directory(
    importer: Importer, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTCI_CACHE", str(tmp_path / "shared"))
    base = tar_base(runtime=make_tar(tmp_path / "a.tar", {"usr/x": "x"}))
    first = importer.go(base)
    other = Importer(Repo(tmp_path / "r2", log=log).create(Mode.BARE_USER), tmp_path / "c2", log)
    second = other.go(base)
    assert second.cached
    assert second.variants == first.variants
    other.repo.fsck()


def test_of_shared_bases_the_one_goes_that_was_used_longest_ago(
    importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTCI_CACHE", str(tmp_path / "shared"))
    bases = [
        tar_base(runtime=make_tar(tmp_path / f"{number}.tar", {"usr/x": f"{number}"}))
        for number in range(10)
    ]
    for base in bases[:8]:  # as many as there may be
        assert not importer.go(base).cached
    assert importer.go(bases[0]).cached, "it is taken from there"
    assert importer.go(bases[0]).cached, "and is here now"
    importer.go(bases[8])
    refs = tmp_path / "shared/bases/refs/heads/bases"
    found = {path.name for path in refs.iterdir()}
    assert found == {importer.pin(bases[number]).key for number in (0, *range(2, 9))}
    assert importer.go(bases[2]).cached
    # What a work directory has from before counts as used, too.
    os.utime(refs / importer.pin(bases[2]).key, (0, 0))
    assert importer.go(bases[2]).cached
    importer.go(bases[9])
    assert (refs / importer.pin(bases[2]).key).is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes an ordinary user: needs to be root")
def test_an_ordinary_user_makes_the_same_base(importer: Importer) -> None:
    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable]
    # Where he may come: what pytest has is for its own user alone.
    place = Path(tempfile.mkdtemp(prefix="ostci-user-", dir="/tmp"))
    try:
        os.chown(place, 65534, 65534)
        archive = make_tar(place / "a.tar", {"usr/bin/x": "x", "etc/y": "y"})
        commit = importer.go(tar_base(runtime=archive)).variants["runtime"]
        script = place / "script.py"
        script.write_text(_AS_USER.format(archive=archive))
        done = subprocess.run(
            [*argv, str(script), str(place)],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
            env={"PATH": "/usr/sbin:/usr/bin", "OSTCI_CACHE": "", "HOME": str(place)},
        )
    finally:
        subprocess.run(["rm", "-rf", str(place)], check=True)
    assert done.stdout.strip() == commit, done.stderr


_AS_USER = """
import sys
from pathlib import Path
sys.path.insert(0, ".")
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.mmdebstrap import Moved
from pipeline.stages.base import BaseRequest, import_base, resolve_base
from pipeline.words.manifest import Base, BaseKind
base = Base(name="rootfs", kind=BaseKind.TAR, files={{"runtime": "{archive}"}}, initramfs="none")
request = BaseRequest(base=base, osname="os", arch="x86_64", variants=(("runtime",),))
top = Path(sys.argv[1])
pin = resolve_base(request, cache=top / "cache", log=Log())
repo = Repo(top / "repo", log=Log()).create(Mode.BARE_USER)
print(import_base(request, pin, repo=repo, cache=top / "cache", log=Log()).variants["runtime"])
"""


# The samples


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "debian"])
def test_the_base_of_a_sample_has_a_kernel_an_initramfs_and_an_empty_var(
    name: str, repo: Repo, log: Log
) -> None:
    manifest = sample(name)
    pin, variants = import_sample(manifest, repo, variants=BOTH, log=log)
    assert import_sample(manifest, repo, variants=BOTH, log=log) == (pin, variants)
    found = dict(repo.walk(variants["runtime"]))
    kernels = [path for path in found if path.endswith("/vmlinuz")]
    assert len(kernels) == 1
    assert kernels[0].replace("vmlinuz", "initramfs.img") in found
    assert kernels[0].replace("vmlinuz", "modules.dep") in found
    assert not [path for path in found if path.startswith(("/var/", "/boot/")) and path[-1] != "/"]
    assert {"/usr/etc/", "/usr/bin/busybox", "/sbin", "/root", "/ostree"} <= found.keys()
    assert "/usr/bin/gcc" in dict(repo.walk(variants["runtime+devel"]))
    assert pin.packages["busybox-static"]
