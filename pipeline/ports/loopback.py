# SPDX-License-Identifier: LGPL-2.1-or-later
"""Switch on the loopback of an empty network namespace, in which a machine's card ends.

A new namespace has one that is down. Formats: netdevice(7), PR_CAP_AMBIENT of prctl(2).
"""

import ctypes
import fcntl
import socket
import struct

from pipeline.words.errors import Trouble

_NAME = b"lo"
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_UP = 1
_REQUEST = "16sh14x"
_PR_CAP_AMBIENT = 47
_CLEAR_ALL = 4


def raise_loopback() -> None:
    """Switch the loopback on where it is not, and let no program that is started do so.

    Raises Trouble where that is not allowed.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        found = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, struct.pack(_REQUEST, _NAME, 0))
        _, flags = struct.unpack(_REQUEST, found)
        if not flags & _UP:
            wanted = struct.pack(_REQUEST, _NAME, flags | _UP)
            try:
                fcntl.ioctl(any_socket, _SIOCSIFFLAGS, wanted)
            except PermissionError as error:
                raise Trouble("the loopback cannot be switched on: no right to do so") from error
    # Of an ordinary user: QEMU and other children get none of what unshare left to us.
    ctypes.CDLL(None).prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
