# SPDX-License-Identifier: LGPL-2.1-or-later
"""Floor 3: Buildbot. It describes work and schedules it; workers do it by starting ``ostci``.

Nothing outside this folder imports Buildbot, which is GPL-2.0. The reactor runs nothing slow here:
the ledger and git are asked in threads, everything else is a command on a worker.
"""
