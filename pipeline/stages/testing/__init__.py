# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rest of the stage ``test``: what suites are given beside a machine."""
