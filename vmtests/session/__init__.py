# SPDX-License-Identifier: LGPL-2.1-or-later
"""The graphical session that the target names comes up, for whom and how it is to."""
