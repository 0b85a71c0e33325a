# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests that do not come to their end. Run by ``tests/vm/test_endless.py``."""

import os
import time


def test_it_never_returns() -> None:
    for _ in range(20):
        if os.fork() == 0:
            os.setsid()
            while True:
                time.sleep(1000)
    while True:
        time.sleep(1000)


def test_it_forks_without_end() -> None:
    while True:
        if os.fork() == 0:
            os.setsid()
            while True:
                time.sleep(1000)
