# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is measured, each against a named baseline: ``make bench``."""
