# SPDX-License-Identifier: LGPL-2.1-or-later
"""Floor 0: what things are called and how decisions are made. No I/O, no clock, no processes."""
