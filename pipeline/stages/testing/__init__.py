# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the stage ``test`` looks for in a tree before a machine starts."""
