# SPDX-License-Identifier: LGPL-2.1-or-later
"""The smallest program that puts a copy of a machine right: its clock, and its random numbers.

A kernel without a driver for vmgenid (Debian's for clouds) goes on drawing the numbers that the
copy beside it draws, until it mixes its pool in anew some time later; only an ioctl makes it do so
at once, and no shell has one. Copies are many and begin with nothing translated where there is no
KVM, so that a program without a library saves a third of what ``date`` takes alone.
Formats: elf(5), random(4).
"""

import struct

_BASE = 0x400000
_HEADERS = 64 + 56
_ELF64 = b"\x7fELF\x02\x01\x01" + bytes(9)
_EXECUTABLE, _X86_64, _LOAD, _READ_EXECUTE = 2, 62, 1, 5

_CODE_X86_64 = bytes.fromhex(
    "488b742410"  # mov rsi, [rsp+16]         the first argument: seconds since 1970
    "31ff"  # xor edi, edi
    "0fb60e"  # movzx ecx, byte [rsi]    next:
    "83e930"  # sub ecx, '0'
    "83f909"  # cmp ecx, 9
    "770c"  # ja done
    "486bff0a"  # imul rdi, rdi, 10
    "4801cf"  # add rdi, rcx
    "48ffc6"  # inc rsi
    "ebe9"  # jmp next
    "6a00"  # push 0                   done: struct timespec
    "57"  # push rdi
    "4889e6"  # mov rsi, rsp
    "31ff"  # xor edi, edi             CLOCK_REALTIME
    "b8e3000000"  # mov eax, 227             clock_settime
    "0f05"  # syscall
    "89c3"  # mov ebx, eax
    "b802000000"  # mov eax, 2               open
    "488d3d24000000"  # lea rdi, [rip+path]
    "be01000000"  # mov esi, 1               O_WRONLY
    "31d2"  # xor edx, edx
    "0f05"  # syscall
    "89c7"  # mov edi, eax
    "b810000000"  # mov eax, 16              ioctl
    "be07520000"  # mov esi, 0x5207          RNDRESEEDCRNG
    "0f05"  # syscall
    "89c7"  # mov edi, eax
    "09df"  # or edi, ebx              0 where both went well
    "f7df"  # neg edi
    "b83c000000"  # mov eax, 60              exit
    "0f05"  # syscall
) + (b"/dev/urandom\0")


def wake_program(arch: str) -> bytes | None:
    """Write the program, which takes the time in seconds; None where it was not written yet."""
    if arch != "x86_64":
        return None
    size = _HEADERS + len(_CODE_X86_64)
    elf = _ELF64 + struct.pack(
        "<HHIQQQIHHHHHH",
        *(_EXECUTABLE, _X86_64, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0),
    )
    load = struct.pack("<IIQQQQQQ", _LOAD, _READ_EXECUTE, 0, _BASE, _BASE, size, size, 0x1000)
    return elf + load + _CODE_X86_64
