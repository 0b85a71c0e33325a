# SPDX-License-Identifier: LGPL-2.1-or-later
"""A full disk and two promotions at once: told plainly, nothing lost, nothing half moved."""

import os
import sys
import threading
from pathlib import Path

import pytest

from pipeline.ports import process
from pipeline.words.errors import Trouble
from tests.shipping import ARCH, PASSED, Shop, manifest

RUNTIME = f"{ARCH}-runtime"
TOP = Path(__file__).parents[2]
_IN_SMALL_SPACE = """
import sys
from pathlib import Path
from pipeline.words.errors import Trouble
from tests.shipping import PASSED, Shop, manifest

shop = Shop(Path(sys.argv[1]), manifest())
first = shop.ship("20261124.0", "one")
filler = shop.archive.path / "filler"
try:
    with filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
except OSError:
    pass
trees = shop.compose("20261124.1", "two")
shop.judge("20261124.1", trees, PASSED)
try:
    shop.promote("20261124.1", trees)
except Trouble as error:
    print(error, "|", error.hint)
assert shop.violations() == []
assert shop.buildmaster()[1] == first["x86_64-runtime"]
filler.unlink()
shop.promote("20261124.1", trees)
shop.repo.fsck()
shop.archive.fsck()
assert shop.violations() == []
print(shop.buildmaster()[1] == trees[0].commit)
"""


def environment() -> dict[str, str]:
    """Make ``tests`` importable in a process of its own."""
    return {**os.environ, "PYTHONPATH": str(TOP)}


def test_a_full_archive_is_trouble_and_the_same_command_goes_on_when_there_is_room(
    shop: Shop,
) -> None:
    archive = shop.workdir.archive
    archive.mkdir()
    inside = 'mount -t tmpfs -o size=4m tmpfs "$1" && exec "$2" -c "$3" "$4"'
    enter = ["unshare", "--mount", "sh", "-c", inside, "sh", str(archive)]
    argv = [*enter, sys.executable, _IN_SMALL_SPACE, str(shop.root)]
    done = process.run(argv, log=shop.log, ok=(), env=environment())
    if "mount" in done.error_text and done.code != 0:
        pytest.skip(f"no file system can be mounted here: {done.error_text}")
    assert done.code == 0, done.error_text
    said = done.text.splitlines()
    assert f"no space left for {archive}" in said[0]
    assert "bytes free" in said[0]
    assert "make room (ostci clean), then give the same command again" in said[0]
    assert said[-1] == "True"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A work directory for two targets that move together."""
    return Shop(tmp_path / "work", manifest())


def test_promotions_at_once_wait_for_each_other_and_the_newest_wins(shop: Shop) -> None:
    shop.ship("20261124.0", "zero")
    composed = {}
    for number in (1, 2, 3):
        run = f"20261124.{number}"
        composed[run] = shop.compose(run, run)
        shop.judge(run, composed[run], PASSED)
    failures: list[BaseException] = []

    def promote(run: str) -> None:
        own = Shop(shop.root, shop.manifest)
        try:
            own.promote(run, composed[run])
        except Trouble as error:
            failures.append(error)

    threads = [threading.Thread(target=promote, args=(run,)) for run in reversed(composed)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    newest = composed["20261124.3"][0].commit
    assert shop.buildmaster() == (newest, newest)
    assert shop.violations() == []
    shop.archive.fsck()
