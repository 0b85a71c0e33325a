# SPDX-License-Identifier: LGPL-2.1-or-later
"""What machines are run with: found by booting, kept for this host."""

import json
import os
import time
from pathlib import Path

import pytest

from pipeline.ports import accelerator, domain_root
from pipeline.ports.accelerator import Kind
from pipeline.ports.log import ListSink, Log
from tests import bare


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with nothing in it."""
    monkeypatch.setenv("OSTCI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "accelerator.json"


def probes(sink: ListSink) -> int:
    return sum("isa-debug-exit" in text for text in sink.texts())


@pytest.mark.vm
def test_the_boot_sector_goes_through_all_modes_and_tells_the_speed(log: Log) -> None:
    found = accelerator.probe(Kind.TCG, deadline_s=60.0, log=log)
    assert found.error == ""
    assert 0.001 < found.round_s < 30.0


@pytest.mark.vm
def test_a_probe_that_takes_too_long_is_stopped(log: Log) -> None:
    started = time.monotonic()
    found = accelerator.probe(Kind.TCG, deadline_s=0.05, log=log)
    assert found.error == "a machine did not boot within 0.05 s"
    assert time.monotonic() - started < 60.0


@pytest.mark.vm
def test_a_probe_that_ends_early_has_not_booted(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    # out 0xf4, 0x10 is the first that it does
    monkeypatch.setattr(accelerator, "_CODE", bytes.fromhex("b010e6f4"))
    assert accelerator.probe(Kind.TCG, deadline_s=60.0, log=log).error == "the machine ended early"


@pytest.mark.vm
@pytest.mark.usefixtures("cache")
def test_the_answer_is_kept_and_measured_once(log: Log, sink: ListSink) -> None:
    first = accelerator.choose(log=log)
    after_first = probes(sink)
    assert after_first >= 1
    assert accelerator.choose(log=log) == first
    assert probes(sink) == after_first
    assert first.speed >= 1.0
    assert first.words.startswith(f"machines run with {first.kind.upper()}")
    assert (first.kind is Kind.KVM) == (first.speed == 1.0)


@pytest.mark.vm
@pytest.mark.parametrize(
    ("field", "value"), [("facts", "another host"), ("time", 0.0), ("time", 1e12), ("kind", "?")]
)
def test_an_answer_that_may_be_wrong_is_measured_anew(
    cache: Path, log: Log, sink: ListSink, field: str, value: object
) -> None:
    accelerator.choose(log=log)
    kept = json.loads(cache.read_text())
    cache.write_text(json.dumps({**kept, field: value}))
    sink.lines.clear()
    accelerator.choose(log=log)
    assert probes(sink) >= 1
    assert json.loads(cache.read_text())["facts"] == kept["facts"]


@pytest.mark.vm
def test_kvm_is_believed_only_if_a_machine_boots(log: Log) -> None:
    found = accelerator.measure(log=log)
    if found.kind is Kind.KVM:
        pytest.skip("KVM works here")
    if domain_root.KVM.exists():
        assert "/dev/kvm is there, but " in found.words or "KVM works, but " in found.words
    else:
        assert found.words.endswith("there is no /dev/kvm")
    assert "deadlines are" in found.words


@pytest.mark.vm
def test_a_stock_kernel_shows_that_it_came_up(log: Log) -> None:
    found = accelerator.probe_kernel(Kind.TCG, bare.kernel(), bare.DEADLINE_S, log=log)
    assert found.error == ""


@pytest.mark.vm
def test_a_file_that_is_no_kernel_does_not_boot(log: Log) -> None:
    found = accelerator.probe_kernel(Kind.TCG, b"no kernel" * 1000, 120.0, log=log)
    assert found.error.startswith("a machine does not boot (")


@pytest.mark.vm
def test_the_driver_says_what_it_is(log: Log) -> None:
    words = accelerator.describe_driver(log)
    assert words.startswith("the embedded driver answers (libvirt ")
    assert ("QEMU runs as libvirt-qemu, with seccomp" in words) == (os.geteuid() == 0)
