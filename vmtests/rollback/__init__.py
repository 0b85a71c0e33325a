# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rollback suite: the way back from a tree, asked for or because it cannot boot."""
