# SPDX-License-Identifier: LGPL-2.1-or-later
"""The smoke suite: one cold boot, and nothing about it that a clean boot does not show."""
