# SPDX-License-Identifier: LGPL-2.1-or-later
"""The suite of executables that components bring in their repositories."""
