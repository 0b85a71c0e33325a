# SPDX-License-Identifier: LGPL-2.1-or-later
"""The core dump of a program that a tree or a component brought as a test, kept as evidence.

Where the kernel writes it, below the test's own directory; or where systemd-coredump has it.
"""

import gzip
import struct
import zlib
from pathlib import Path

from vmtests.following import GuestFailed
from vmtests.machine import Machine

CORE = "core.gz"
_MOST = 256 * 1024
"""What a core may have at most, in blocks of 512 bytes as sh counts; the rest is cut off."""
_KEPT = "/var/tmp/ostci-core"
_BEGIN = f"""\
[ ! -e {_KEPT}.gz ] || rm -f {_KEPT}.gz
ulimit -c {_MOST} 2>/dev/null
! command -v coredumpctl >/dev/null || began=$(date +%s)
"""
_KEEP = """\
for core in {place}/core*; do
    [ -s "$core" ] && head -c 4 "$core" | grep -q ELF && break
    core=
done
if [ -z "$core" ] && [ "$code" -ne 0 ]; then
    core=$(find {place} -xdev -type f -name 'core*' -size +1 2>/dev/null | head -n 1)
    if [ -z "$core" ] && [ -n "$began" ]; then
        coredumpctl --quiet -1 --since "@$began" --output {kept} dump >/dev/null 2>&1
        [ ! -s {kept} ] || core={kept}
    fi
fi
[ -z "$core" ] || {{ gzip -c1 "$core" >{kept}.gz && rm -f {kept}; }}
"""
_ELF_CORE = 4
"""``e_type`` of elf(5)."""


def with_core(script: str, place: str) -> str:
    """Have a script keep the core of what dumps one below ``place``, as its sh understands it.

    Its last command says how the test went, which is in ``$code`` afterwards.
    """
    return f"{_BEGIN}{script}\ncode=$?\n{_KEEP.format(place=place, kept=_KEPT)}"


def keep_core(machine: Machine, into: Path) -> None:
    """Copy the core that a script has kept to the evidence; none is no failure, nor a large one."""
    if not machine.is_alive() or machine.shell(f"test -s {_KEPT}.gz").code != 0:
        return
    into.mkdir(parents=True, exist_ok=True)
    target = into / CORE
    target.unlink(missing_ok=True)
    try:
        machine.copy_out(f"{_KEPT}.gz", target)
    except GuestFailed as error:
        machine.note(f"it dumped core, which is not kept: {error}")
        return
    if _is_core(target):
        machine.note(f"it dumped core: {target}, {-(-target.stat().st_size // 1024)} KiB")
    else:
        target.unlink()


def _is_core(path: Path) -> bool:
    try:
        with gzip.open(path) as file:
            head = file.read(18)
    except (OSError, EOFError, zlib.error):
        return False
    return head[:4] == b"\x7fELF" and head[16:] == struct.pack("<H", _ELF_CORE)
