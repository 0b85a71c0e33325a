# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is done at boot to ``/tmp``, a link in our trees; ``tests/vm/test_debian.py`` runs it."""

from vmtests.machine import Machine


def test_it_is_emptied_and_the_places_of_sockets_are_root_s(machine: Machine) -> None:
    assert machine.succeeds(["stat", "-c", "%U %a", "/tmp/.X11-unix"]).strip() == "root 1777"
    for path in ("/tmp/left", "/tmp/.X7-lock", "/var/tmp/kept"):
        machine.write_file(path, "x")
    machine.reboot()
    assert "kept" in machine.succeeds(["ls", "-A", "/var/tmp"]).split()
    left = machine.succeeds(["ls", "-A", "/tmp"]).split()
    assert ".X11-unix" in left
    assert not {"left", ".X7-lock"} & set(left)
