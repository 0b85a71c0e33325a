# SPDX-License-Identifier: LGPL-2.1-or-later
"""What runs against a booted commit: pytest, one folder a suite."""
