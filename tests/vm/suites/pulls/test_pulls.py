# SPDX-License-Identifier: LGPL-2.1-or-later
"""One guest serves an OSTree repository, another pulls from it. See ``vm/test_several.py``."""

import os
from pathlib import Path

from vmtests.several import Several

SERVED = Path(os.environ["OSTCI_TEST_SERVED"])


def test_a_client_pulls_what_is_signed_and_nothing_else(machines: Several) -> None:
    server, client = machines("server", "client")
    server.copy_in(SERVED / "repo", "/var/repo")
    client.write_file("/var/key.asc", (SERVED / "key.asc").read_bytes())
    server.succeeds(["busybox", "httpd", "-p", "8080", "-h", "/var"])
    server.wait_for_port(8080)
    client.succeeds(["ostree", "init", "--repo=/var/mine", "--mode=bare-user"])
    remote = ["ostree", "remote", "add", "--repo=/var/mine", "--set=gpg-verify=true"]
    client.succeeds([*remote, "--gpg-import=/var/key.asc", "origin", "http://server:8080/repo"])
    pull = ["ostree", "pull", "--repo=/var/mine", "origin"]
    client.succeeds([*pull, "good"], timeout_s=60)
    shown = client.succeeds(["ostree", "cat", "--repo=/var/mine", "origin:good", "/hello"])
    assert shown == "hello"
    assert "GPG verification enabled, but no signatures found" in client.fails([*pull, "unsigned"])
    server.crash()
    client.fails([*pull, "good"])
