# SPDX-License-Identifier: LGPL-2.1-or-later
"""An ordinary user is told what is missing for files of other users, and what mends it."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ports import userns
from pipeline.ports.log import Log
from tests.ordinary import FIRST_ID, NAME, Ordinary, ordinary_user

ASK = """
from pipeline.ports import userns
from pipeline.ports.log import Log
lack = userns.missing(log=Log())
print(f"{lack.words} -> {lack.mend}" if lack else "nothing is missing")
"""


@pytest.fixture
def user() -> Iterator[Ordinary]:
    with ordinary_user() as found:
        yield found


def ask(user: Ordinary, *before: str) -> str:
    done = user.run([*before, sys.executable, "-c", ASK])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_is_missing_for_an_account_as_useradd_makes_them(user: Ordinary) -> None:
    assert ask(user) == "nothing is missing"


def test_ids_that_are_missing_are_asked_for_where_nobody_has_any(user: Ordinary) -> None:
    (user.etc / "subuid").write_text("a:100000:65536\nb:165536:65536\n")
    assert ask(user) == (
        f"{NAME} has no 65536 ids in /etc/subuid -> sudo usermod --add-subuids 231072-296607 {NAME}"
    )


def test_a_kernel_that_forbids_it_is_told_with_its_setting(user: Ordinary) -> None:
    script = 'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --reuid=7 "$@"'
    before = ["unshare", "--user", "--map-auto", "--map-root-user", "sh", "-ec", script, "sh"]
    said = ask(user, *before)
    assert "lets ordinary users make no user namespaces (user.max_user_namespaces=0)" in said
    assert said.endswith("-> sudo sysctl -w user.max_user_namespaces=10000")


def test_a_missing_newuidmap_is_told_with_its_package(user: Ordinary) -> None:
    programs = user.home / "bin"
    programs.mkdir()
    for name in ("unshare", "true"):
        (programs / name).symlink_to(shutil.which(name) or name)
    said = ask(user, "env", f"PATH={programs}")
    assert said == "newuidmap is not installed -> sudo apt-get install uidmap"


def test_files_of_others_are_removed_and_nobody_else_s(user: Ordinary) -> None:
    place, beside = user.home / "place/below", user.home / "beside"
    place.mkdir(parents=True)
    beside.mkdir()
    (place / "file").touch()
    (place / "link").symlink_to(beside)
    user.own(user.home)
    for path in (place, place / "file"):
        os.chown(path, FIRST_ID + 7, FIRST_ID + 7)
    place.chmod(0o700)
    script = "import sys; from pathlib import Path; from pipeline.ports.userns import remove_tree;"
    done = user.run([sys.executable, "-c", f"{script} remove_tree(Path(sys.argv[1]))", place])
    assert done.returncode == 0, done.stderr
    assert not place.exists() and beside.is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs no namespace")
def test_root_starts_programs_as_they_are() -> None:
    assert userns.as_root(["ostree", Path("/x")], log=Log()) == ["ostree", Path("/x")]
