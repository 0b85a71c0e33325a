# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests of the Buildbot master: with a pretended ``ostci``, and with the real one."""
