# SPDX-License-Identifier: LGPL-2.1-or-later
"""A seccomp filter for sandboxes, as the bytes that ``bwrap --seccomp`` takes.

It refuses (EPERM) what no build needs and what has been a way into kernels: keyrings, BPF,
io_uring, performance events, modules, mounts, file handles. Format: seccomp(2), "struct
sock_filter"; numbers: the kernel's ``syscall*.tbl``.
"""

import struct

_INSTRUCTION = struct.Struct("=HBBI")
_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _RETURN = 0x20, 0x15, 0x35, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_SECOND_ARGUMENT = 0, 4, 24
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001
_X32 = 0x40000000
_TIOCSTI = 0x5412

# Since Linux 5.0 a new call has one number everywhere.
_COMMON = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "mount_setattr": 442,
}
_ORDER = ("x86_64", "i386", "aarch64")
_NUMBERS: dict[str, tuple[int | None, ...]] = {
    "acct": (163, 51, 89),
    "add_key": (248, 286, 217),
    "bpf": (321, 357, 280),
    "delete_module": (176, 129, 106),
    "finit_module": (313, 350, 273),
    "init_module": (175, 128, 105),
    "kexec_file_load": (320, None, 294),
    "kexec_load": (246, 283, 104),
    "keyctl": (250, 288, 219),
    "mount": (165, 21, 40),
    "open_by_handle_at": (304, 342, 265),
    "perf_event_open": (298, 336, 241),
    "pivot_root": (155, 217, 41),
    "quotactl": (179, 131, 60),
    "reboot": (169, 88, 142),
    "request_key": (249, 287, 218),
    "setns": (308, 346, 268),
    "swapoff": (168, 115, 225),
    "swapon": (167, 87, 224),
    "syslog": (103, 103, 116),
    "umount2": (166, 52, 39),
    "userfaultfd": (323, 374, 282),
}
_IOCTL = {"x86_64": 16, "i386": 54, "aarch64": 29}
_ARCH = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7}
_RUNS_ON = {"x86_64": ("x86_64", "i386"), "aarch64": ("aarch64",)}


def refused(arch: str) -> dict[str, int]:
    """Tell the numbers of the calls that are refused on an architecture (``i386`` included)."""
    column = _ORDER.index(arch)
    own = {name: numbers[column] for name, numbers in _NUMBERS.items()}
    return _COMMON | {name: number for name, number in own.items() if number is not None}


def filter_program(machine: str) -> bytes:
    """Write the filter for a machine as ``os.uname`` names it; empty where we have none."""
    if machine not in _RUNS_ON:
        return b""
    program = b""
    for arch in _RUNS_ON[machine]:
        body = _body(arch)
        # The next architecture's part is further than a jump of eight bits can lead.
        program += _load(_OFFSET_ARCH) + _step(_JUMP_EQUAL, 1, 0, _ARCH[arch])
        program += _step(0x05, 0, 0, len(body) // _INSTRUCTION.size) + body
    return program + _step(_RETURN, 0, 0, _REFUSE)


def _body(arch: str) -> bytes:
    body = _load(_OFFSET_NUMBER)
    if arch == "x86_64":
        # The x32 calls are others under numbers of their own.
        body += _step(_JUMP_GREATER_EQUAL, 0, 1, _X32) + _step(_RETURN, 0, 0, _REFUSE)
    for number in sorted(refused(arch).values()):
        body += _step(_JUMP_EQUAL, 0, 1, number) + _step(_RETURN, 0, 0, _REFUSE)
    # Typing into a terminal that somebody else reads from.
    body += _step(_JUMP_EQUAL, 0, 3, _IOCTL[arch]) + _load(_OFFSET_SECOND_ARGUMENT)
    body += _step(_JUMP_EQUAL, 0, 1, _TIOCSTI) + _step(_RETURN, 0, 0, _REFUSE)
    return body + _step(_RETURN, 0, 0, _ALLOW)


def _load(offset: int) -> bytes:
    return _step(_LOAD, 0, 0, offset)


def _step(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return _INSTRUCTION.pack(code, if_true, if_false, value)
