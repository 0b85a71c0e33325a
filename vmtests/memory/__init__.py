# SPDX-License-Identifier: LGPL-2.1-or-later
"""The memory suite: what a boot takes, in seconds and bytes; figures, no opinion."""
