# SPDX-License-Identifier: LGPL-2.1-or-later
"""The doctor looks at a work directory, too: whether the one rule holds, and what mends it."""

import json
import shlex
from pathlib import Path

import pytest

from pipeline.cli.doctor import examine_rule
from pipeline.cli.house import init
from pipeline.words.refs import buildmaster_ref
from tests.shipping import ARCH, OSNAME, Shop, manifest
from tests.work import TOP, Said, run_ostci

RUNTIME = buildmaster_ref(OSNAME, f"{ARCH}-runtime")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A work directory."""
    (tmp_path / "os.yaml").write_text("{}\n")
    init(tmp_path / "work", tmp_path / "os.yaml")
    return Shop(tmp_path / "work", manifest())


def ostci(*words: str, code: int | None = 0, cwd: Path = TOP) -> Said:
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(TOP), "HOME": str(cwd)}
    return run_ostci(None, *words, code=code, cwd=cwd, env=env)


def test_promoted_refs_have_their_pass(shop: Shop) -> None:
    assert examine_rule(shop.root, shop.log).words == "nothing was promoted yet"
    assert not shop.workdir.ledger.exists()
    shop.ship("20261124.0", "one")
    found = examine_rule(shop.root, shop.log)
    assert (found.ok, found.words) == (True, "each of 2 buildmaster refs has its own")


def test_a_ref_that_was_moved_past_the_gate_is_told_and_what_is_to_be_typed_mends_it(
    shop: Shop,
) -> None:
    shop.ship("20261124.0", "one")
    untested = shop.compose("20261124.1", "two")[0].commit
    shop.archive.pull_local(shop.repo.path, [untested])
    shop.archive.set_ref(RUNTIME, untested)
    found = examine_rule(shop.root, shop.log)
    assert not found.ok and found.needed
    assert f"{RUNTIME} is {untested}: no promotion of it is recorded" in found.words
    ostci(*shlex.split(found.mend)[1:])
    assert examine_rule(shop.root, shop.log).ok


def test_a_lost_ledger_is_told_and_not_made(shop: Shop) -> None:
    shop.ship("20261124.0", "one")
    shop.ledger.close()
    for path in shop.root.glob("ledger.sqlite*"):
        path.unlink()
    found = examine_rule(shop.root, shop.log)
    assert not found.ok
    assert found.words == f"{shop.workdir.ledger} is not there"
    assert found.mend == f"ostci -C {shop.root} run --again"
    assert not shop.workdir.ledger.exists()


def test_a_damaged_ledger_is_a_finding(shop: Shop) -> None:
    shop.ship("20261124.0", "one")
    shop.ledger.close()
    for path in shop.root.glob("ledger.sqlite*"):
        path.write_bytes(b"no database at all" * 1000)
    found = examine_rule(shop.root, shop.log)
    assert not found.ok and "damaged" in found.words


def test_the_command_ends_as_with_other_findings(shop: Shop, tmp_path: Path) -> None:
    shop.ship("20261124.0", "one")
    words = ("doctor", "--no-boot", "--json")
    rows = {row["name"]: row for row in json.loads(ostci(*words, code=None, cwd=shop.root).out)}
    assert rows["recorded passes"]["ok"]
    shop.archive.set_ref(RUNTIME, shop.compose("20261124.1", "two")[0].commit)
    said = ostci("-C", str(shop.root), "doctor", "--no-boot", code=3)
    assert "MISSING  recorded passes: " in said.out
    assert f"→ ostci -C {shop.root} clean --dry-run" in said.out
    outside = json.loads(ostci(*words, code=None, cwd=tmp_path).out)
    assert "recorded passes" not in {row["name"] for row in outside}
    ostci("-C", str(tmp_path), "doctor", "--no-boot", code=2)
