# SPDX-License-Identifier: LGPL-2.1-or-later
"""ostci: continuous integration for whole operating systems.

The folders are the floors of the house, and imports point down:
``cli`` (and later ``master``, ``web``) → ``stages`` → ``ports`` → ``words``.
"""

__version__ = "0.1.0"
