# SPDX-License-Identifier: LGPL-2.1-or-later
"""A small tree that is changed at random, by all that a build may do to a tree."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from pipeline.ports.ostree import Repo
from pipeline.stages.disk import DiskRequest
from pipeline.words.manifest import Target
from pipeline.words.refs import Commit, RefName

KERNEL = "6.1.0-test"
MIB = 1024**2
TARGET = Target(name="runtime", disk_size=128 * MIB, kernel_options=("quiet",))
_NAMES = ("plain", "with space", 'a"quote', "back\\slash", "ünïcode", "#hash", "-dash", "<8>")


def request_of(commit: Commit) -> DiskRequest:
    """Ask for the disk of a commit, all else being equal."""
    return DiskRequest(
        osname="it",
        ref=RefName("it/compose/x86_64-runtime"),
        commit=commit,
        target=TARGET,
        url="http://example.org/repo",
        key=b"public key",
    )


class Changing:
    """The tree's files on this machine; ``step`` changes some and ``commit`` commits them."""

    def __init__(self, root: Path, *, seed: int, attributes: bool = False) -> None:
        self.root = root
        self.random = random.Random(seed)
        self.attributes = attributes
        self.number = 0
        self.done: list[str] = []
        self._fill()

    def step(self, count: int = 6) -> None:
        """Make some changes, the names of which are in ``done``."""
        every: list[Callable[[], None]] = [
            self.content,
            self.mode,
            self.owner,
            self.add,
            self.remove,
            self.add_directory,
            self.remove_directory,
            self.directory_mode,
            self.to_symlink,
            self.to_file,
            self.to_directory,
            self.copies,
            self.setuid,
            self.empty,
            self.long_symlink,
            self.etc,
            self.etc_directory,
            self.etc_symlink,
            self.under_fixture,
            self.kernel,
            self.initramfs,
            self.pretty_name,
            *([self.attribute] if self.attributes else []),
        ]
        self.done = []
        for change in self.random.sample(every, count):
            self.number += 1
            change()
            self.done.append(change.__name__)

    def commit(self, repo: Repo, *, version: str = "") -> Commit:
        """Commit the tree as it is."""
        return repo.commit_dir(
            self.root,
            subject=f"after {self.done}",
            metadata={"version": version} if version else {},
            owner_root=False,
        )

    def _fill(self) -> None:
        modules = self.root / "usr/lib/modules" / KERNEL
        modules.mkdir(parents=True)
        (modules / "vmlinuz").write_bytes(b"kernel")
        (modules / "initramfs.img").write_bytes(b"initramfs")
        for name in ("usr/etc/systemd/system", "usr/bin", "boot", "sysroot", "var", "dev", "proc"):
            (self.root / name).mkdir(parents=True)
        (self.root / "usr/etc/os-release").write_text('NAME="It"\nID=it\nPRETTY_NAME="It"\n')
        for number in range(120):
            path = self.root / f"usr/share/d{number % 10}/e{number % 3}/f{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{number % 40}\n" * (number * 50))
        for number in range(20):
            (self.root / f"usr/etc/c{number}").write_text(f"{number}\n")
            (self.root / f"usr/bin/l{number}").symlink_to("../share/d1")

    # What may be changed

    def content(self) -> None:
        path = self._file()
        path.write_text(f"changed {self.number}\n" * self.random.randrange(3000))

    def mode(self) -> None:
        self._file().chmod(self.random.choice((0o600, 0o644, 0o755, 0o444)))

    def owner(self) -> None:
        if os.geteuid() == 0:
            os.chown(self._file(), self.random.randrange(70000), self.random.randrange(70000))

    def setuid(self) -> None:
        self._file().chmod(self.random.choice((0o4755, 0o2755, 0o6711)))

    def add(self) -> None:
        name = f"{self.random.choice(_NAMES)}{self.number}"
        (self._directory() / name).write_text(f"new {self.number}")

    def remove(self) -> None:
        self._file().unlink()

    def add_directory(self) -> None:
        name = f"{self.random.choice(_NAMES)}-dir{self.number}"
        made = self._directory() / name
        (made / "below").mkdir(parents=True)
        (made / "below/file").write_text(f"{self.number}")
        (made / "empty").mkdir()

    def remove_directory(self) -> None:
        shutil.rmtree(self._directory())

    def directory_mode(self) -> None:
        self._directory().chmod(self.random.choice((0o700, 0o1777, 0o755, 0o2755)))

    def to_symlink(self) -> None:
        path = self._file()
        path.unlink()
        path.symlink_to(self.random.choice(("elsewhere", "/a b/c", 'q"q')))

    def long_symlink(self) -> None:
        (self._directory() / f"long{self.number}").symlink_to("x" * 200)

    def to_file(self) -> None:
        path = self.random.choice(self._all(Path.is_symlink))
        path.unlink()
        path.write_text(f"no link {self.number}")

    def to_directory(self) -> None:
        path = self._file()
        path.unlink()
        path.mkdir()
        (path / "inside").write_text(f"{self.number}")

    def copies(self) -> None:
        for _ in range(3):
            path = self._directory() / f"copy{self.number}-{self.random.random()}"
            path.write_text(f"same {self.random.randrange(2)}")

    def empty(self) -> None:
        (self._directory() / f"empty{self.number}").write_text("")

    def etc(self) -> None:
        files = [path for path in (self.root / "usr/etc").glob("c*") if path.is_file()]
        self.random.choice(files).write_text(f"setting {self.number}")
        (self.root / f"usr/etc/c-new{self.number}").write_text("")

    def etc_directory(self) -> None:
        made = self.root / f"usr/etc/x{self.number}.d/y"
        made.mkdir(parents=True)
        made.chmod(0o750)
        (made / "z").write_text("z")
        for old in list((self.root / "usr/etc").glob("x*.d"))[:-1]:
            shutil.rmtree(old)

    def etc_symlink(self) -> None:
        path = self.root / "usr/etc/link"
        path.unlink(missing_ok=True)
        path.symlink_to(f"to{self.number}")

    def under_fixture(self) -> None:
        """Change what the fixture is put over: a file, a directory, a link where it wants one."""
        path = self.root / "usr/etc/ostci-guest"
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        kind = self.random.randrange(3)
        if kind == 0:
            path.symlink_to("nowhere")
        elif kind == 1:
            path.write_text("a file")
        else:
            path.mkdir(mode=0o700)
            (path / "shell").write_text("of the tree")
            (path / "more").write_text("of the tree")

    def kernel(self) -> None:
        (self.root / "usr/lib/modules" / KERNEL / "vmlinuz").write_text(f"kernel {self.number}")

    def initramfs(self) -> None:
        path = self.root / "usr/lib/modules" / KERNEL / "initramfs.img"
        path.write_text(f"initramfs {self.number}")

    def pretty_name(self) -> None:
        (self.root / "usr/etc/os-release").write_text(f"ID=it\nPRETTY_NAME='It {self.number}'\n")

    def attribute(self) -> None:
        os.setxattr(self._file(), "user.it", f"value {self.number}".encode())

    # Choosing

    def _all(self, wanted: Callable[[Path], bool]) -> list[Path]:
        return sorted(path for path in (self.root / "usr").glob("[bs]*/**/*") if wanted(path))

    def _file(self) -> Path:
        return self.random.choice(self._all(lambda path: path.is_file() and not path.is_symlink()))

    def _directory(self) -> Path:
        return self.random.choice(
            self._all(
                lambda path: path.is_dir() and not path.is_symlink() and "/d1" not in str(path)
            )
        )
