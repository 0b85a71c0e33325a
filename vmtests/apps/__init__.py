# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each application that a desktop would offer starts; each has a result of its own."""
