# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every test may ask for: a log in memory, a work directory, a fresh repository."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pipeline.ports.files import remove_tree
from pipeline.ports.git import Mirrors
from pipeline.ports.log import ListSink, Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.workdir import Workdir
from tests import postgres
from tests.repos import GitRepo, git_repo

# The same examples every time, so that a red test is of the change at hand; a long campaign looks
# further: HYPOTHESIS_PROFILE=wide.
_slow = [HealthCheck.too_slow]  # a busy machine is no fault of a test
settings.register_profile("check", derandomize=True, deadline=None, suppress_health_check=_slow)
settings.register_profile("wide", max_examples=2000, deadline=None, suppress_health_check=_slow)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "check"))


@pytest.fixture
def sink() -> ListSink:
    """The lines that ``log`` got."""
    return ListSink()


@pytest.fixture
def log(sink: ListSink) -> Log:
    """A log that keeps its lines in ``sink``."""
    return Log(sink)


@pytest.fixture
def workdir(tmp_path: Path) -> Iterator[Workdir]:
    """An empty work directory, made."""
    found = Workdir(tmp_path / "work")
    found.root.mkdir()
    found.make()
    yield found


@pytest.fixture
def mirrors(tmp_path: Path, log: Log) -> Mirrors:
    """Mirrors of nothing yet."""
    return Mirrors(tmp_path / "mirrors", log=log)


@pytest.fixture
def upstream(tmp_path: Path) -> GitRepo:
    """A git repository with one commit, in ``up/zlib``."""
    return git_repo(tmp_path / "up" / "zlib")


@pytest.fixture
def repo(tmp_path: Path, log: Log) -> Repo:
    """An empty repository to build with."""
    return Repo(tmp_path / "repo", log=log).create(Mode.BARE_USER)


@pytest.fixture(scope="session", autouse=True)
def no_memory_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take away what checkpoints of these tests had in memory: their directories stay a while."""
    yield
    base = tmp_path_factory.getbasetemp()
    for place in (Path("/dev/shm"), Path("/var/tmp")):
        for of in place.glob("ostci-ram-*/of"):
            with suppress(FileNotFoundError):  # others come and go
                if Path(of.read_text()).is_relative_to(base):
                    remove_tree(of.parent)


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL of our own, where it is installed."""
    lacking = postgres.missing()
    if lacking:
        pytest.skip(lacking)
    with postgres.serving() as found:
        yield found
