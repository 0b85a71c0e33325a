# SPDX-License-Identifier: LGPL-2.1-or-later
"""Suites that benchmarks run on machines of their own are not tests of this run."""

collect_ignore = ["suites"]
