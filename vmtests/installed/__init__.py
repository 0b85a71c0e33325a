# SPDX-License-Identifier: LGPL-2.1-or-later
"""The installed tests of components and of the base, each with a result of its own."""
