# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest and the network that a test gives it."""

from pathlib import Path

from pipeline.ports.log import Log
from pipeline.ports.static_http import Mount, Site, serving
from vmtests.machine import Machine


def test_a_guest_reaches_what_the_test_serves_and_nothing_else(
    machine: Machine, tmp_path: Path
) -> None:
    (tmp_path / "here").write_text("from the test\n")
    before = machine.shell("ls /sys/class/net").text.split()
    site = Site(mounts={"files": Mount(root=tmp_path)})
    with serving("127.0.0.1:0", site, log=Log()) as url:
        port = url.rpartition(":")[2]
        for boot in ("first", "next"):
            host = machine.connect()
            assert machine.succeeds(["wget", "-qO-", f"http://{host}:{port}/files/here"]) == (
                "from the test"
            ), boot
            assert machine.connect() == host, "a second time changes nothing"
            machine.fails(["wget", "-T", "2", "-qO-", "http://192.0.2.1/"])
            if boot == "first":
                machine.reboot()
    assert before == ["lo"], "no card is there before"
