# SPDX-License-Identifier: LGPL-2.1-or-later
"""Several machines in one test. Run by ``tests/vm/test_several.py``."""

import time

import pytest

from pipeline.words.symptoms import Cause
from vmtests.evidence import Evidence
from vmtests.following import GuestFailed
from vmtests.machine import Machine
from vmtests.several import Several


def serve(server: Machine) -> None:
    server.succeeds(["sh", "-c", "echo served >/run/page; httpd -p 8080 -h /run"])
    server.wait_for_port(8080)


def test_a_client_and_the_server_it_asks(machines: Several, evidence: Evidence) -> None:
    server, client = machines("server", "client")
    serve(server)
    assert (server.address, client.address) == ("10.111.0.1", "10.111.0.2")
    # No name and no -T: this static busybox dies of either.
    fetch = ["wget", "-qO-", "http://10.111.0.1:8080/page"]
    assert client.succeeds(fetch) == "served"
    names = "10.111.0.1 server # of the test\n10.111.0.2 client # of the test\n"
    for one in (server, client):
        assert one.succeeds(["hostname"]) == one.name
        assert one.read_file("/etc/hosts").decode().endswith(names)
    macs = [one.succeeds(["sh", "-c", "cat /sys/class/net/e*/address"]) for one in (server, client)]
    assert macs == ["52:54:00:6f:74:01", "52:54:00:6f:74:02"]
    # Neither this machine nor anything else is in that network.
    client.fails(["ping", "-c", "1", "-W", "2", "10.111.0.3"])
    client.fails(["ping", "-c", "1", "-W", "2", "192.0.2.1"])

    server.reboot()
    assert server.read_file("/etc/hosts").decode().count("server") == 1
    serve(server)
    assert client.succeeds(fetch) == "served"
    with pytest.raises(ValueError, match="once a test"):
        machines("third")

    server.shell("(sleep 2; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &")
    started = time.monotonic()
    with pytest.raises(GuestFailed, match=r"^server: Kernel panic - not syncing: sysrq") as caught:
        client.wait_for_unit("never.service", timeout_s=100)
    assert caught.value.cause is Cause.PANIC
    assert time.monotonic() - started < 100
    # Told once: the test may go on with what is left.
    assert client.succeeds(["echo", "here"]) == "here"
    with pytest.raises(GuestFailed, match=r"^server: Kernel panic"):
        server.succeeds(["true"])
    # A machine that is told to go is no failure of the others.
    server.crash()
    assert client.succeeds(["echo", "here"]) == "here"
    kept = evidence.directory / "tests/test_a_client_and_the_server_it_asks"
    for name in ("server", "client"):
        assert (kept / name / "journal.json").stat().st_size
