# SPDX-License-Identifier: LGPL-2.1-or-later
"""This process' terminal, lent to a program that has one of its own.

What runs within walls must not have our terminal itself: it could type into it. It gets a new
one, and bytes go to and fro.
"""

import fcntl
import os
import selectors
import socket
import stat
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.ports.process import Child

_CHUNK = 1 << 16


@contextmanager
def pair() -> Iterator[tuple[int, int]]:
    """Open a new terminal, of the size that ours has: our side, and the program's."""
    here, there = os.openpty()
    try:
        if sys.stdin.isatty():
            size = fcntl.ioctl(sys.stdin.fileno(), termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(there, termios.TIOCSWINSZ, size)
        yield here, there
    finally:
        os.close(here)
        os.close(there)


def relay(child: Child, here: int) -> int:
    """Pass on bytes both ways until the program ends; tells its exit code."""
    source = sys.stdin.fileno()
    with selectors.DefaultSelector() as selector, _raw(source):
        selector.register(here, selectors.EVENT_READ, sys.stdout.fileno())
        selector.register(source, selectors.EVENT_READ, here)
        while True:
            ready = selector.select(0.2)
            for key, _ in ready:
                data = os.read(key.fd, _CHUNK)
                if data:
                    os.write(key.data, data)
                else:
                    selector.unregister(key.fileobj)
                    os.write(here, b"\x04")  # end of input, as typed
            if not ready and (code := child.poll()) is not None:
                return code


LEAVE = b"\x1d"
"""Ctrl-], which leaves a conversation, as with telnet."""


def converse(
    wire: socket.socket,
    *,
    is_over: Callable[[], bool],
    meanwhile: Callable[[], object] = lambda: None,
) -> bool:
    """Pass on bytes between this terminal and a socket; tells whether the person left.

    It ends when the other side hangs up, or is over. An input that is no terminal and ends does
    not end it: what the other side still says is heard. ``meanwhile`` is called again and again,
    several times a second.
    """
    source = sys.stdin.fileno()
    with selectors.DefaultSelector() as selector, _raw(source):
        selector.register(wire, selectors.EVENT_READ)
        # A file is always ready, and no selector takes it.
        if os.isatty(source) or stat.S_ISFIFO(os.fstat(source).st_mode):
            selector.register(source, selectors.EVENT_READ)
        while True:
            ready = selector.select(0.2)
            meanwhile()
            if not ready and is_over():
                return False
            for key, _ in ready:
                if key.fileobj is wire:
                    data = _receive(wire)
                    if not data:
                        return False
                    os.write(sys.stdout.fileno(), data)
                    continue
                data = os.read(source, _CHUNK)
                if not data:
                    selector.unregister(source)
                before, leaves, _ = data.partition(LEAVE)
                wire.sendall(before)
                if leaves:
                    return True


def _receive(wire: socket.socket) -> bytes:
    try:
        return wire.recv(_CHUNK)
    except ConnectionResetError:
        return b""


@contextmanager
def restored() -> Iterator[None]:
    """Have this terminal set after the ``with`` as it was before, whatever a program does to it.

    One that makes it raw may be killed, and then cannot set it back itself.
    """
    source = sys.stdin.fileno()
    if not os.isatty(source):
        yield
        return
    before = termios.tcgetattr(source)
    try:
        yield
    finally:
        termios.tcsetattr(source, termios.TCSADRAIN, before)


@contextmanager
def _raw(source: int) -> Iterator[None]:
    if not os.isatty(source):
        yield
        return
    before = termios.tcgetattr(source)
    tty.setraw(source)
    try:
        yield
    finally:
        termios.tcsetattr(source, termios.TCSAFLUSH, before)
