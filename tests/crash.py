# SPDX-License-Identifier: LGPL-2.1-or-later
"""The smallest program that dies of a fault: an ELF file whose one instruction writes to 0.

Format: https://refspecs.linuxfoundation.org/elf/elf.pdf
"""

import struct

_BASE = 0x400000
_CODE = bytes.fromhex("890425000000000f0b")  # mov %eax, 0; ud2
_START = 64 + 56
CRASHES = (
    b"\x7fELF\x02\x01\x01"
    + bytes(9)
    + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE + _START, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    + struct.pack(
        "<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, _START + len(_CODE), _START + len(_CODE), 4096
    )
    + _CODE
)
CRASHES_IN_SH = (
    "printf '"
    + "".join(f"\\{byte:03o}" for byte in CRASHES)
    + "' >/run/crashes; chmod 755 /run/crashes;"
)
"""Commands that make it in a guest."""
