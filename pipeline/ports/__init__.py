# SPDX-License-Identifier: LGPL-2.1-or-later
"""Floor 1: one module for each foreign program or kind of storage."""
