# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests that build something share: one base, and a yard for each of them."""

from pathlib import Path

import pytest

from pipeline.ports.log import Log
from tests.yard import Yard


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    """A yard that has the base, fetched once."""
    return Yard.make(tmp_path_factory.mktemp("yard"), log=Log())


@pytest.fixture
def yard(shared: Yard, tmp_path: Path, log: Log) -> Yard:
    """A yard of one's own, empty but for the base."""
    return Yard.make(tmp_path, log=log, like=shared)
