# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rest of the base stage: the layout of a tree, archives, Debian."""
